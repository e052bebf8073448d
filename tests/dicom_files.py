"""What the tests of DICOM share: a small scan, its files, and how to spoil them."""

from pathlib import Path

import gdcm
import numpy as np
from pydicom import dcmread
from scipy.spatial.transform import Rotation

from metseg.data.phantom.dicom import write_dicom_series
from metseg.data.volume import Volume

OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", [12, -25, 40], degrees=True).as_matrix() * (0.8, 1.2, 2.5)
OBLIQUE[:3, 3] = -20, 30, 40


def a_scan(channels=("t1",), shape=(5, 6, 7), affine=None, seed: int = 0) -> Volume:
    """Noise on 2.5 × 1.2 × 0.8 mm (z, y, x), or on an affine."""
    array = np.random.default_rng(seed).integers(0, 3000, (len(channels), *shape), dtype=np.uint16)
    return Volume(array, tuple(channels), affine=np.diag([0.8, 1.2, 2.5, 1]) if affine is None else affine)


def edit(path: Path, **values) -> None:
    """Sets attributes of a file; None removes one."""
    dataset = dcmread(path)
    for keyword, value in values.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)


def a_series(folder: Path, volume: Volume | None = None, **options) -> list[Path]:
    return write_dicom_series(volume or a_scan(), folder, **options)


def compress(path: Path, name: str) -> None:
    """Compresses a file in its place by GDCM, whose names of transfer syntaxes these are."""
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()
