"""Lesions as a DICOM RT Structure Set (PS3.3 A.19) for planning systems, checked by filling it again."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metseg.base.errors import MetsegError
from metseg.base.files import replacing
from metseg.data.writers.dicom_seg import Maker, centroids, complain_if_moved
from metseg.masks.outline import filled, outlines

if TYPE_CHECKING:
    import pydicom

_COLOURS = ((214, 39, 40), (31, 119, 180), (44, 160, 44), (255, 127, 14), (148, 103, 189), (23, 190, 207))
_ABOUT_THE_SCAN = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
    "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "FrameOfReferenceUID",
    "PositionReferenceIndicator",
)  # fmt: skip
_DECIMALS = 4  # mm; a decimal string has 16 characters


def write_rtstruct(
    labels: np.ndarray,
    affine: np.ndarray,
    sources: Sequence["pydicom.Dataset"],
    target: Path,
    made_by: Maker,
    *,
    names: Sequence[str] = (),
) -> None:
    """Writes lesions as an RTSTRUCT: one ROI a lesion, closed planar contours on the series' slices.

    The contours run along the edges of pixels, see `metseg.masks.outline.outlines`.

    Args:
        labels, affine, sources, target, made_by, names: As `metseg.data.writers.dicom_seg.write_seg` takes
            them, but the series has a file a slice, for that is what a contour can refer to.

    Raises:
        MetsegError: There is no lesion, the series has several frames in a file, the file cannot be written,
            or read again it is not where it was.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

    if not labels.any():
        raise MetsegError(f"{target} was not written: there is no lesion to outline")
    if len(sources) != len(labels):
        raise MetsegError(f"{target} was not written: its contours need a file a slice; choose a DICOM SEG")
    now = datetime.now()
    file = Dataset()
    if alphabet := sources[0].get("SpecificCharacterSet"):  # else names and PatientID become others
        file.SpecificCharacterSet = alphabet
    for name in _ABOUT_THE_SCAN:
        setattr(file, name, getattr(sources[0], name, ""))
    file.SOPClassUID, file.SOPInstanceUID = RTStructureSetStorage, generate_uid()
    file.SeriesInstanceUID, file.SeriesNumber, file.Modality = generate_uid(), 9003, "RTSTRUCT"
    file.SeriesDescription = "Lesions found by a network; not for diagnosis"
    file.Manufacturer, file.ManufacturerModelName = "metseg", made_by.network[:64]
    file.SoftwareVersions, file.DeviceSerialNumber = made_by.version, made_by.network_id[:16]
    file.OperatorsName, file.InstanceNumber = "", 1
    file.StructureSetLabel, file.StructureSetName = "LESIONS", made_by.network[:64]
    file.StructureSetDate, file.StructureSetTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    file.ApprovalStatus = "UNAPPROVED"

    images = [
        _of(ReferencedSOPClassUID=each.SOPClassUID, ReferencedSOPInstanceUID=each.SOPInstanceUID)
        for each in sources
    ]
    series = _of(SeriesInstanceUID=sources[0].SeriesInstanceUID, ContourImageSequence=images)
    study = _of(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=file.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    frame = _of(FrameOfReferenceUID=file.FrameOfReferenceUID, RTReferencedStudySequence=[study])
    file.ReferencedFrameOfReferenceSequence = [frame]
    file.StructureSetROISequence, file.ROIContourSequence, file.RTROIObservationsSequence = [], [], []
    to_lps = np.diag([-1.0, -1, 1, 1]) @ affine
    for number in np.unique(labels[labels > 0]).tolist():
        contours = [
            _contour(polygon, z, to_lps, images[z])
            for z in np.flatnonzero((labels == number).any(axis=(1, 2))).tolist()
            for polygon in outlines(labels[z] == number)
        ]
        file.StructureSetROISequence.append(
            _of(
                ROINumber=number,
                ReferencedFrameOfReferenceUID=file.FrameOfReferenceUID,
                ROIName=names[number - 1] if names else f"Lesion {number}",
                ROIGenerationAlgorithm="AUTOMATIC",
            )
        )
        colour = list(_COLOURS[(number - 1) % len(_COLOURS)])
        file.ROIContourSequence.append(
            _of(ReferencedROINumber=number, ROIDisplayColor=colour, ContourSequence=contours)
        )
        file.RTROIObservationsSequence.append(
            _of(
                ObservationNumber=number,
                ReferencedROINumber=number,
                RTROIInterpretedType="",
                ROIInterpreter="",
            )
        )
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with replacing(target) as partial:
        file.save_as(partial, enforce_file_format=True)
        again = read_rtstruct(partial, affine, labels.shape)
        complain_if_moved(centroids(again, affine), centroids(labels, affine), target)


def read_rtstruct(path: Path, affine: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
    """Fills the contours of an RTSTRUCT on a grid; returns labels, (Z, Y, X) int32, the ROIs' numbers."""
    import pydicom

    labels = np.zeros(grid, np.int32)
    to_voxel = np.linalg.inv(np.diag([-1.0, -1, 1, 1]) @ affine)
    for roi in pydicom.dcmread(path).ROIContourSequence:
        polygons: dict[int, list[np.ndarray]] = {}
        for contour in roi.ContourSequence:
            places = np.reshape(contour.ContourData, (-1, 3)).astype(float)
            x, y, z = to_voxel[:3, :3] @ places.T + to_voxel[:3, 3:]
            polygons.setdefault(int(np.round(z.mean())), []).append(np.stack([x, y], axis=1))
        for z, found in polygons.items():
            labels[z][filled(found, grid[1:])] = int(roi.ReferencedROINumber)
    return labels


def _contour(polygon: np.ndarray, z: int, to_lps: np.ndarray, image: "pydicom.Dataset") -> "pydicom.Dataset":
    voxels = np.column_stack([polygon, np.full(len(polygon), z), np.ones(len(polygon))])
    places = (voxels @ to_lps.T)[:, :3].round(_DECIMALS)
    return _of(
        ContourImageSequence=[image],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(polygon),
        ContourData=[f"{value:.{_DECIMALS}f}" for value in places.ravel()],
    )


def _of(**attributes: object) -> "pydicom.Dataset":
    from pydicom import Dataset

    found = Dataset()
    for name, value in attributes.items():
        setattr(found, name, value)
    return found
