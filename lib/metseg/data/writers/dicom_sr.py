"""The lesions' measurements as a DICOM Structured Report by TID 1500 (PS3.16), referring to the SEG."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from metseg.base.errors import MetsegError
from metseg.base.files import replacing
from metseg.data.writers.dicom_seg import Maker

if TYPE_CHECKING:
    import pydicom


class Measured(NamedTuple):
    """What a report says of a lesion.

    Attributes:
        volume_mm3: Its volume.
        longest_mm: The longest diameter in an axial slice.
        perpendicular_mm: The longest one across it in that slice.
    """

    volume_mm3: float
    longest_mm: float
    perpendicular_mm: float


def write_sr(
    lesions: Sequence[Measured],
    seg: "pydicom.Dataset",
    sources: Sequence["pydicom.Dataset"],
    target: Path,
    made_by: Maker,
) -> None:
    """Writes a Comprehensive 3D SR.

    Args:
        lesions: Of each segment of `seg`, in its order.
        seg: What `write_seg` returned, whose tracking UIDs the report repeats.
        sources: The series that it was found in.
        target: The file.
        made_by: What found them.

    Raises:
        MetsegError: The file cannot be written.
    """
    import highdicom as hd
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    volume = hd.sr.CodedConcept("118565006", "SCT", "Volume")
    names = (volume, codes.SCT.LongAxis, codes.SCT.ShortAxis)
    units = (codes.UCUM.CubicMillimeter, codes.UCUM.Millimeter, codes.UCUM.Millimeter)
    algorithm = hd.sr.AlgorithmIdentification(made_by.network, made_by.version)
    series = hd.sr.SourceSeriesForSegmentation(sources[0].SeriesInstanceUID)
    groups = [
        hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=hd.sr.TrackingIdentifier(segment.TrackingUID, segment.TrackingID),
            referenced_segment=hd.sr.ReferencedSegment(
                seg.SOPClassUID, seg.SOPInstanceUID, segment.SegmentNumber, source_series=series
            ),
            finding_type=codes.SCT.Lesion,
            finding_sites=[hd.sr.FindingSite(codes.SCT.Brain)],
            algorithm_id=algorithm,
            measurements=[
                hd.sr.Measurement(name=name, value=round(value, 3), unit=unit)
                for name, value, unit in zip(names, lesion, units, strict=True)
            ],
        )
        for segment, lesion in zip(seg.SegmentSequence, lesions, strict=True)
    ]
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[made_by.network_id]), name=made_by.network, manufacturer_name="metseg"
    )
    observer = hd.sr.ObserverContext(codes.DCM.Device, device)
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=hd.sr.CodedConcept("24590-2", "LN", "MR Brain"),
        imaging_measurements=groups,
    )
    written = hd.sr.Comprehensive3DSR(
        evidence=[seg, *sources],
        content=report,
        series_instance_uid=hd.UID(),
        series_number=9002,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="metseg",
    )
    with replacing(target) as partial:
        written.save_as(partial)
        kept = [[each.value for each in group.get_measurements()] for group in _groups(partial)]
        if kept != [[round(value, 3) for value in lesion] for lesion in lesions]:
            raise MetsegError(f"{target} was not written: read again, its measurements are others")


def _groups(path: Path) -> list:
    import highdicom as hd

    return hd.sr.srread(path).content.get_volumetric_roi_measurement_groups()
