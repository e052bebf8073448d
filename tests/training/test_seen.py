"""Whom a model has seen, by name and by content."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tiny_scans import finished_training, write_case

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, write_json
from metseg.data.cases import CaseFiles, find_cases, load_case
from metseg.data.content import slice_hash
from metseg.evaluation.evaluate import unseen_cases
from metseg.training.seen import joined_hashes, sort_cases, split_hashes


def drawn(seed: int, slices: int = 4) -> np.ndarray:
    """A scan whose last slice is black."""
    image = np.random.default_rng(seed).integers(0, 256, (slices, 8, 8, 3), dtype=np.uint8)
    image[-1] = 0
    return image


@pytest.fixture
def model_dir(tmp_path) -> Path:
    """A model that has seen TEST_0001 (scan 1) and TEST_0002 (scan 2)."""
    slices = {f"TEST_000{k}": joined_hashes(map(slice_hash, drawn(k))) for k in (1, 2)}
    (tmp_path / "model").mkdir()
    write_json(tmp_path / "model" / "model.json", {"seen": sorted(slices), "seen_slices": slices})
    return tmp_path / "model"


@pytest.fixture
def write(tmp_path):
    """A function that writes {case: image} and returns the cases."""

    def write(**images: np.ndarray) -> list[CaseFiles]:
        for case_id, image in images.items():
            write_case(tmp_path / "scans", case_id, image, np.zeros(image.shape[:3], bool))
        return find_cases(tmp_path / "scans")

    return write


def names(cases: list[CaseFiles]) -> list[str]:
    return [case.case_id for case in cases]


def test_hashes_come_apart_as_they_were_put_together():
    hashes = ["0badcafe", "", "12345678", "0badcafe"]
    assert split_hashes(joined_hashes(hashes)) == ["0badcafe", "12345678"]
    assert split_hashes(joined_hashes([""])) == []


def test_the_hash_is_of_the_pixels_not_of_the_file(write, tmp_path):
    (case,) = write(TEST_0001_20000101=drawn(1))
    before = [slice_hash(image) for image in load_case(case).image]
    path = case.slices[0].image
    tifffile.imwrite(path, tifffile.imread(path), photometric="rgb", compression="zlib")
    assert [slice_hash(image) for image in load_case(case).image] == before
    assert before[-1] == "" and len(set(before)) == 4
    assert slice_hash(drawn(1)[0].reshape(4, 16, 3)) != before[0]


def test_same_scan_same_name_and_neither(write, model_dir):
    cases = write(
        TEST_0001_20000101=drawn(1),  # as it was seen
        TEST_0002_20050505=drawn(7),  # a later scan of that patient, or another patient of that name
        OTHER_0001_20000101=drawn(2),  # seen under another name
        OTHER_0002_20000101=drawn(8),
    )
    found = sort_cases(cases, model_dir)
    assert names(found.unseen) == ["OTHER_0002_20000101"]
    assert [(case.case_id, name) for case, name in found.same_scan] == [
        ("OTHER_0001_20000101", "TEST_0002"),
        ("TEST_0001_20000101", "TEST_0001"),
    ]
    assert names(found.same_name) == ["TEST_0002_20050505"] and found.name_alone == []
    assert names(unseen_cases(cases, model_dir)) == ["OTHER_0002_20000101"]
    both = ["OTHER_0002_20000101", "TEST_0002_20050505"]
    assert names(unseen_cases(cases, model_dir, include_same_name=True)) == both
    renamed, same_name = found.notes()
    assert "OTHER_0001_20000101 (seen as TEST_0002)" in renamed and "TEST_0001" not in renamed
    assert "TEST_0002" in same_name and "--include-same-name" in same_name
    assert "--include-same-name" not in found.notes(include_same_name=True)[1]


def test_part_of_a_seen_scan_or_more_than_it_is_the_same_scan(write, model_dir):
    more = np.concatenate([drawn(1), drawn(9, slices=8)])
    cases = write(
        PART_20000101=drawn(1)[1:], MORE_20000101=more, MIXED_20000101=np.stack([*drawn(9)[:3], drawn(1)[0]])
    )
    found = sort_cases(cases, model_dir)
    assert names([case for case, _ in found.same_scan]) == ["MORE_20000101", "PART_20000101"]
    # One slice of three or four in common: a slip of a file, not the scan.
    assert names(found.unseen) == ["MIXED_20000101"]


def test_black_slices_make_no_scan_known(write, model_dir):
    (case,) = write(BLACK_20000101=np.zeros((4, 8, 8, 3), np.uint8))
    assert sort_cases([case], model_dir).unseen == [case]


def test_an_older_model_goes_by_name_alone_and_says_so(write, model_dir):
    write_json(model_dir / "model.json", {"seen": ["TEST_0001"]})
    cases = write(TEST_0001_20050505=drawn(7), OTHER_0001_20000101=drawn(1))
    found = sort_cases(cases, model_dir)
    assert names(found.name_alone) == ["TEST_0001_20050505"] and names(found.unseen) == [
        "OTHER_0001_20000101"
    ]
    assert "by name alone: TEST_0001" in found.notes()[0]


def test_all_seen_says_why(write, model_dir):
    cases = write(TEST_0002_20050505=drawn(7), OTHER_0001_20000101=drawn(2))
    with pytest.raises(MetsegError, match=r"all of these patients; .*seen as TEST_0002.*--include-same-name"):
        unseen_cases(cases, model_dir)


def test_an_image_that_cannot_be_read_is_named(write, model_dir):
    (case,) = write(TEST_0001_20000101=drawn(1))
    case.slices[0].image.write_bytes(b"torn")
    with pytest.raises(MetsegError, match="TEST_0001_20000101_1.tif"):
        sort_cases([case], model_dir)


def test_a_training_tells_what_it_has_seen(tmp_path_factory):
    model_dir = finished_training(tmp_path_factory)
    split = read_json(model_dir / "split.json")
    seen = read_json(model_dir / "model.json")["seen_slices"]
    assert sorted(seen) == sorted([*split["train"], *split["validation"]])
    cases = find_cases(model_dir.parent.parent / "scans")
    renamed = [replace(case, patient_id=f"other {k}", case_id=f"other {k}") for k, case in enumerate(cases)]
    found = sort_cases(renamed, model_dir)
    assert sorted(name for _, name in found.same_scan) == sorted(seen)
    assert len(found.unseen) == len(split["test"]) == len(cases) - len(seen)


def test_other_scans_of_a_person_who_was_seen_under_another_name(write, model_dir, tmp_path):
    write(A_20000101=drawn(1), B_20000101=drawn(7), C_20000101=drawn(8))
    rows = ["case_id,patient_id", "A_20000101,anna", "B_20000101,anna"]
    (tmp_path / "scans" / "patients.csv").write_text("\n".join(rows))
    found = sort_cases(find_cases(tmp_path / "scans"), model_dir)
    assert names([case for case, _ in found.same_scan]) == ["A_20000101"]
    assert names(found.same_name) == ["B_20000101"] and names(found.unseen) == ["C_20000101"]


def test_another_spelling_is_the_same_name(write, model_dir):
    found = sort_cases(write(**{"test-0001_20050505": drawn(7)}), model_dir)
    assert found.unseen == []


def test_a_model_that_cannot_know_renamed_scans_always_says_so(write, model_dir):
    write_json(model_dir / "model.json", {"seen": ["TEST_0001"]})
    found = sort_cases(write(OTHER_0001_20000101=drawn(1)), model_dir)
    assert names(found.unseen) == ["OTHER_0001_20000101"]
    assert any("under another name" in note for note in found.notes())
