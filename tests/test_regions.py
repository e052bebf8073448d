"""One network of several regions, from drawn volumes over training and export to masks and scores."""

import json
import shutil
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from tiny_runs import write_bright_model
from tiny_scans import tiny_config
from volume_set import write_volumes

from metseg import cli
from metseg.base.errors import MetsegError
from metseg.base.files import read_json
from metseg.data.cases import find_cases, load_case
from metseg.export.precision import export
from metseg.export.validation_dice import volume_dice
from metseg.inference.operating_points import MaskSettings
from metseg.inference.predictor import Predictor
from metseg.masks.regions import region_for
from metseg.metrics.compare import region_dice
from metseg.metrics.lesion_matching import match_lesions
from metseg.models.inspect import inference_model
from metseg.preprocessing.pipeline import network_input, restore, view_of
from metseg.training.run_folder import RunFolder
from metseg.trial import run_trial

REGIONS = ("TC", "ET", "WT")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    """A network of three regions, trained, exported and scored; scans lie beside it."""
    home = tmp_path_factory.mktemp("regions")
    scans = write_volumes(home / "scans", brighter=(2400, 900, 1500))
    config = tiny_config(
        scans,
        target="+".join(REGIONS),
        epochs=12,
        test_fraction=0.3,
        augment=False,
    )
    found = RunFolder(home / "unet")
    run_trial(config, found, cache_dir=home / "cache")
    return found


def scans_of(run):
    return run.path.parent / "scans"


@pytest.fixture
def predicted(monkeypatch, capsys):
    """A function that predicts with a map of the parts: (exit status, stdout, stderr)."""

    def run(model, scan, output) -> tuple[int, str, str]:
        command = ["predict", "--model", model, "--input", scan, "--output", output, "--also", "regions"]
        monkeypatch.setattr(sys, "argv", ["metseg", *map(str, command)])
        with pytest.raises(SystemExit) as leaving:
            cli.main()
        return leaving.value.code or 0, *capsys.readouterr()

    return run


def test_every_region_is_learned_and_scored(run):
    history = pd.read_csv(run.history)
    assert {"val_dice", "val_dice_ET", "val_dice_WT"} <= {*history.columns}
    table, _ = run.read_tables()
    found = region_dice(table)
    assert found.columns.tolist() == ["ET", "WT"] and len(found) == len(run.read_split().test)
    assert table.dice.mean() > 0.6 and found.mean().min() > 0.6
    assert (table.ref_voxels_ET < table.ref_voxels).all() and (table.ref_voxels < table.ref_voxels_WT).all()


def test_the_description_tells_the_regions(run):
    description = read_json(run.description)
    assert (description["target"], description["targets"]) == ("TC+ET+WT", [*REGIONS])
    assert description["data"]["lesion"] == "BraTS: TC (1, 3), with ET (3), WT (1, 2, 3)"
    assert Predictor(run.path).targets == REGIONS


def test_maps_are_those_of_the_trained_network(run):
    predictor = Predictor(run.path)
    volume = load_case(find_cases(scans_of(run))[0]).volume
    maps = predictor.prob_maps(volume, tta_flip=False)
    network = inference_model(run.load_network())
    small, view = network_input(volume, predictor.preprocessing), view_of(volume, predictor.preprocessing)
    heads = np.moveaxis(network.predict(small, verbose=0), -1, 0)
    for name, head in zip(REGIONS, heads, strict=True):
        expected = [restore(each, volume.grid[1:], view) for each in head]
        np.testing.assert_allclose(maps[name], np.clip(expected, 0, 1), atol=1e-4)
    np.testing.assert_array_equal(predictor.prob_map(volume, tta_flip=False), maps["TC"])
    masks = predictor.masks_of(maps)
    np.testing.assert_array_equal(masks["TC"], predictor.mask_of(maps["TC"]))
    assert (masks["ET"] <= masks["TC"]).all() and (masks["TC"] <= masks["WT"]).all()


def test_volumes_are_served_at_an_operating_point(run):
    """As settled on the validation scans; `predictor` marks what the point says."""
    predictor = Predictor(run.path)
    points, own = predictor.operating_points, predictor.postprocessing
    chosen = points.at(own.lesion_threshold)
    assert chosen in points.points and own.threshold <= own.lesion_threshold
    assert chosen == (points.within(1.0) or points.fewest()) and predictor.min_volume_share == 0
    validation = [
        case for case in find_cases(scans_of(run)) if case.patient_id in run.read_split().validation
    ]
    assert points.scans == len(validation)
    hit = false = 0
    for case in map(load_case, validation):
        table = match_lesions(case.mask, predictor.mask(case.volume))
        hit, false = hit + table.found.sum(), false + table.false_positive.sum()
    assert hit == chosen.found["all"] and false / len(validation) == chosen.false_positives_per_scan
    assert read_json(run.description)["lesion_calibration"]["least"] == own.threshold
    assert run.scored_as_served


def test_another_region_is_scored_as_that(run):
    """A network of TC first, asked for WT, is held against WT."""
    predictor = Predictor(run.path)
    cases = find_cases(scans_of(run), target="WT")[:2]
    case = load_case(cases[0])
    prob_map, mask = predictor.found_as(case.volume, "WT")
    maps = predictor.prob_maps(case.volume)
    np.testing.assert_array_equal(prob_map, maps["WT"])
    np.testing.assert_array_equal(mask, predictor.masks_of(maps)["WT"])
    assert region_for("lesion", predictor.targets) == "TC"
    assert volume_dice(predictor, cases).mean > 0.6


def test_another_precision_may_lose_no_lesion(run, tmp_path, monkeypatch):
    """Whatever the Dice says, in which small ones hardly weigh; what it finds is its own."""
    folder = RunFolder(shutil.copytree(run.path, tmp_path / "unet"))
    cases, points = find_cases(scans_of(run), target="+".join(REGIONS)), Predictor(run.path).operating_points
    monkeypatch.setattr("metseg.inference.engines.multiplies", lambda number_format: True)
    for name in ("DICE_TOLERANCE", "PATIENT_TOLERANCE"):
        monkeypatch.setattr(f"metseg.export.validation_dice.{name}", 1.0)

    def found(fewer: int):
        """One class loses what another gains."""
        first, second = list(points.lesions)[:2]
        change = {first: -fewer, second: fewer}
        rows = [
            each.model_copy(update={"found": {k: n + change.get(k, 0) for k, n in each.found.items()}})
            for each in points.points
        ]
        told = points.model_copy(update={"points": rows, "set_aside": 7})
        return lambda scans, setting: MaskSettings(postprocessing=setting, operating_points=told)

    monkeypatch.setattr("metseg.export.precision.measured", found(1))
    before = read_json(folder.description)
    with pytest.raises(MetsegError, match="finds by -1"):
        export(folder, cases, precision="bf16", is_to_serve=False)
    assert read_json(folder.description) == before
    monkeypatch.setattr("metseg.export.precision.measured", found(0))
    assert export(folder, cases, precision="bf16", is_to_serve=False).precision == "bf16"
    after = read_json(folder.description)
    assert after["operating_points"]["set_aside"] == 7 and after["postprocessing"] == before["postprocessing"]


def test_predict_writes_one_map_of_the_parts(run, tmp_path, predicted):
    name = "BraTS-MET-00001-000"
    scan, out = scans_of(run) / name, tmp_path / "out"
    status, told, _ = predicted(run.path, scan, out)
    assert status == 0 and all(part in told for part in ("1 is NETC", "2 is SNFH", "3 is ET"))
    labels = nib.load(out / f"{name}_regions.nii.gz")
    reference = nib.load(scan / f"{name}-seg.nii.gz")
    np.testing.assert_array_equal(labels.affine, reference.affine)
    numbers, mask = np.asarray(labels.dataobj), np.asarray(nib.load(out / f"{name}_mask.nii.gz").dataobj)
    assert numbers.dtype == np.uint8 and 3 in numbers and set(np.unique(numbers)) <= {0, 1, 2, 3}
    np.testing.assert_array_equal(np.isin(numbers, (1, 3)), mask > 0)  # the mask is that of TC
    assert np.mean(numbers == np.asarray(reference.dataobj)) > 0.9
    record = json.loads((out / f"{name}_regions.json").read_text())
    assert [*record["labels"]] == ["1", "2", "3"] and record["main_region"] == "TC"


def test_a_network_of_one_region_has_no_such_map(run, tmp_path, predicted):
    folder, scan = write_bright_model(tmp_path / "bright" / "unet"), scans_of(run) / "BraTS-MET-00001-000"
    status, _, told = predicted(folder, scan, tmp_path / "out")
    assert status == 2 and "finds lesion" in told and not (tmp_path / "out").exists()
