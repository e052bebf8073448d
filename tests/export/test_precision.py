"""Exports in several precisions: checked before they replace anything."""

import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from tiny_scans import finished_training

from metseg.base.errors import MetsegError
from metseg.base.files import sole_writer
from metseg.data.cases import find_cases
from metseg.data.split import read_split
from metseg.export.precision import export, head_of, precision_of, training_cases, write_variants
from metseg.export.validation_dice import VolumeDice, validation_cases, volume_dice
from metseg.inference.predictor import Predictor
from metseg.training.run_folder import RunFolder


@pytest.fixture
def model_dir(tmp_path_factory, tmp_path) -> Path:
    """A copy of a finished and exported training, to change."""
    return Path(shutil.copytree(finished_training(tmp_path_factory), tmp_path / "nested_unet"))


@pytest.fixture
def cases(tmp_path_factory) -> list:
    return find_cases(finished_training(tmp_path_factory).parent.parent / "scans")


@pytest.fixture(autouse=True)
def everything_is_native(monkeypatch):
    """As the slowest machine that runs these tests may not have it."""
    for module in ("export.precision", "inference.engines"):
        monkeypatch.setattr(f"metseg.{module}.multiplies", lambda number_format: True)


def nothing_matters(monkeypatch) -> None:
    """Lets every precision pass."""
    for name in ("DICE_TOLERANCE", "PATIENT_TOLERANCE"):
        monkeypatch.setattr(f"metseg.export.validation_dice.{name}", 1.0)


def description_of(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text(encoding="utf-8"))


def files_of(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    return {path.name: path.read_bytes() for path in files}


@pytest.mark.slow
def test_int8(model_dir, cases, monkeypatch):
    nothing_matters(monkeypatch)
    before, done = description_of(model_dir), export(model_dir, cases, precision=None)
    after = description_of(model_dir)
    assert done.precision == after["precision"] == Predictor(model_dir).precision == "int8"
    assert done.largest_difference < 1e-3 and done.change_of_head is None
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files_of(model_dir).items()}
    # 7 patients of 3 slices: 1 to test, 1 to validate, 5 to learn from
    expected = {"sha256": digests["model.int8.onnx"], "patients": "training", "slices": 15}
    assert after["quantised"] == expected and after["sha256"] == digests["model.onnx"]
    assert before["seen"] == after["seen"]

    monkeypatch.setattr("metseg.export.precision.multiplies", lambda number_format: False)
    assert export(model_dir, cases, precision=None).precision == "fp32"
    assert "model.int8.onnx" not in files_of(model_dir) and "quantised" not in description_of(model_dir)


@pytest.mark.slow
def test_what_changes_the_dice_is_refused_and_replaces_nothing(model_dir, cases, monkeypatch):
    monkeypatch.setattr("metseg.export.validation_dice.DICE_TOLERANCE", -1.0)
    before = files_of(model_dir)
    says = (
        r"bf16 changes the mean Dice of .*nested_unet's validation patients by [+-]0\.\d{5}, slice by slice "
        r"by [+-]0\.\d{5}, .* one patient's by [+-]0\.\d{5}, .*export it in int8 or fp32"
    )
    with pytest.raises(MetsegError, match=says):
        export(model_dir, cases, precision="bf16")
    assert files_of(model_dir) == before
    assert not list(model_dir.glob(".export-*"))
    # Left to choose, it takes what is never refused.
    assert export(model_dir, cases, precision=None).precision == "fp32"


@pytest.mark.slow
@pytest.mark.parametrize("worse_alone", [True, False])
def test_whole_volumes_and_single_slices_must_both_keep_the_dice(worse_alone, model_dir, cases, monkeypatch):
    worse = [0.685, 0.714]  # the mean hardly changes, one patient's does

    def dice(predictor, cases, *, single_slices, on_case):
        changed = predictor.precision == "bf16" and single_slices == worse_alone
        return VolumeDice(pd.Series(worse if changed else [0.7, 0.7]), pd.Series(dtype=float))

    monkeypatch.setattr("metseg.export.validation_dice.volume_dice", dice)
    with pytest.raises(MetsegError, match=r"-0\.00050.*one patient's by -0\.01500.*where 0\.01 is"):
        export(model_dir, cases, precision="bf16")


@pytest.mark.slow
def test_the_form_that_serves_is_scored_as_it_makes_masks(model_dir, cases, monkeypatch):
    nothing_matters(monkeypatch)
    done = export(model_dir, cases, precision="int8")
    description, files = description_of(model_dir), validation_cases(RunFolder(model_dir), cases)
    assert (description["validation_patients"], description["min_volume_share"]) == (1, 0.3)
    whole, alone = (
        volume_dice(Predictor(model_dir), files, single_slices=each).mean for each in (False, True)
    )
    assert (description["validation_dice"], description["validation_dice_single_slices"]) == (whole, alone)

    again = export(model_dir, cases, precision="fp32")
    description = description_of(model_dir)
    assert again.change == (0, 0, 0)
    changes = whole - description["validation_dice"], alone - description["validation_dice_single_slices"]
    # There is one validation patient, who is the mean.
    assert done.change == pytest.approx((*changes, max(changes, key=abs)), abs=1e-12)


@pytest.mark.slow
def test_the_float32_graph_is_checked_whatever_serves(model_dir, cases, monkeypatch):
    monkeypatch.setattr("metseg.export.onnx.TOLERANCE", 0.0)
    before = files_of(model_dir)
    with pytest.raises(MetsegError, match="differs from the trained network by"):
        export(model_dir, cases, precision="bf16")
    assert files_of(model_dir) == before


@pytest.mark.slow
def test_one_head_serves(model_dir, cases):
    leftover = model_dir / ".export-of-a-killed-process" / "fp32"
    leftover.mkdir(parents=True)
    done = export(model_dir, cases, precision="fp32", prune=1)
    assert done.largest_difference < 1e-3 and description_of(model_dir)["prune"] == 1
    assert -1 <= done.change_of_head <= 1
    assert not list(model_dir.glob(".export-*"))


def test_another_process_writes_there(model_dir, cases):
    with sole_writer(model_dir), pytest.raises(MetsegError, match="is being written by another process"):
        export(model_dir, cases, precision=None)


def test_a_head_that_is_not_there(model_dir, cases):
    before = files_of(model_dir)
    with pytest.raises(
        MetsegError, match=r"no head to prune to: prune=4; nested_unet has the heads \[1, 2\]"
    ):
        export(model_dir, cases, precision=None, prune=4)
    assert files_of(model_dir) == before


def test_what_the_cpu_does_not_multiply_is_not_exported(model_dir, cases, monkeypatch):
    monkeypatch.setattr("metseg.export.precision.multiplies", lambda number_format: number_format == "bf16")
    with pytest.raises(MetsegError, match="this CPU does not multiply int8 natively.*export in bf16 or fp32"):
        export(model_dir, cases, precision="int8")


@pytest.mark.slow
def test_variants_of_a_network_with_heads(model_dir, cases, tmp_path):
    variants = write_variants(RunFolder(model_dir), tmp_path / "forms", cases)
    assert list(variants) == ["fp32", "bf16", "int8", "L1", "L2"]
    assert [Predictor(each).precision for each in variants.values()] == [
        "fp32",
        "bf16",
        "int8",
        "fp32",
        "fp32",
    ]
    assert description_of(variants["L1"])["parameters"] < description_of(variants["L2"])["parameters"]


def test_training_cases_are_of_training_patients(model_dir, cases):
    split = read_split(model_dir / "split.json")
    assert {case.patient_id for case in training_cases(RunFolder(model_dir), cases)} == set(split.train)


def test_names():
    assert [precision_of(name) for name in (None, "bf16")] == [None, "bf16"]
    assert [head_of(name) for name in (None, "L3", "l1")] == [None, 3, 1]
    with pytest.raises(MetsegError, match="unknown precision 'fp16'; valid are fp32, bf16, int8"):
        precision_of("fp16")
    for wrong in ("3", "L0", "L12", ""):
        with pytest.raises(MetsegError, match="unknown head .*; valid are L1"):
            head_of(wrong)
