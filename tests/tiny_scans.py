"""A data set of bright blobs that a tiny network learns in seconds, and a training on it."""

from pathlib import Path

import numpy as np
import tifffile

from metseg.base.files import file_sha256, read_json, write_json
from metseg.training.config import TrainConfig, train_config


def write_case(folder: Path, case_id: str, image: np.ndarray, mask: np.ndarray) -> None:
    """Writes (Z, H, W, 3) uint8 and (Z, H, W) bool as `<folder>/<case>/<case>_<n>.tif`, n from 1."""
    home = folder / case_id
    home.mkdir(parents=True)
    for n, (pixels, lesion) in enumerate(zip(image, mask, strict=True), start=1):
        tifffile.imwrite(home / f"{case_id}_{n}.tif", pixels, photometric="rgb")
        tifffile.imwrite(home / f"{case_id}_{n}_mask.tif", lesion.astype(np.uint8) * 255)


def write_scans(folder: Path, *, patients: int = 7, slices: int = 3, size: int = 32, seed: int = 0) -> Path:
    """Writes patients TEST_0001…; every slice but the last of each has one blob."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    for patient in range(1, patients + 1):
        image = rng.integers(30, 80, (slices, size, size, 3), dtype=np.uint8)
        mask = np.zeros((slices, size, size), dtype=bool)
        for z in range(slices - 1):
            row, column, radius = rng.integers(size // 4, 3 * size // 4, 2).tolist() + [rng.integers(3, 7)]
            mask[z] = (y - row) ** 2 + (x - column) ** 2 <= radius**2
        image[mask] += 120
        write_case(folder, f"TEST_{patient:04d}_20000101", image, mask)
    return folder


def tiny_config(data_dir: Path, **changes) -> TrainConfig:
    """A training of two epochs that takes a second or two."""
    values = {
        "model": "unet",
        "data_dir": str(data_dir),
        "image_size": 32,
        "clip_limit": 0.0,
        "filters": (4, 8),
        "loss": "bce_dice",
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 0.01,
        "exclude_empty": False,
        "precision": "float32",
    }
    return train_config(**{**values, **changes})


def finished_training(tmp_path_factory) -> Path:
    """Trains and exports a deeply supervised nested U-Net, once for all test files; returns its folder.

    The scans lie in `<folder>/../../scans`.
    """
    from metseg.export.onnx import export_onnx
    from metseg.training.fit import train
    from metseg.training.run_folder import RunFolder

    home = tmp_path_factory.getbasetemp() / "finished_training"
    model_dir = home / "runs" / "nested_unet"
    if (model_dir / "model.json").exists():
        return model_dir
    config = tiny_config(
        write_scans(home / "scans"), model="nested_unet", filters=(4, 8, 16), deep_supervision=True, epochs=8
    )
    train(config, model_dir, cache_dir=home / "cache")
    export_onnx(RunFolder(model_dir), model_dir)
    return model_dir


def put_network(network, model_dir: Path) -> None:
    """Puts another network in the place of the trained one, as if it had come of that training."""
    network.save(model_dir / "model.keras")
    path = model_dir / "manifest.json"
    write_json(path, {**read_json(path), "network_sha256": file_sha256(model_dir / "model.keras")})
