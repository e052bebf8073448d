"""Which sequence a series is, as its header tells; nothing is guessed where it does not."""

import pytest
from dicom_files import a_scan, a_series, edit

from metseg.data.readers.dicom import list_series
from metseg.data.readers.dicom_sequences import guess_sequence

SE_T1 = {"ScanningSequence": ["SE"], "RepetitionTime": 500.0, "EchoTime": 12.0}
SE_T2 = {"ScanningSequence": ["SE"], "RepetitionTime": 4500.0, "EchoTime": 100.0}
IR_T2 = {
    "ScanningSequence": ["SE", "IR"],
    "RepetitionTime": 9000.0,
    "EchoTime": 120.0,
    "InversionTime": 2500.0,
}


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("t1_mprage_sag_p2_iso", "t1"),
        ("AX T1 PRE", "t1"),
        ("T1 tra nativ", "t1"),
        ("T1 without contrast", "t1"),
        ("T1w_pre_Gd", "t1"),
        ("AX T1 FSPGR 3D +C", "t1c"),
        ("SAG 3D BRAVO POST GAD", "t1c"),
        ("t1_mpr_tra_KM", "t1c"),
        ("T1CE", "t1c"),
        ("T1 GADO", "t1c"),
        ("3D T1 with contrast", "t1c"),
        ("t1_mprage (enhanced conversion)", "t1"),
        ("T1 post op", "t1"),
        ("T1 posterior fossa", "t1"),
        ("T1 post-RT", "t1"),
        ("sT1W_3D_TFE", "t1"),
        ("T1 SE inj", "t1c"),
        ("sans injection T1", "t1"),
        ("AX T2 FSE", "t2"),
        ("t2_space_sag", "t2"),
        ("Ax T2 FLAIR", "flair"),
        ("t2_tirm_tra_dark-fluid", "flair"),
        ("3D_FLAIR_CS", "flair"),
        ("T1/T2", "unknown"),
        ("MPRAGE w/wo", "unknown"),
        ("T2* GRE", "unknown"),
        ("t2_fl2d_tra_hemo", "unknown"),
        ("3-plane localizer", "unknown"),
        ("ep2d_diff_b1000", "unknown"),
        ("T1 subtraction", "unknown"),
        ("TOF_3D_multi-slab", "unknown"),
        ("PD TSE", "unknown"),
        ("T2 STIR", "unknown"),
        ("t1_vibe_dynamic", "unknown"),
        ("Brain", "unknown"),
        ("", "unknown"),
    ],
)
def test_descriptions(description, expected):
    sequence, by = guess_sequence({"Modality": "MR", "SeriesDescription": description})
    assert sequence == expected
    assert by


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"SeriesDescription": "t1_tra", "ContrastBolusAgent": "11 ml Omniscan"}, "t1c"),
        ({"SeriesDescription": "t1_tra", "ContrastBolusAgent": "NONE"}, "t1"),
        ({"SeriesDescription": "t1_tra", "ContrastBolusVolume": 7.5}, "t1c"),
        ({"SeriesDescription": "t1_tra", "ContrastBolusVolume": 0.0}, "t1"),
        ({"SeriesDescription": "MPRAGE w/wo", "ContrastBolusAgent": "Gadovist"}, "t1c"),
        ({"SeriesDescription": "t1 pre", "ContrastBolusAgent": "Gadovist"}, "unknown"),  # contradiction
        ({"SeriesDescription": "t1 +C", "ContrastBolusAgent": "NO"}, "unknown"),  # contradiction
        ({"SeriesDescription": "t2_tse", "ContrastBolusAgent": "Gadovist"}, "t2"),
        ({**SE_T1, "ContrastBolusAgent": "Gadovist"}, "t1c"),
        ({"SeriesDescription": "AX T1 POST", "ProtocolName": "Brain w/wo T2"}, "t1c"),
        ({"SeriesDescription": "AX", "ProtocolName": "T2 Brain w/wo"}, "t2"),
        ({"SeriesDescription": "t1", "ContrastBolusAgent": "UNKNOWN"}, "t1"),
        (SE_T1, "unknown"),  # T1, but of contrast nothing is known
        (SE_T2, "t2"),
        (IR_T2, "flair"),
        ({**SE_T2, "ScanningSequence": ["EP"]}, "unknown"),
        ({**SE_T2, "EchoTime": 40.0}, "unknown"),
        ({**SE_T2, "EchoTime": 15.0, "SeriesDescription": "PD+T2 TSE"}, "unknown"),
        ({**SE_T2, "SeriesDescription": "PD+T2 TSE"}, "t2"),
        ({"SeriesDescription": "AX T1 FLAIR", "EchoTime": 24.0}, "t1"),
        ({"SeriesDescription": "AX T1 FLAIR"}, "unknown"),
        ({"SeriesDescription": "AX T2 GRE", "EchoTime": 20.0}, "unknown"),
        ({"SequenceName": "*tfl3d1_16ns", "SeriesDescription": "Kopf"}, "unknown"),
        ({"SequenceName": "*tfl3d1_16ns", "SeriesDescription": "Kopf nativ"}, "t1"),
        ({"AcquisitionContrast": "FLUID_ATTENUATED"}, "flair"),
        ({"AcquisitionContrast": "T1", "ContrastBolusAgentAdministered": "YES"}, "t1c"),
        ({"AcquisitionContrast": "T1", "ContrastBolusAgentAdministered": "NO"}, "t1"),
        ({"AcquisitionContrast": "DIFFUSION", "SeriesDescription": "T2"}, "unknown"),
        ({"SeriesDescription": "t2", "DiffusionBValue": 1000.0}, "unknown"),
        ({"SeriesDescription": "t1", "ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "unknown"),
        ({"SeriesDescription": "t1", "Modality": "CT"}, "unknown"),
    ],
)
def test_headers(header, expected):
    sequence, by = guess_sequence({"Modality": "MR"} | header)
    assert sequence == expected
    assert by


@pytest.mark.parametrize("enhanced", [False, True])
def test_files_tell_their_sequence(tmp_path, enhanced):
    scan = a_scan(("t1", "t1c", "t2", "flair"), shape=(2, 3, 4))
    for channel in scan.channels:
        a_series(tmp_path, scan, channel=channel, enhanced=enhanced)
    assert [series.sequence for series in list_series(tmp_path)] == list(scan.channels)


def test_enhanced_objects_tell_by_their_own_attributes(tmp_path):
    """But an uninformative description leaves open whether a T1 was taken before contrast."""
    scan = a_scan(("t1", "t1c", "t2", "flair"), shape=(2, 3, 4))
    for channel in scan.channels:
        for path in a_series(tmp_path, scan, channel=channel, enhanced=True):
            edit(path, SeriesDescription="Brain")
    assert [series.sequence for series in list_series(tmp_path)] == ["unknown", "t1c", "t2", "flair"]
