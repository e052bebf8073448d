"""Writes a volume's channels as the DICOM MR series that a scanner might have sent, for tests and to show.

Reference:
    DICOM PS3.3 A.4 (MR Image), A.36.2 (Enhanced MR Image).
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import DSfloat

from metseg.base.errors import MetsegError
from metseg.base.files import replacing
from metseg.data.readers.dicom_geometry import LPS_TO_RAS
from metseg.data.volume import Volume

_MR = {
    "t1": ("t1_mprage", ["GR", "IR"], "MP", 2300.0, 3.0, 900.0),
    "t1c": ("t1_mprage_Gd", ["GR", "IR"], "MP", 2300.0, 3.0, 900.0),
    "t2": ("t2_space", ["SE"], "SK", 3200.0, 400.0, None),
    "flair": ("flair_space", ["SE", "IR"], "SK", 5000.0, 390.0, 1800.0),
}
_OTHER = (["RM"], "NONE", 2000.0, 50.0, None)
_CONTRAST = {"T1": ("t1", "t1c"), "T2": ("t2",), "FLUID_ATTENUATED": ("flair",)}  # AcquisitionContrast


def write_dicom_series(
    volume: Volume,
    folder: Path,
    *,
    channel: str | None = None,
    patient_id: str = "PHANTOM_1",
    visit: str = "20240115",
    seed: int = 0,
    enhanced: bool = False,
    header: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Writes one channel as a series; channels of one `patient_id`, `visit` and `seed` make one study.

    Args:
        volume: With an affine, not sheared. Integers of 16 bits are stored as they are, all else by a slope.
        folder: Where to; it may hold other series.
        channel: Which; the first by default. `t1`, `t1c`, `t2` and `flair` get the headers of such.
        patient_id: PatientID; no name is written.
        visit: StudyDate, YYYYMMDD.
        seed: Of the UIDs.
        enhanced: One multi-frame file in place of one file a slice; without the groups on coils, saturation
            and the like, which the standard wants.
        header: {keyword: value} that goes before all others, slices' own included.

    Returns:
        The files, slice by slice as in the array.

    Raises:
        MetsegError: The affine is missing or sheared, or the folder cannot be written to.
    """
    channel = channel or volume.channels[0]
    slices = _slices(volume, channel, (seed, patient_id, visit))
    for dataset in slices:
        for keyword, value in (header or {}).items():
            setattr(dataset, keyword, value)
    paths = []
    for dataset in [_enhanced(slices, channel)] if enhanced else slices:
        meta = dataset.file_meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
            dataset.SOPClassUID,
            dataset.SOPInstanceUID,
        )
        paths.append(Path(folder) / f"{channel}_{dataset.InstanceNumber:04d}.dcm")
        with replacing(paths[-1], durable=False) as partial:
            dataset.save_as(partial, enforce_file_format=True)
    return paths


def _slices(volume: Volume, channel: str, entropy: tuple) -> list[Dataset]:
    if volume.affine is None:
        raise MetsegError("a volume without an affine cannot become DICOM; give one with")
    lps = LPS_TO_RAS @ volume.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)  # (x, y, z)
    cosines = lps[:3, :3] / spacing
    if not np.allclose(cosines.T @ cosines, np.eye(3), atol=1e-3):
        raise MetsegError("a sheared volume cannot become a DICOM series; resample it")
    pixels, slope, intercept = _in_16_bits(volume.array[volume.channels.index(channel)])

    def uid(*what: object) -> str:
        return generate_uid(entropy_srcs=[repr((*entropy, *what))])

    slices = []
    for k, image in enumerate(pixels):
        dataset = _dataset(channel)
        dataset.PatientID, dataset.StudyDate = entropy[1:]
        dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = uid("study"), uid("frame of reference")
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = uid(channel), uid(channel, k)
        dataset.SeriesNumber = 1 + volume.channels.index(channel)
        dataset.InstanceNumber = k + 1
        dataset.ImageOrientationPatient = _decimals(cosines[:, :2].T)
        dataset.ImagePositionPatient = _decimals((lps @ (0, 0, k, 1))[:3])
        dataset.PixelSpacing = _decimals(spacing[[1, 0]])  # between rows, between columns
        dataset.SliceThickness = dataset.SpacingBetweenSlices = _decimals(spacing[2:])[0]
        dataset.RescaleSlope, dataset.RescaleIntercept = _decimals(np.array([slope, intercept]))
        dataset.RescaleType = "US"
        dataset.set_pixel_data(np.ascontiguousarray(image), "MONOCHROME2", 16, generate_instance_uid=False)
        slices.append(dataset)
    return slices


def _dataset(channel: str) -> Dataset:
    """Returns what all slices of a sequence share."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.Modality = MRImageStorage, "MR"
    for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "ReferringPhysicianName", "StudyTime"):
        setattr(dataset, keyword, "")
    for keyword in ("AccessionNumber", "StudyID", "PositionReferenceIndicator", "ScanOptions"):
        setattr(dataset, keyword, "")
    dataset.Manufacturer, dataset.ManufacturerModelName, dataset.PatientPosition = "metseg", "phantom", "HFS"
    dataset.ImageType, dataset.MRAcquisitionType, dataset.EchoTrainLength = ["ORIGINAL", "PRIMARY"], "3D", 1
    description, scanning, variant, repetition, echo, inversion = _MR.get(channel, (channel, *_OTHER))
    dataset.SeriesDescription, dataset.ScanningSequence, dataset.SequenceVariant = (
        description,
        scanning,
        variant,
    )
    dataset.RepetitionTime, dataset.EchoTime = repetition, echo
    if inversion:
        dataset.InversionTime = inversion
    if channel == "t1c":
        dataset.ContrastBolusAgent = "Gadolinium"
    return dataset


def _in_16_bits(array: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Returns integers, slope and intercept."""
    low, high = float(array.min()), float(array.max())
    for dtype in (np.uint16, np.int16):
        if array.dtype.kind in "iub" and np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return array.astype(dtype), 1.0, 0.0
    slope = (high - low) / 65_535 or 1.0
    return np.rint((array.astype(np.float64) - low) / slope).astype(np.uint16), slope, low


def _decimals(values: np.ndarray) -> list[DSfloat]:
    return [DSfloat(float(value), auto_format=True) for value in values.ravel()]  # at most 16 letters


def _enhanced(slices: list[Dataset], channel: str) -> Dataset:
    """Returns one multi-frame dataset; each frame's own values move into its functional groups."""

    def group(dataset: Dataset, moved: Mapping[str, str]) -> list[Dataset]:
        item = Dataset()
        for classic, keyword in moved.items():
            if classic in dataset:
                setattr(item, keyword, dataset[classic].value)
        return [item]

    def same(*keywords: str) -> dict[str, str]:
        return {keyword: keyword for keyword in keywords}

    first, shared, frames = slices[0], Dataset(), []
    shared.PixelMeasuresSequence = group(
        first, same("PixelSpacing", "SliceThickness", "SpacingBetweenSlices")
    )
    shared.PlaneOrientationSequence = group(first, same("ImageOrientationPatient"))
    shared.MRTimingAndRelatedParametersSequence = group(first, same("RepetitionTime"))
    shared.MREchoSequence = group(first, {"EchoTime": "EffectiveEchoTime"})
    shared.MRModifierSequence = group(first, {"InversionTime": "InversionTimes"})
    shared.MRModifierSequence[0].InversionRecovery = "YES" if "InversionTime" in first else "NO"
    kind = group(first, {"ImageType": "FrameType"})
    kind[0].AcquisitionContrast = next((name for name, of in _CONTRAST.items() if channel in of), "UNKNOWN")
    shared.MRImageFrameTypeSequence = kind
    for k, dataset in enumerate(slices, start=1):
        frame = Dataset()
        frame.PlanePositionSequence = group(dataset, same("ImagePositionPatient"))
        frame.PixelValueTransformationSequence = group(
            dataset, same("RescaleSlope", "RescaleIntercept", "RescaleType")
        )
        content = Dataset()
        content.StackID, content.InStackPositionNumber, content.DimensionIndexValues = "1", k, [1, k]
        frame.FrameContentSequence = [content]
        frames.append(frame)
    whole = deepcopy(first)
    for item in [*frames[0], *shared]:
        for element in item.value[0]:
            if element.keyword in whole:
                del whole[element.keyword]
    for keyword in ("EchoTime", "InversionTime", "ScanningSequence", "SequenceVariant", "ScanOptions"):
        if keyword in whole:
            delattr(whole, keyword)
    whole.SOPClassUID, whole.SOPInstanceUID = (
        EnhancedMRImageStorage,
        generate_uid(entropy_srcs=[first.SOPInstanceUID, "enhanced"]),
    )
    if agent := whole.pop("ContrastBolusAgent", None):
        code = Dataset()
        code.CodeMeaning, code.CodeValue, code.CodingSchemeDesignator = agent.value, "C-17800", "SRT"
        whole.ContrastBolusAgentSequence = [code]
    whole.NumberOfFrames, whole.InstanceNumber = len(slices), 1
    whole.SharedFunctionalGroupsSequence, whole.PerFrameFunctionalGroupsSequence = [shared], frames
    whole.PixelData = b"".join(dataset.PixelData for dataset in slices)
    return whole
