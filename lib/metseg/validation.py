"""What a network is worth on some patients while it learns; it chooses the epoch, and is no final score."""

import numpy as np
import pandas as pd

from metseg.backend import keras
from metseg.batches import resized
from metseg.config import TrainConfig
from metseg.data.cache import SliceCache
from metseg.losses import LOSSES
from metseg.metrics import dice_from_counts


def validate(
    model: keras.Model, cache: SliceCache, rows: np.ndarray, config: TrainConfig, *, size: int | None = None
) -> tuple[float, float]:
    """Returns the mean loss and the mean per-patient volume Dice of some slices, on the network's grid.

    The grid has `size` × `size` px; that of the cache if left out.

    The loss is over slices of the kind that training draws, in mixed batches, so that it can be held against
    the training loss; the Dice is over all slices. Heads of deep supervision are averaged, as in
    `inference_model`. A patient without any lesion, rightly left empty, counts as 1 here: the Dice of one
    epoch must be a number.
    """
    rows = np.random.default_rng(config.seed).permutation(rows)
    drawn = cache.slices.lesion_px.to_numpy()[rows] > 0
    if not config.exclude_empty or not drawn.any():
        drawn[:] = True
    losses, counts = [], []
    for group in (rows[drawn], rows[~drawn]):
        for start in range(0, len(group), config.batch_size):
            part = group[start : start + config.batch_size]
            images, mask_ref = cache.network_input(part), np.asarray(cache.masks[part])
            if size is not None:
                images, mask_ref = resized(images, mask_ref, size)
            prob_map = np.asarray(model.predict_on_batch(images))
            prob_map = prob_map[: len(part)]  # several devices predict the batch each, one behind the other
            loss = float(LOSSES[config.loss](mask_ref[..., None].astype(np.float32), prob_map))
            losses += [loss] * len(part)
            mask_pred = prob_map.mean(axis=-1) >= config.threshold
            counts += [(r.sum(), p.sum(), (r & p).sum()) for r, p in zip(mask_ref, mask_pred, strict=True)]
    order = np.concatenate([rows[drawn], rows[~drawn]])
    table = pd.DataFrame(counts, columns=["ref", "pred", "tp"])
    volumes = table.groupby(cache.slices.patient_id.to_numpy()[order]).sum()
    scores = dice_from_counts(volumes.ref, volumes.pred, volumes.tp, empty=1.0)
    return float(np.mean(losses[: drawn.sum()])), float(np.mean(scores))
