"""What a network is worth on some patients while it learns; it chooses the epoch, and is no final score."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from metseg.base.backend import keras
from metseg.metrics.overlap import lesion_dice
from metseg.training.batches import by_region, drawn_rows, resized
from metseg.training.cache import SliceCache
from metseg.training.config import Learning
from metseg.training.losses import LOSSES

# Of 1 mm slices every third has the same Dice, in a third of the time; slices 5 mm apart are all seen.
_MOST_SLICES = 500
_MOST_OF_PATIENT = 120


class Validation(NamedTuple):
    """What `validate` found.

    Attributes:
        loss: Of slices of the kind that training draws, as `fit` computes it.
        dice: `metrics.lesion_dice` of the slices, on the network's grid; 0 if no lesion is left there.
        predicts_nothing: Whether no pixel of any patient with a lesion is predicted.
        others: The same Dice of the regions after the main one, of which all else is.
    """

    loss: float
    dice: float
    predicts_nothing: bool = False
    others: tuple[float, ...] = ()


def validate(
    model: keras.Model, cache: SliceCache, rows: np.ndarray, config: Learning, *, size: int | None = None
) -> Validation:
    """Returns a network's loss and Dice on some slices.

    The loss can be held against the training loss: it is over slices of the kind that an epoch draws
    (`drawn_rows`), in mixed batches of the same size, but whole and not augmented. For the Dice all slices
    count (but see `_spread`), and the probabilities of the heads of deep supervision are averaged, as in
    `inference_model`.

    Args:
        model: A network that gives logits, as `training_copy` makes it.
        cache, rows: Which slices.
        config: How the network learns.
        size: Side of the grid, px; that of the cache if left out.
    """
    rows = np.random.default_rng(config.seed).permutation(_spread(cache, rows))
    drawn = np.isin(rows, drawn_rows(cache, rows, config, epoch=0))
    losses, counts = [], []
    for group in (rows[drawn], rows[~drawn]):
        for start in range(0, len(group), config.batch_size):
            part = group[start : start + config.batch_size]
            images, mask_ref = cache.network_input(part), by_region(np.asarray(cache.masks[part]))
            if size is not None:
                images, mask_ref = resized(images, mask_ref, size)
            logits = np.asarray(model.predict_on_batch(images))
            logits = logits[: len(part)]  # several devices predict the batch each, one behind the other
            # A device has a loss of its own slices alone.
            for share in np.array_split(np.arange(len(part)), min(config.devices, len(part))):
                known = mask_ref[share].astype(np.float32)
                losses += [float(LOSSES[config.loss](known, logits[share]))] * len(share)
            heads = keras.ops.convert_to_numpy(keras.ops.sigmoid(logits))
            heads = heads.reshape(*mask_ref.shape[:3], -1, mask_ref.shape[3])
            mask_pred = heads.mean(axis=-2) >= config.threshold
            # (slices, regions, 3)
            counts.append(np.stack([m.sum((1, 2)) for m in (mask_ref, mask_pred, mask_ref & mask_pred)], -1))
    patients = cache.slices.patient_id.to_numpy()[np.concatenate([rows[drawn], rows[~drawn]])]
    return validation_of(float(np.mean(losses[: drawn.sum()])), np.concatenate(counts), patients)


def _spread(cache: SliceCache, rows: np.ndarray) -> np.ndarray:
    """Returns every second, third, … of some rows, where they or those of one patient are very many."""
    of = cache.slices.patient_id.iloc[rows].reset_index(drop=True)
    by_patient = of.groupby(of, observed=True)
    step = np.maximum(-(-by_patient.transform("size") // _MOST_OF_PATIENT), -(-len(rows) // _MOST_SLICES))
    return rows[(by_patient.cumcount() % step == 0).to_numpy()]


def validation_of(loss: float, counts: np.ndarray, patients: Sequence[str]) -> Validation:
    """Returns what a loss and pixel counts come to.

    Args:
        loss: As `Validation.loss`.
        counts: (N, regions, 3): of each slice or volume the pixels of the reference, of the mask, of both.
        patients: (N,) whose it is.
    """
    (main, *others) = (
        pd.DataFrame(of_region, columns=["ref", "pred", "tp"]).groupby(np.asarray(patients)).sum()
        for of_region in np.moveaxis(counts, 1, 0)
    )
    return Validation(
        loss=loss,
        dice=_dice(main),
        predicts_nothing=not main.pred[main.ref > 0].any(),
        others=tuple(map(_dice, others)),
    )


def _dice(volumes: pd.DataFrame) -> float:
    # Where a coarse epoch's grid has none of the lesions left, nothing of them is found.
    return lesion_dice(volumes.ref, volumes.pred, volumes.tp) if volumes.ref.any() else 0.0
