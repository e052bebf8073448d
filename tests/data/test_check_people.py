"""Who is doubted to be several people."""

import pytest

from metseg.data.cases import CaseFiles
from metseg.data.check_people import doubtful
from metseg.data.patients import TABLE, Identity, identify


def case(case_id: str, who: Identity, folders=()) -> CaseFiles:
    return CaseFiles(case_id, who.patient_id, (), told_by=who.by, folders=folders)


def doubts(*case_ids: str, folders=None) -> list[str]:
    return doubtful(
        case(case_id, identify(case_id), (folders or {}).get(case_id, ())) for case_id in case_ids
    )


@pytest.mark.parametrize(
    "case_ids",
    [
        ("P1_A", "P1_B", "P2_A"),
        ("00086-000", "00086-001", "00087-000"),
        ("0007a", "0007b", "0008a"),
        ("anna", "anna_again", "bob"),
        ("P1", "P1_2nd", "P2"),
        ("P1_x_1", "P1_y_1", "P2_x_1"),
        ("P1v1", "P1v2", "P2"),
        ("Smith_pre", "Smith_post", "Mueller_x"),
        ("Mueller_1", "Mueller_2", "Smith_1"),
        ("CS_4941", "cs4941", "P1"),
        ("Smith", "smith", "P1"),
        ("A_P1", "B_P1", "C_Q2"),
        ("M\u00fcller", "Mu\u0308ller", "P1"),  # one letter, or two
        ("P1(1)", "P1(2)", "P2"),
        ("CS_41", "CS_041", "P1"),
    ],
)
def test_names_that_share_a_stem_are_doubted(case_ids):
    (text,) = doubts(*case_ids)
    assert case_ids[0] in text and case_ids[1] in text and case_ids[2] not in text


@pytest.mark.parametrize(
    "case_ids",
    [
        ("TCGA_CS_4941", "TCGA_CS_4942", "TCGA_DU_4941"),
        ("TEST_0001_20000101", "TEST_0002_20000101"),
        ("BraTS20_Training_001", "BraTS20_Training_002", "P9"),
        ("P1", "P10", "P2"),
        ("site1_11", "site11_1", "site2_1"),
        ("study2024_01", "study2024_02", "study2024_03"),  # of the set, for all have it
        ("cohort_anna", "cohort_bob", "cohort_eve"),
        ("P1_visit1", "P1_visit2", "P2_visit1"),  # one person already
    ],
)
def test_names_of_different_people_are_not(case_ids):
    assert doubts(*case_ids) == []


def test_one_persons_visits_alone_are_doubted():
    assert len(doubts("P1_A", "P1_B", "P1_C")) == 1


def test_people_in_one_folder_are_doubted():
    own = {"A": ("Patient1",), "B": ("Patient1",), "C": ("Patient2",)}
    (text,) = doubts("A", "B", "C", folders=own)
    assert "A and B" in text and "Patient1" in text
    deeper = {"A": ("Patient1", "left"), "B": ("Patient1", "right"), "C": ("Patient2", "left")}
    assert len(doubts("A", "B", "C", folders=deeper)) == 1
    assert doubts("A", "B", "C", folders=dict.fromkeys("ABC", ("scans",))) == []  # all lie there


def test_whom_a_table_names_is_not_doubted_but_whom_it_forgets():
    others = [case("P2", identify("P2")), case("P3", identify("P3"))]
    two = [case(case_id, Identity(case_id, None, TABLE)) for case_id in ("P1_A", "P1_B")]
    assert doubtful(two + others) == []
    one = [case(case_id, Identity("P1", None, TABLE)) for case_id in ("P1_A", "P1_B")]
    (text,) = doubtful([*one, case("P1_C", identify("P1_C")), *others])
    assert "P1 and P1_C" in text
