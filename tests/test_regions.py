"""One network of several regions, from drawn volumes over training and export to masks and scores."""

import json
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from tiny_scans import tiny_config
from volume_set import write_volumes

from metseg import cli
from metseg.base.errors import MetsegError
from metseg.base.files import read_json
from metseg.data.cases import find_cases, load_case
from metseg.inference.predictor import Predictor
from metseg.metrics.compare import region_dice
from metseg.models.inspect import inference_model
from metseg.preprocessing.pipeline import network_input
from metseg.training.run_folder import RunFolder
from metseg.trial import run_trial

REGIONS = ("TC", "ET", "WT")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    """A deeply supervised network of three regions, trained, exported and scored; scans lie beside it."""
    home = tmp_path_factory.mktemp("regions")
    scans = write_volumes(home / "scans", brighter=(2400, 900, 1500))
    config = tiny_config(
        scans,
        target="+".join(REGIONS),
        model="nested_unet",
        filters=(4, 8, 16),
        deep_supervision=True,
        epochs=20,
        test_fraction=0.3,
        augment=False,
    )
    found = RunFolder(home / "nested_unet")
    run_trial(config, found, cache_dir=home / "cache")
    return found


def scans_of(run):
    return run.path.parent / "scans"


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
    expected = network.predict(network_input(volume, predictor.preprocessing), verbose=0)
    for k, name in enumerate(REGIONS):
        np.testing.assert_allclose(maps[name], expected[..., k], atol=1e-4)
    np.testing.assert_array_equal(predictor.prob_map(volume, tta_flip=False), maps["TC"])
    masks = predictor.masks_of(maps)
    np.testing.assert_array_equal(masks["TC"], predictor.mask_of(maps["TC"]))
    assert (masks["ET"] <= masks["TC"]).all() and (masks["TC"] <= masks["WT"]).all()


def test_predict_writes_one_map_of_the_parts(run, tmp_path, monkeypatch, capsys):
    name = "BraTS-MET-00001-000"
    scan, out = scans_of(run) / name, tmp_path / "out"
    command = ["predict", "--model", run.path, "--input", scan, "--output", out, "--also", "regions"]
    monkeypatch.setattr(sys, "argv", ["metseg", *map(str, command)])
    cli.main()
    told = capsys.readouterr().out
    assert all(part in told for part in ("1 is NETC", "2 is SNFH", "3 is ET"))
    labels = nib.load(out / f"{name}_regions.nii.gz")
    reference = nib.load(scan / f"{name}-seg.nii.gz")
    np.testing.assert_array_equal(labels.affine, reference.affine)
    numbers, mask = np.asarray(labels.dataobj), np.asarray(nib.load(out / f"{name}_mask.nii.gz").dataobj)
    assert numbers.dtype == np.uint8 and set(np.unique(numbers)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(np.isin(numbers, (1, 3)), mask > 0)  # the mask is that of TC
    assert np.mean(numbers == np.asarray(reference.dataobj)) > 0.9
    record = json.loads((out / f"{name}_regions.json").read_text())
    assert [*record["labels"]] == ["1", "2", "3"] and record["main_region"] == "TC"


def test_a_network_of_one_region_has_no_such_map(run, tmp_path):
    from metseg.masks.regions import complain_of_other_regions

    with pytest.raises(MetsegError, match="ET, TC, WT.*finds lesion"):
        complain_of_other_regions(("lesion",))
