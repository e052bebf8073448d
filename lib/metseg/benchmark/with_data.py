"""How opening and reading grow with a data set, on one whose files are names and whose pixels are zero."""

from pathlib import Path

import numpy as np
import pandas as pd

from metseg.benchmark.contestant import Contestant, repeated
from metseg.benchmark.plan import Measurement
from metseg.data.cases import find_cases
from metseg.training.cache import cache_home, open_cache, seal
from metseg.training.config import TrainConfig

SIDE = 128  # of its network input, px
_SLICES_A_PATIENT = 20
_LESION_PX = 50  # in every second slice, so that both kinds are drawn


def write_data_set(folder: Path, slices: int, *, side: int = SIDE, noise: bool = False) -> None:
    """Writes a data set that was opened before: empty files where scans lie, and its cache.

    The cache's arrays have the shape of real ones, (N, side, side, 3) uint8 and (N, side, side) bool, and are
    sparse where the file system can: they take no disk and are read from memory. With `noise` they hold it
    instead of zeros: a network that trains on zeros is slowed by numbers too small for float32's usual form.
    """
    for number in range(slices):
        patient, z = divmod(number, _SLICES_A_PATIENT)
        home = folder / "scans" / f"P_{patient:05d}"
        if z == 0:
            home.mkdir(parents=True)
        for name in (f"{home.name}_{z}.tif", f"{home.name}_{z}_mask.tif"):
            (home / name).touch()
    config = _config(folder, side)
    cases = find_cases(folder / "scans")
    home = cache_home(cases, config.preprocessing, folder=folder / "cache")
    home.mkdir(parents=True)
    images = np.lib.format.open_memmap(home / "images.npy", "w+", np.uint8, (slices, side, side, 3))
    masks = np.lib.format.open_memmap(home / "masks.npy", "w+", np.bool_, (slices, side, side))
    if noise:
        rng = np.random.default_rng(0)
        images[:] = rng.integers(0, 256, images.shape, np.uint8)
        masks[:] = rng.random(masks.shape) < 0.02
    for array in (images, masks):
        array.flush()
    rows = [
        (case.case_id, case.patient_id, files.slice_index, *[_LESION_PX * (files.slice_index % 2)] * 2, "")
        for case in cases
        for files in case.slices
    ]
    columns = ["case_id", "patient_id", "slice_index", "lesion_px", "scan_lesion_px", "image_hash"]
    pd.DataFrame(rows, columns=columns).to_csv(home / "slices.csv", index=False)
    seal(home, home.name, fingerprint="none")
    open_cache(cases, config.preprocessing, folder=folder / "cache")  # who opens it next reads no scan


def prepare(measurement: Measurement) -> Contestant:
    """Builds what opens the data set as a training does, or what draws augmented batches from it."""
    if measurement.task == "open":
        from metseg.training.fit import prepare_data  # Keras stands behind it

        config, folder = _config(Path(measurement.path), SIDE), Path(measurement.path)
        return Contestant(repeated(lambda: prepare_data(config, cache_dir=folder / "cache")))
    batches = epoch_batches(Path(measurement.path), measurement.batch)
    rng = np.random.default_rng(0)
    return Contestant(repeated(lambda: batches[int(rng.integers(len(batches)))]))


def epoch_batches(folder: Path, batch: int, *, side: int = SIDE):
    """Returns the `EpochBatches` of an epoch over a data set that `write_data_set` wrote."""
    import cv2

    from metseg.training.batches import EpochBatches, epoch_rows
    from metseg.training.fit import prepare_data

    cv2.setNumThreads(1)  # as `metseg.training.fit` does
    config = _config(folder, side)
    data = prepare_data(config, cache_dir=folder / "cache")
    rows = epoch_rows(
        data.cache, data.split.train, exclude_empty=False, balance_empty=True, seed=config.seed, epoch=0
    )
    options = {"augmentation": config.augmentation, "seed": config.seed, "epoch": 0}
    return EpochBatches(data.cache, rows, batch_size=batch, **options)


def _config(folder: Path, side: int) -> TrainConfig:
    return TrainConfig(model="unet", data_dir=str(folder / "scans"), image_size=side)
