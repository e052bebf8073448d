"""What a network of volumes is worth on some patients while it learns; `validation`'s counterpart."""

import numpy as np

from metseg.base.backend import keras
from metseg.inference.sliding_window import sliding_window
from metseg.training.batches import by_region
from metseg.training.cache import SliceCache
from metseg.training.config import TrainConfig
from metseg.training.losses import LOSSES
from metseg.training.patches import CaseVolume, PatchBatches
from metseg.training.validation import Validation, validation_of

_PATCHES = 32  # for the loss


def validate_volumes(
    model: keras.Model, cache: SliceCache, volumes: list[CaseVolume], config: TrainConfig
) -> Validation:
    """Returns a network's loss on patches of some cases, and its Dice on the whole of them.

    The patches are drawn as in training, but not augmented. The volumes are seen through windows side by
    side, a quarter or an eighth of those that serving takes: what windows add where they overlap hardly
    changes which epoch is the best.

    Args:
        model: A network that gives logits, as `training_copy` makes it.
        cache, volumes: Which cases.
        config: Of the training.
    """
    learning, patch = config.learning, config.network.patch_size
    batches = PatchBatches(
        cache,
        volumes,
        patch_size=patch,
        count=min(_PATCHES, learning.epoch_patches),
        batch_size=learning.batch_size,
        augmentation=None,
        seed=learning.seed,
        epoch=0,
    )
    losses, counts = [], []
    for k in range(len(batches)):
        images, masks = batches[k]
        logits = np.asarray(model.predict_on_batch(images))[: len(images)]
        for mask, own in zip(masks, logits, strict=True):
            losses.append(float(LOSSES[learning.loss](mask[None], own[None])))
    regions = len(config.regions)

    def segment(window: np.ndarray) -> np.ndarray:
        logits = np.asarray(model.predict_on_batch(window[None]))[0]
        heads = keras.ops.convert_to_numpy(keras.ops.sigmoid(logits))
        return heads.reshape(*logits.shape[:-1], -1, regions).mean(axis=-2)

    for case in volumes:
        rows = slice(case.first, case.first + case.depth)
        image, mask = cache.images[rows].astype(np.float32) / 255, by_region(np.asarray(cache.masks[rows]))
        found = sliding_window(image, patch, segment, overlap=0) >= learning.threshold
        counts.append(np.stack([each.sum((0, 1, 2)) for each in (mask, found, mask & found)], -1))
    return validation_of(float(np.mean(losses)), np.stack(counts), [case.patient_id for case in volumes])
