"""What missing sequences cost, on scans whose Dice is known by hand."""

from collections.abc import Collection

import numpy as np
import pytest
from tiny_runs import POINTED, SIZE, change_description, write_bright_model

from metseg.base.files import read_json
from metseg.data.cases import find_cases
from metseg.data.split import Split, write_split
from metseg.data.volume import Volume
from metseg.data.writers.nifti import write_image, write_mask
from metseg.export import incomplete, validation_dice
from metseg.export.incomplete import set_incomplete
from metseg.export.mask_settings import set_masks
from metseg.export.validation_dice import volume_dice
from metseg.inference.description import Description, read_description
from metseg.inference.predictor import Predictor
from metseg.training.run_folder import RunFolder

ENDINGS = {"t1": "t1n", "flair": "t2f", "t1c": "t1c"}


def write_scan(
    folder, case_id: str, bright: dict[str, int], lesion: int, second: Collection[str] = ()
) -> None:
    """Two slices whose first rows are bright, as many as said in each sequence; `lesion` rows are a lesion.

    The last four rows are another, if it is bright in some sequences, which are `second`.
    """
    (folder / case_id).mkdir(parents=True)
    rows = np.arange(SIZE)[:, None] * np.ones((1, 2, 1, SIZE), np.int16)
    last = rows >= SIZE - 4
    for sequence, count in bright.items():
        shown = (rows < count) | (last & (sequence in second))
        volume = Volume(shown * np.int16(1000), (sequence,), affine=np.diag([1.0, 1, 3, 1]))
        write_image(volume, folder / case_id / f"{case_id}-{ENDINGS[sequence]}.nii.gz")
    labels = ((rows < lesion) | (last & bool(second)))[0].astype(np.uint8) * 3
    write_mask(labels, volume, folder / case_id / f"{case_id}-seg.nii.gz")


def write_model(folder, *validation: str, **changes) -> RunFolder:
    """A network that marks where both flair and t1c are bright."""
    write_bright_model(folder, channels=(0, 0.49, 0.49), **changes)
    write_split(Split(("T",), validation, (), seed=0, fingerprint=""), folder / "split.json")
    return RunFolder(folder)


def measured(run: RunFolder) -> dict:
    known, description = read_description(run.description)
    assert known.incomplete_dice.model_dump() == description["incomplete_dice"]
    return description["incomplete_dice"]


def test_each_set_that_may_be_missing(tmp_path):
    """The lesion has 8 rows, which flair alone shows; t1c shows 4, t1 none: where both are there, 4 are."""
    write_scan(tmp_path / "scans", "BraTS-MET-00001-000", {"t1": 1, "flair": 8, "t1c": 4}, 8)
    run = write_model(tmp_path / "unet", "BraTS-MET-00001")
    steps = []
    set_incomplete(run, find_cases(tmp_path / "scans"), on_case=lambda k, of: steps.append((k, of)))
    found = measured(run)
    assert found["scans"] == 1 and found["complete"] == pytest.approx(2 / 3)  # 4 of 8 rows
    assert found["without"] == pytest.approx({"t1": 2 / 3, "t1c": 1.0, "t1+t1c": 1.0})
    assert steps == [(1, 1)] * 4
    change_description(run.path, never_missing="t1c")
    set_incomplete(run, find_cases(tmp_path / "scans"))
    assert measured(run)["without"] == pytest.approx({"t1": 2 / 3, "flair": 2 / 3, "t1+flair": 2 / 3})


def test_thresholds_for_each_set_where_there_are_operating_points(tmp_path):
    """Of two lesions flair shows both and t1c one: where t1c is missing, both are found."""
    write_scan(
        tmp_path / "scans", "BraTS-MET-00001-000", {"t1": 1, "flair": 8, "t1c": 8}, 8, second=["flair"]
    )
    run = write_model(tmp_path / "unet", "BraTS-MET-00001", **POINTED)
    steps = []
    set_incomplete(run, find_cases(tmp_path / "scans"), on_case=lambda k, of: steps.append((k, of)))
    known, _ = read_description(run.description)
    assert [*known.without_sequences] == ["t1", "t1c", "t1+t1c"] == [*measured(run)["without"]]
    for missing, found in (("t1", 1), ("t1c", 2), ("t1+t1c", 2)):
        points = known.without_sequences[missing].operating_points
        assert (points.lesions["all"], points.points[-1].found["all"]) == (2, found)
        cases = find_cases(tmp_path / "scans")
        dice = volume_dice(Predictor(run.path), cases, missing=missing.split("+")).mean
        assert known.incomplete_dice.without[missing] == pytest.approx(dice)
    assert steps == [(1, 1)] * 4


def test_complete_scans_settle_what_is_for_complete_scans(tmp_path):
    """Of the two scans one has no t1c, and shows both its lesions by flair."""
    rows, names = {"t1": 1, "flair": 8, "t1c": 8}, [f"BraTS-MET-0000{k}" for k in (1, 2)]
    for name in names:
        write_scan(tmp_path / "scans", f"{name}-000", rows, 8, second=["flair"])
    (tmp_path / "scans" / f"{names[1]}-000" / f"{names[1]}-000-t1c.nii.gz").unlink()
    run = write_model(tmp_path / "unet", *names)

    def settled() -> Description:
        with pytest.warns(match="flair stands in"):
            set_masks(run, find_cases(tmp_path / "scans", allow_missing=True))
        return read_description(run.description)[0]

    known = settled()
    assert (known.operating_points.scans, known.operating_points.points[-1].found["all"]) == (1, 1)
    assert known.without_sequences == {}
    change_description(run.path, operating_points=None)
    (tmp_path / "scans" / f"{names[0]}-000" / f"{names[0]}-000-t1c.nii.gz").unlink()
    known = settled()  # nothing tells of complete ones
    points = known.without_sequences["t1c"].operating_points
    assert known.operating_points is None and (points.scans, points.points[-1].found["all"]) == (2, 4)


def test_some_scans_that_have_all(tmp_path, monkeypatch):
    monkeypatch.setattr(validation_dice, "MOST_SCANS", 2)
    names = [f"BraTS-MET-{k:05d}" for k in range(1, 6)]
    for name in names:
        write_scan(tmp_path / "scans", f"{name}-000", {"t1": 1, "flair": 8, "t1c": 8}, 8)
    (tmp_path / "scans" / f"{names[0]}-000" / f"{names[0]}-000-t1n.nii.gz").unlink()
    run = write_model(tmp_path / "unet", *names)
    with pytest.warns(match="flair stands in"):
        cases = find_cases(tmp_path / "scans", allow_missing=True)
    seen = []

    def spy(predictor, files, **how):
        seen.append([case.patient_id for case in files])
        return volume_dice(predictor, files, **how)

    monkeypatch.setattr(incomplete, "volume_dice", spy)
    set_incomplete(run, cases)
    assert seen == [[names[1], names[3]]] * 4 and measured(run)["scans"] == 2


def test_without_a_lesion_nothing_is_measured(tmp_path):
    write_scan(tmp_path / "scans", "BraTS-MET-00001-000", {"t1": 1, "flair": 8, "t1c": 8}, 0)
    run = write_model(tmp_path / "unet", "BraTS-MET-00001")
    before = read_json(run.description)
    set_incomplete(run, find_cases(tmp_path / "scans"))
    assert read_json(run.description) == before
