"""Commands on trained networks: evaluate, export, ablation, release, runs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import tifffile
from cli_words import grey, worked
from tiny_runs import DATA, HALF, WHOLE, write_bright_model, write_evaluated, write_scored
from volume_set import write_volumes

from metseg.base.files import read_json, write_json
from metseg.data.cases import find_cases, load_case
from metseg.data.content import slice_hash
from metseg.data.split import read_split, write_split
from metseg.training.seen import joined_hashes


def test_evaluate_leaves_out_who_was_seen(metseg, tmp_path, scans):
    folder = write_bright_model(tmp_path / "run" / "unet", seen=("TEST_0001", "TEST_0099"))
    status, out, err = metseg("evaluate", "--model", folder, "--data-dir", scans, "--output", "scores")
    assert (status, err) == (0, "")
    assert worked(out).startswith(
        "scans of patients it has not seen: 2; left out because it has seen them: 1\n"
    )
    assert "volume Dice of 2 patients: mean 1.000, median 1.000" in out
    assert "mets2023" not in out  # slices have no lesion-wise scores
    assert "Own scans" in out  # the caution that goes with the data
    table = pd.read_csv(tmp_path / "scores" / "per_patient.csv")
    assert table.patient_id.tolist() == ["TEST_0002", "TEST_0003"] and table.dice.tolist() == [1, 1]
    names = {"per_patient.csv", "per_slice.csv", "examples.npz", "evaluation.json"}
    assert {path.name for path in (tmp_path / "scores").iterdir()} == names


def test_evaluate_volumes_by_the_networks_target_or_another(metseg, refused, tmp_path):
    volumes = write_volumes(tmp_path / "volumes")
    folder = write_bright_model(tmp_path / "run" / "unet", seen=("TEST_0001",), target="WT")
    command, dice = ["evaluate", "--model", folder, "--data-dir", volumes, "--output", "scores"], {}
    for options, lesion in (([], "BraTS: WT (1, 2, 3)"), (["--target", "3"], "BraTS: labels (3)")):
        status, out, err = metseg(*command, *options)
        assert (status, err) == (0, "") and f"lesion in {lesion}" in out
        scored = read_json(tmp_path / "scores" / "evaluation.json")
        table = pd.read_csv(tmp_path / "scores" / "per_patient.csv")
        assert scored["lesion"] == lesion
        lesionwise = scored["lesionwise"]["mets2023_dice"]
        assert lesionwise == pytest.approx(table.groupby("patient_id").mets2023_dice.mean().mean())
        assert f"mets2023_dice {lesionwise:.3f}" in out
        dice[lesion] = table.dice.mean()
    assert dice["BraTS: WT (1, 2, 3)"] > 0.9 > dice["BraTS: labels (3)"]
    assert "labels 1, 2, 3, 4" in refused(*command, "--target", "7")


def test_evaluate_takes_what_fits_the_scans(metseg, both_kinds, tmp_path, scans):
    for folder, taken in ((scans, "lgg-unet"), (write_volumes(tmp_path / "volumes"), "mets-unet")):
        status, out, _ = metseg("evaluate", "--model", "unet", "--data-dir", folder, "--output", "scores")
        assert status == 0 and f"network: {taken}, released" in out


def test_evaluate_tells_every_region(metseg, tmp_path):
    """The network marks all tumour in its first and second channel, and nothing in the third."""
    volumes, third = write_volumes(tmp_path / "volumes"), 1 / 3
    kinds = {"channels": ((third,) * 3, (third,) * 3, (0, 0, 0)), "targets": ["WT", "ET", "TC"]}
    folder = write_bright_model(tmp_path / "run" / "unet", seen=("TEST_0001",), target="WT+ET+TC", **kinds)
    command = ["evaluate", "--model", folder, "--data-dir", volumes, "--output", "scores"]
    status, out, err = metseg(*command)
    assert (status, err) == (0, "") and "lesion in BraTS: WT (1, 2, 3), with ET (3), TC (1, 3)" in out
    table = pd.read_csv(tmp_path / "scores" / "per_patient.csv")
    # Squares of radius 2, 4 and 6: of the tumour ET is 36 in 113, TC 49. ET is cut to TC, which is nothing.
    assert table.dice.mean() > 0.9
    assert (table.dice_TC == 0).all() and (table.pred_voxels_TC == 0).all()
    assert (table.dice_ET == 0).all() and (table.ref_voxels_ET < table.ref_voxels_TC).all()
    lines = [line for line in out.splitlines() if line.startswith("volume Dice of ")]
    starts = [line.partition(": ")[0] for line in lines]
    assert starts == [f"volume Dice of {name} of 6 patients" for name in ("WT", "ET", "TC")]
    assert lines[1].endswith("mean 0.000, median 0.000")
    # Another one of the network's own regions instead.
    status, out, _ = metseg(*command, "--target", "TC")
    table = pd.read_csv(tmp_path / "scores" / "per_patient.csv")
    assert status == 0 and (table.pred_voxels == 0).all() and "dice_WT" not in table


def test_evaluate_tells_the_same_name_from_the_same_scan(metseg, tmp_path, scans):
    """TEST_0001's scan was seen, as OTHER; of TEST_0002 another scan was."""
    first, *_ = find_cases(scans)
    slices = {
        "OTHER": joined_hashes(slice_hash(image) for image in load_case(first).image),
        "TEST_0002": "0badcafe",
    }
    folder = write_bright_model(tmp_path / "run" / "unet", seen=tuple(slices), seen_slices=slices)
    command = ["evaluate", "--model", folder, "--data-dir", scans, "--output", "scores"]
    for options, scored in (([], ["TEST_0003"]), (["--include-same-name"], ["TEST_0002", "TEST_0003"])):
        status, out, err = metseg(*command, *options)
        assert (status, err) == (0, "")
        assert pd.read_csv(tmp_path / "scores" / "per_patient.csv").patient_id.tolist() == scored
        assert "TEST_0001_20000101 (seen as OTHER)" in out and "other scans of patients of these names" in out


def test_evaluate_refuses(refused, model, tmp_path, scans):
    where = ["--data-dir", scans, "--output-dir", tmp_path / "runs"]
    assert "no network 'resnet'" in refused("evaluate", "--model", "resnet", *where)
    assert "absent is not a folder" in refused("evaluate", "--model", model, "--data-dir", "absent")
    (tmp_path / "empty").mkdir()
    assert "empty holds no scan" in refused("evaluate", "--model", model, "--data-dir", "empty")
    (tmp_path / "a_file").touch()
    assert "cannot write" in refused("evaluate", "--model", model, *where, "--output", "a_file/scores")
    (scans / "TEST_0002_20000101" / "TEST_0002_20000101_1_mask.tif").unlink()
    assert "TEST_0002_20000101_1.tif has no mask" in refused("evaluate", "--model", model, *where)


@pytest.mark.slow
def test_ablation(metseg, refused, trained, tmp_path):
    status, out, err = metseg("ablation", "first", trained, "--data-dir", "scans")
    assert (status, err) == (0, "") and out.endswith("Table and figure: ablation\n")
    table = pd.read_csv(tmp_path / "ablation" / "ablation.csv")
    assert table.run.tolist() == ["first", "first"] and table.difference.tolist()[1:] == [0]
    assert (tmp_path / "ablation" / "ablation.png").stat().st_size > 0
    assert "no finished training in second" in refused("ablation", "first", "second", "--data-dir", "scans")


@pytest.mark.slow
def test_export_then_release(metseg, refused, trained, tmp_path):
    assert "call: metseg export" in refused("release", "first", "--as", "own")
    (trained / "model.onnx").unlink()
    (trained / "model.json").unlink()
    status, out, err = metseg("export", "first", "--data-dir", "scans")
    assert (status, err) == (0, "")
    assert worked(out).startswith(
        "exported and scored: outputs/runs/first/nested_unet; probabilities in float32 differ"
    )
    description = json.loads((trained / "model.json").read_text())
    assert f"serves in {description['precision']}, validation Dice " in out
    assert " against float32, slice by slice " in out and "head" not in out
    assert description["validation_patients"] == 1 and 0 <= description["validation_dice"] <= 1

    status, out, err = metseg("release", trained, "--as", "own")
    assert (status, err) == (0, "")
    assert worked(out).startswith("released: outputs/released/own-nested_unet\nown-nested_unet, trained on")
    released = tmp_path / "outputs" / "released" / "own-nested_unet"
    served = {path.name: path.read_bytes() for path in trained.glob("model*.onnx")}
    assert served == {path.name: path.read_bytes() for path in released.glob("*.onnx")}
    assert (released / "README.md").read_text().startswith("# own · U-Net++\n")
    # of two networks both are released or none
    shutil.copytree(trained, trained.with_name("unet"))
    (trained.with_name("unet") / "evaluation" / "evaluation.json").unlink()
    (released / "README.md").write_text("the former one")
    assert "runs/first/unet was never scored" in refused("release", "first", "--as", "own")
    assert (released / "README.md").read_text() == "the former one"
    # nobody is asked here, so that one that is released stays unless told
    status, out, err = metseg("release", "first/nested_unet", "--as", "own")
    assert status == 2 and "--replace" in err and (released / "README.md").read_text() == "the former one"
    both = [line for line in worked(out).splitlines() if "trained on own scans; validation Dice 0." in line]
    assert len(both) == 2 and all(" held-out patients 0." in line for line in both)
    status, out, _ = metseg("release", "first/nested_unet", "--as", "own", "--replace")
    assert status == 0 and (released / "README.md").read_text() != "the former one"
    # who has trained nothing is served the released one
    shutil.rmtree(tmp_path / "outputs" / "runs")
    tifffile.imwrite(tmp_path / "slice.tif", grey(32, 32), photometric="rgb")
    status, out, _ = metseg("predict", "--model", "nested_unet", "--input", "slice.tif")
    assert status == 0 and "outputs/released/own-nested_unet" in out


@pytest.mark.slow
def test_a_network_that_holds_nobody_out_is_released_with_its_recipes_scores(
    metseg, refused, trained, tmp_path
):
    split = read_split(trained / "split.json")
    write_split(replace(split, train=split.train + split.test, test=()), trained / "split.json")
    status, out, err = metseg("export", "first", "--data-dir", "scans", "--precision", "fp32")
    assert (status, err) == (0, "")
    assert worked(out).startswith(
        "exported, and nobody is held out to score it: outputs/runs/first/nested_unet;"
    )
    assert "holds nobody out; name the cross-validation of its recipe" in refused(
        "release", "first", "--as", "own"
    )
    cv = tmp_path / "outputs" / "runs" / "cv"
    config = json.loads((trained / "config.json").read_text())
    served = {"sha256": "abc", "postprocessing": {"threshold": 0.5}, "tta_flip": False}
    for k, predictions in enumerate(({"A_1": WHOLE}, {"B_1": HALF})):
        fold = write_evaluated(cv / "nested_unet" / f"nested_unet-{k + 1}", "nested_unet", predictions)
        for name in ("model.json", "evaluation/evaluation.json"):
            write_json(fold / name, {**json.loads((fold / name).read_text()), **served})
        write_json(fold / "config.json", {**config, "fold": k, "folds": 2})
        write_split(replace(split, train="BA"[k], validation=(), test="AB"[k]), fold / "split.json")
    status, out, err = metseg("release", "first", "--as", "own", "--crossval", "cv")
    assert (status, err) == (0, "") and worked(out).startswith("released: outputs/released/own-nested_unet\n")
    released = tmp_path / "outputs" / "released" / "own-nested_unet"
    assert json.loads((released / "model.json").read_text())["out_of_fold"]["dice_mean"] == 0.75
    assert (
        "2 patients, each by the one of 2 networks of the same recipe" in (released / "README.md").read_text()
    )


def test_export_and_release_refuse(refused, trained, tmp_path):
    for command in (["export", "second", "--data-dir", "scans"], ["release", "second"]):
        assert "no finished training in second" in refused(*command)
    assert "absent is not a folder" in refused("export", "first", "--data-dir", "absent")
    export = ["export", "first", "--data-dir", "scans"]
    assert "prune=3; nested_unet has the heads [1, 2]" in refused(*export, "--prune", "L3")


@pytest.mark.parametrize("agreed", [True, False])
def test_a_release_asks_at_a_terminal_before_it_replaces(metseg, released_twice, monkeypatch, agreed):
    former, folder = released_twice
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda question: agreed)
    status, out, err = metseg("release", folder, "--as", "own")
    assert (status == 0) is agreed and "trained on the former scans; validation Dice 0.700" in out
    assert (read_json(former)["validation_dice"] == 0.9) is agreed


@pytest.fixture
def released_twice(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """The `model.json` of a released U-Net with a validation Dice of 0.7, and the folder of one with 0.9."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr("metseg.base.paths.project_root", lambda: tmp_path)
    known = {"data": {**DATA, "name": "the former scans"}, "kind": "own", "validation_dice": 0.7}
    former = write_bright_model(tmp_path / "outputs" / "released" / "own-unet", **known)
    folder = write_scored(tmp_path / "outputs" / "runs" / "new")
    return former / "model.json", folder


def test_runs_are_listed(metseg, tmp_path):
    folder = write_scored(tmp_path / "runs" / "good")
    write_json(folder.with_name("nested_unet") / "config.json", {"epochs": 12})
    (folder.with_name("nested_unet") / "history.csv").write_text("epoch,val_dice\n1,0.1\n2,0.25\n")
    broken = tmp_path / "runs" / "cv" / "unet" / "unet-1" / "unet"
    broken.mkdir(parents=True)
    (broken / "manifest.json").write_text("{")
    (tmp_path / "runs" / "benchmark-1").mkdir()
    status, out, err = metseg("runs", "--output-dir", "runs")
    assert (status, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert "manifest.json" in rows["cv/unet/unet-1/unet"] and "damaged" in rows["cv/unet/unet-1/unet"]
    assert "2 of 12" in rows["good/nested_unet"] and "unfinished" in rows["good/nested_unet"]
    for told in ("test scans", " 7 ", " 3 ", "0.900", "0.750", "2026-01-02"):
        assert told in rows["good/unet"]
    assert out.splitlines()[-1] == "without a training: benchmark-1"
    assert "no training in elsewhere yet" in metseg("runs", "--output-dir", "elsewhere")[1]
