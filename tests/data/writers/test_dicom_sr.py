"""A DICOM SR says of each segment what was measured."""

import highdicom as hd
import pytest
from dicom_files import OBLIQUE
from dicom_results import MADE_BY, complaints_of_dciodvfy, one, several, sources_of

from metseg.data.writers.dicom_seg import write_seg
from metseg.data.writers.dicom_sr import Measured, write_sr


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("labels", [one(), several()], ids=["one", "several"])
def test_measurements_belong_to_the_segments(tmp_path, labels, enhanced):
    sources, order = sources_of(tmp_path, enhanced=enhanced), range(len(labels)) if enhanced else None
    seg = write_seg(labels, OBLIQUE, sources, tmp_path / "seg.dcm", MADE_BY, frame_order=order)
    lesions = [Measured(100.5 * n, 10.25 * n, 5.1234 * n) for n in range(1, labels.max() + 1)]
    write_sr(lesions, seg, sources, tmp_path / "sr.dcm", MADE_BY)
    groups = hd.sr.srread(tmp_path / "sr.dcm").content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_uid for group in groups] == [each.TrackingUID for each in seg.SegmentSequence]
    for n, group in enumerate(groups, start=1):
        assert group.referenced_segment[0].referenced_segment_numbers == [n]
        told = {m.name.meaning: (m.value, m.unit.value) for m in group.get_measurements()}
        assert told == {
            "Volume": (100.5 * n, "mm3"),
            "Long axis": (10.25 * n, "mm"),
            "Short axis": (round(5.1234 * n, 3), "mm"),
        }
    assert complaints_of_dciodvfy(tmp_path / "sr.dcm") == []
