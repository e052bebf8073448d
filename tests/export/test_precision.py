"""Exports in several precisions: checked before they replace anything."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from tiny_scans import finished_training

from metseg.base.errors import MetsegError
from metseg.base.files import sole_writer
from metseg.data.cases import find_cases
from metseg.export.precision import export
from metseg.export.validation_dice import dice_both_ways, validation_cases
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
    monkeypatch.setattr("metseg.inference.engines.multiplies", lambda number_format: True)


def description_of(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text(encoding="utf-8"))


def files_of(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    return {path.name: path.read_bytes() for path in files}


@pytest.mark.slow
def test_int8_serves_as_it_was_scored_and_float32_where_it_is_not_native(model_dir, cases, monkeypatch):
    for name in ("DICE_TOLERANCE", "PATIENT_TOLERANCE"):
        monkeypatch.setattr(f"metseg.export.validation_dice.{name}", 1.0)
    before, done = description_of(model_dir), export(model_dir, cases, precision=None)
    after = description_of(model_dir)
    assert done.precision == after["precision"] == Predictor(model_dir).precision == "int8"
    assert done.largest_difference < 1e-3 and done.change_of_head is None
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files_of(model_dir).items()}
    # 7 patients of 3 slices: 1 to test, 1 to validate, 5 to learn from
    expected = {"sha256": digests["model.int8.onnx"], "patients": "training", "slices": 15}
    assert after["quantised"] == expected and after["sha256"] == digests["model.onnx"]
    assert before["seen"] == after["seen"]
    assert (after["validation_patients"], after["min_volume_share"]) == (1, 0.3)
    found = dice_both_ways(Predictor(model_dir), validation_cases(RunFolder(model_dir), cases))
    scores = [after[f"validation_dice{end}"] for end in ("", "_single_slices")]
    assert scores == [each.mean for each in found]

    monkeypatch.setattr("metseg.inference.engines.multiplies", lambda number_format: False)
    again, description = export(model_dir, cases, precision=None), description_of(model_dir)
    assert (again.precision, again.change) == ("fp32", (0, 0, 0))
    assert "model.int8.onnx" not in files_of(model_dir) and "quantised" not in description
    former = [description[f"validation_dice{end}"] for end in ("", "_single_slices")]
    changes = [new - old for new, old in zip(scores, former, strict=True)]
    # There is one validation patient, who is the mean.
    assert done.change == pytest.approx((*changes, max(changes, key=abs)), abs=1e-12)


@pytest.mark.slow
def test_what_changes_the_dice_is_refused_and_replaces_nothing(model_dir, cases, monkeypatch):
    monkeypatch.setattr("metseg.export.validation_dice.DICE_TOLERANCE", -1.0)
    monkeypatch.setattr("metseg.inference.engines.multiplies", lambda number_format: number_format == "bf16")
    before = files_of(model_dir)
    says = (
        r"bf16 changes the mean Dice of .*nested_unet's validation patients by [+-]0\.\d{5}, slice by slice "
        r"by [+-]0\.\d{5}, .* one patient's by [+-]0\.\d{5}, .*export it in fp32"
    )
    with pytest.raises(MetsegError, match=says):
        export(model_dir, cases, precision="bf16")
    assert files_of(model_dir) == before
    # Left to choose, it takes what is never refused.
    assert export(model_dir, cases, precision=None).precision == "fp32"


@pytest.mark.slow
def test_the_float32_graph_is_checked_whatever_serves(model_dir, cases, monkeypatch):
    monkeypatch.setattr("metseg.export.onnx.TOLERANCE", 0.0)
    before = files_of(model_dir)
    with pytest.raises(MetsegError, match="differs from the trained network by"):
        export(model_dir, cases, precision="bf16")
    assert files_of(model_dir) == before


@pytest.mark.slow
def test_one_head_serves(model_dir, cases):
    before = description_of(model_dir)["parameters"]
    done = export(model_dir, cases, precision="fp32", prune=1)
    assert done.largest_difference < 1e-3 and description_of(model_dir)["prune"] == 1
    assert -1 <= done.change_of_head <= 1 and description_of(model_dir)["parameters"] < before


@pytest.mark.slow
def test_what_missing_sequences_cost_is_measured_where_it_learned_to_do_without(model_dir, cases):
    export(model_dir, cases)
    assert "incomplete_dice" not in description_of(model_dir)
    manifest = json.loads((model_dir / "manifest.json").read_text())
    manifest["config"] |= {"modality_dropout": 0.2, "never_missing": "t1c"}
    (model_dir / "manifest.json").write_text(json.dumps(manifest))
    export(model_dir, cases, is_to_serve=False)
    assert "incomplete_dice" not in description_of(model_dir)
    export(model_dir, cases)
    found = description_of(model_dir)
    assert found["never_missing"] == "t1c" and found["incomplete_dice"]["scans"] == 1
    assert found["incomplete_dice"]["complete"] == found["validation_dice"]
    assert found["incomplete_dice"]["without"].keys() == {"t1", "flair", "t1+flair"}


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
    monkeypatch.setattr("metseg.inference.engines.multiplies", lambda number_format: number_format == "bf16")
    with pytest.raises(MetsegError, match="this CPU does not multiply int8 natively.*export in bf16 or fp32"):
        export(model_dir, cases, precision="int8")
