"""What a release takes, writes and refuses."""

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from tiny_runs import change_description, write_both_kinds, write_bright_model, write_scored

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, write_json
from metseg.base.paths import released_dir
from metseg.data.provenance import GLIOMA, LGG, PHANTOM
from metseg.data.split import Split, write_split
from metseg.inference.predictor import Predictor
from metseg.metrics.compare import summarise
from metseg.release.release import check_releasable, check_run
from metseg.release.release import release as copy_released
from metseg.release.released import (
    OFFERED,
    default_for,
    described_models,
    fitting,
    kind_of,
    offered_models,
    released_for,
    released_models,
    scores_told,
)
from metseg.training.run_folder import RunFolder


def release(model_dir: Path, folder: Path, **options) -> Path:
    return copy_released(check_releasable(model_dir, **{"kind": "own"} | options), folder)


@pytest.fixture
def model_dir(tmp_path) -> Path:
    """A finished, exported and scored training: Dice 1 and 0.5."""
    return write_scored(tmp_path / "run")


def test_what_lies_there_then(model_dir, tmp_path):
    target = release(model_dir, tmp_path / "released")
    assert target == tmp_path / "released" / "own-unet"
    assert {path.name for path in target.iterdir()} == {"README.md", "model.json", "model.onnx"}
    assert Predictor(target).description["held_out"]["dice_mean"] == 0.75
    assert released_models(tmp_path / "released")["own-unet"]["held_out"]["n_patients"] == 2


def test_the_scores_of_a_cross_validation_stand_for_its_own(model_dir, tmp_path):
    write_split(Split(("A", "B"), ("C", "D", "E"), (), 0, "f"), model_dir / "split.json")
    with pytest.raises(MetsegError, match="holds nobody out; name the cross-validation of its recipe"):
        release(model_dir, tmp_path / "released")
    scores = {
        **summarise(*RunFolder(model_dir).read_tables()),
        "n_patients": 5,
        "folds": 3,
        "scored_in": "fp32",
    }
    scores["same_masks"] = 2
    shutil.rmtree(model_dir / "evaluation")
    target = release(model_dir, tmp_path / "released", out_of_fold=scores)
    description = Predictor(target).description
    assert description["out_of_fold"]["folds"] == 3 and description["out_of_fold"]["dice_mean"] == 0.75
    assert "held_out" not in description
    card = (target / "README.md").read_text()
    assert "5 patients, each by the one of 3 networks of the same recipe that neither learned from" in card
    assert "in fp32, masks made as this network's are, in 2 of them); this network was trained" in card
    assert "| mean volume Dice | 0.750 (0.500–1.000) |" in card and "one split" not in card


def test_a_network_whose_masks_were_never_chosen_replaces_nothing(model_dir, tmp_path):
    before = (release(model_dir, tmp_path / "released") / "model.json").read_bytes()
    path = model_dir / "model.json"
    write_json(path, {k: v for k, v in read_json(path).items() if k != "validation_patients"})
    with pytest.raises(MetsegError, match="makes masks was never settled; call: metseg export"):
        release(model_dir, tmp_path / "released", out_of_fold={"folds": 2})
    assert (tmp_path / "released" / "own-unet" / "model.json").read_bytes() == before


def add_int8(model_dir: Path) -> Path:
    """Makes a scored training one that serves in int8."""
    onnx = model_dir / "model.int8.onnx"
    onnx.write_bytes(b"eight bits")
    served = {"precision": "int8", "sha256": hashlib.sha256(b"eight bits").hexdigest()}
    path = model_dir / "model.json"
    description = {**read_json(path), "precision": "int8", "quantised": {"sha256": served["sha256"]}}
    write_json(path, description)
    path = model_dir / "evaluation" / "evaluation.json"
    write_json(path, {**read_json(path), **served})
    return onnx


def test_int8_lies_beside_float32(model_dir, tmp_path):
    add_int8(model_dir)
    target = release(model_dir, tmp_path / "released")
    for name in ("model.onnx", "model.int8.onnx"):
        assert (target / name).read_bytes() == (model_dir / name).read_bytes()
    path = model_dir / "model.json"
    write_json(path, {**read_json(path), "precision": "fp32"})
    scored = {"precision": "fp32", "sha256": read_json(path)["sha256"]}
    path = model_dir / "evaluation" / "evaluation.json"
    write_json(path, {**read_json(path), **scored})
    release(model_dir, tmp_path / "released")
    assert not (target / "model.int8.onnx").exists()


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_another_file_than_described(model_dir, tmp_path, name):
    add_int8(model_dir)
    (model_dir / name).write_bytes(b"other")
    with pytest.raises(MetsegError, match=f"{name} is missing, or not the file that model.json describes"):
        release(model_dir, tmp_path / "released")
    assert not (tmp_path / "released").exists()


def test_the_card(model_dir, tmp_path):
    for name in ("model.json", "evaluation/evaluation.json"):
        write_json(model_dir / name, {**read_json(model_dir / name), "min_volume_share": 0.3})
    card = (release(model_dir, tmp_path) / "README.md").read_text()
    rows = dict(line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("| m"))
    assert "| mean volume Dice | 0.750 (0.500–1.000) |" in card
    assert "3 validation patients, whose Dice flatters" in card and "| mean volume Dice | 0.900 |" in card
    assert rows["mask"].startswith(
        "probability of 0.5 or more; lesions all kept, in a whole volume only those of 30%"
    )
    assert "the same, every slice uploaded by itself | 0.800" in card
    assert "test scans: 2 patients to learn from, 3 for validation" in card
    for text in (
        "# own · U-Net",
        "not a medical device",
        "2 cores of abacus",
        "4 min",
        "filters 4, 8",
        "abc123",
    ):
        assert text in card


def test_the_card_tells_what_missing_sequences_cost(model_dir, tmp_path):
    without = {"t1": 0.81, "flair": 0.7, "t1+flair": 0.55}
    measured = {"scans": 3, "complete": 0.82, "without": without}
    config = {**read_json(model_dir / "manifest.json")["config"], "modality_dropout": 0.15}
    write_json(model_dir / "manifest.json", {**read_json(model_dir / "manifest.json"), "config": config})
    plain = check_releasable(model_dir, kind="own").card
    change_description(model_dir, never_missing="t1c", incomplete_dice=measured)
    model = check_releasable(model_dir, kind="own")
    added = [line for line in model.card.splitlines() if line not in plain.splitlines()]
    rows = dict(line.strip("| ").split(" | ") for line in added)
    assert [line for line in model.card.splitlines() if line not in added] == plain.splitlines()
    assert "post-contrast" in rows["incomplete volumes"] and "0.15" in rows["incomplete volumes"]
    assert list(rows.values())[1:] == ["0.820", "0.810", "0.700", "0.550"]
    assert "the same without pre-contrast and FLAIR, post-contrast in its place" in rows
    assert "the same without pre-contrast, FLAIR in its place" in rows
    assert model.description["incomplete_dice"] == measured


def test_best_first(tmp_path):
    for name, dice in (("a", 0.7), ("b", 0.9), ("c", None)):
        folder = write_bright_model(tmp_path / name, validation_dice_single_slices=dice)
        assert read_json(folder / "model.json")["validation_dice"] == 0.5
    assert list(released_models(tmp_path)) == ["b", "a", "c"]


MODELS = {
    "mets-unet": {"kind": "mets"},
    "phantom-unet": {"kind": "phantom"},
    "lgg-unet": {"data": asdict(LGG)},
    "lgg-nested_unet": {"kind": "lgg"},
}


def test_a_slice_goes_to_glioma_and_a_volume_to_metastases():
    assert fitting(MODELS, "slice") == ["lgg-unet", "lgg-nested_unet", "mets-unet", "phantom-unet"]
    assert fitting(MODELS, "volume") == ["mets-unet", "lgg-unet", "lgg-nested_unet", "phantom-unet"]
    assert default_for(MODELS) == {
        "mets-unet": ["volume"],
        "phantom-unet": [],
        "lgg-unet": ["slice"],
        "lgg-nested_unet": [],
    }


def test_an_architecture_alone_is_the_fitting_one_of_its_networks():
    assert fitting(MODELS, "volume", "unet") == ["mets-unet", "lgg-unet", "phantom-unet"]
    assert fitting(MODELS, "slice", "unet")[0] == "lgg-unet"
    assert fitting(MODELS, "volume", "nested_unet") == ["lgg-nested_unet"]
    assert fitting(MODELS, "slice", "mets-unet") == ["mets-unet"]
    assert fitting(MODELS, "slice", "attention_unet") == fitting(MODELS, "slice", "") == []


def test_of_networks_of_own_scans_the_first_named_is_taken():
    own = {"b/unet": {"data": {"name": "own scans"}}, "a/unet": {"data": {"name": "own scans"}}}
    assert fitting(own, "slice") == fitting(own, "volume") == ["b/unet", "a/unet"]


def test_what_is_taken_and_why(tmp_path, monkeypatch):
    monkeypatch.setattr("metseg.release.released.released_dir", lambda: tmp_path)
    folders = write_both_kinds(tmp_path)
    slices_first = ["lgg-attention_unet", "lgg-unet", "mets-unet", "mets-attention_unet"]
    assert list(released_models(tmp_path)) == slices_first
    assert released_for("slice")[0] == folders["lgg-attention_unet"]
    assert released_for("volume")[0] == folders["mets-unet"]
    folder, why = released_for("volume", "attention_unet")
    assert folder == folders["mets-attention_unet"] and "volumes" in why and "no" not in why
    assert released_for("volume", "nested_unet") is None
    shutil.rmtree(folders["mets-attention_unet"])
    folder, why = released_for("volume", "attention_unet")
    assert folder == folders["lgg-attention_unet"] and "no mets-attention_unet" in why
    shutil.rmtree(folders["mets-unet"])
    folder, why = released_for("volume")
    assert folder == folders["lgg-attention_unet"] and "no mets network" in why


def test_of_metastases_the_dice_of_whole_volumes_counts(tmp_path):
    for name, whole, alone in (("unet", 0.8, 0.3), ("nested_unet", 0.7, 0.6)):
        scores = {"validation_dice": whole, "validation_dice_single_slices": alone}
        write_bright_model(tmp_path / f"mets-{name}", name=name, kind="mets", **scores)
        write_bright_model(tmp_path / f"lgg-{name}", name=name, kind="lgg", **scores)
    assert list(released_models(tmp_path)) == ["lgg-nested_unet", "lgg-unet", "mets-unet", "mets-nested_unet"]


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"name": "test scans"}},
        {"validation_dice_single_slices": "high"},
        {"postprocessing": {"threshold": 2}},
        {"parameters": None},
        {"input": {}},
    ],
    ids=str,
)
def test_damaged_description(tmp_path, change):
    write_bright_model(tmp_path / "unet", **change)
    with pytest.raises(MetsegError, match=r"model.json is damaged .*; export the model again"):
        released_models(tmp_path)


def test_none_released(tmp_path):
    with pytest.raises(MetsegError, match="metseg release RUN"):
        released_models(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "other"},
        {"postprocessing": {"threshold": 0.4}},
        {"tta_flip": True},
        {"min_volume_share": 1},
    ],
)
def test_scores_of_another_export(model_dir, tmp_path, change):
    path = model_dir / "evaluation" / "evaluation.json"
    path.write_text(json.dumps({**read_json(path), **change}))
    with pytest.raises(MetsegError, match="scored, or changed since; call: metseg export"):
        release(model_dir, tmp_path / "released")
    assert not (tmp_path / "released").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("model.json", "is missing"),
        ("manifest.json", "missing or damaged"),
        ("split.json", "missing or damaged"),
        ("evaluation/evaluation.json", "was never scored.*; call: metseg export"),
    ],
)
def test_unfinished(model_dir, tmp_path, name, says):
    (model_dir / name).unlink()
    with pytest.raises(MetsegError, match=says):
        release(model_dir, tmp_path / "released")
    assert not (tmp_path / "released").exists()


def test_a_name_that_leads_out_of_the_folder_of_released_models(model_dir, tmp_path):
    description = read_json(model_dir / "model.json") | {"name": "../elsewhere"}
    write_json(model_dir / "model.json", description)
    with pytest.raises(MetsegError, match="model.json is damaged"):
        release(model_dir, tmp_path / "released")
    assert not (tmp_path / "released").exists() and not (tmp_path / "elsewhere").exists()


def test_too_large(model_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("metseg.release.release.MAX_MB", 0.0001)
    with pytest.raises(MetsegError, match="train with fewer filters"):
        release(model_dir, tmp_path / "released")
    assert not (tmp_path / "released").exists()


@pytest.mark.parametrize(
    ("manifest", "served"), [({"predicts_nothing": True}, 0.9), ({"validation_dice": 0.0}, 0.9), ({}, 0.0)]
)
def test_a_network_that_finds_nothing_is_not_released(model_dir, tmp_path, manifest, served):
    for name, changes in (("manifest.json", manifest), ("model.json", {"validation_dice": served})):
        write_json(model_dir / name, {**read_json(model_dir / name), **changes})
    with pytest.raises(MetsegError, match="unet finds nothing in its validation patients"):
        release(model_dir, tmp_path / "released")
    assert not (tmp_path / "released").exists()


def test_scores_are_told_in_a_line(model_dir):
    line = scores_told(check_releasable(model_dir, kind="own").description)
    assert line == (
        "own-unet, trained on test scans; validation Dice 0.900, slice by slice 0.800; "
        "mean volume Dice of 2 held-out patients 0.750"
    )
    (model_dir / "model.json").write_text("{")
    assert "model.json is damaged" in scores_told(model_dir / "model.json")


def test_models_of_any_folders_are_described_in_the_order_given(tmp_path):
    folders = {name: write_bright_model(tmp_path / name) for name in ("b/unet", "a/unet")}
    assert list(described_models(folders)) == ["b/unet", "a/unet"]
    (tmp_path / "a" / "unet" / "model.json").write_text("{}")
    with pytest.raises(MetsegError, match="a/unet/model.json is damaged"):
        described_models(folders)


def test_what_a_dashboards_kernel_offers(monkeypatch, tmp_path):
    monkeypatch.delenv(OFFERED, raising=False)
    assert offered_models() == released_dir()
    monkeypatch.setenv(OFFERED, json.dumps({"mine/unet": str(tmp_path)}))
    assert offered_models() == {"mine/unet": tmp_path}


def test_a_network_that_knows_only_the_phantom_is_released_if_told(model_dir):
    data = {"name": PHANTOM.name, "licence": "none", "caution": PHANTOM.caution}
    change_description(model_dir, data=data)
    with pytest.raises(MetsegError, match="only the phantom.*--phantom-network"):
        check_run([model_dir], None)
    (checked,) = check_run([model_dir], None, phantom_network=True)
    assert checked.description["name"] == "unet"


def test_a_name_begins_with_what_the_network_knows(model_dir, tmp_path):
    with pytest.raises(MetsegError, match="test scans does not tell what .*run/unet knows; name it: --as"):
        check_releasable(model_dir)
    change_description(model_dir, data=asdict(GLIOMA))  # no kind of its own
    with pytest.raises(MetsegError, match="--as"):
        check_releasable(model_dir)
    for wrong in ("../x", "two words", "a-b", "Mets"):
        with pytest.raises(MetsegError, match=f"'{wrong}' is no word"):
            check_releasable(model_dir, kind=wrong)
    change_description(model_dir, data=asdict(LGG))
    assert release(model_dir, tmp_path / "released", kind="").name == "lgg-unet"
    assert release(model_dir, tmp_path / "released", kind="mets").name == "mets-unet"
    assert [kind_of(each) for each in released_models(tmp_path / "released").values()] == ["lgg", "mets"]
