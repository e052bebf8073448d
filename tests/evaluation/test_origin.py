"""What a network says it comes from, and that one of the phantom refuses other scans."""

from dataclasses import asdict

import pytest
from tiny_runs import write_bright_model

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, shown, write_json
from metseg.data.provenance import LGG, PHANTOM
from metseg.evaluation.origin import (
    but_of_the_phantom,
    knows_only_the_phantom,
    network_for,
    network_line,
    refuse_scans_unlike_the_phantom,
)


def test_the_line_of_a_released_network(tmp_path):
    folder = write_bright_model(tmp_path / "unet", data=asdict(LGG), seen=("A", "B", "C"))
    line = network_line(folder, "unet")
    assert line == (
        f"network: unet, released ({shown(folder)}), trained on {LGG.name}, 3 patients seen. {LGG.caution}"
    )


def test_the_line_of_a_training_that_was_not_exported(tmp_path):
    write_json(tmp_path / "manifest.json", {"data": asdict(PHANTOM)})
    line = network_line(tmp_path, "run/unet")
    assert line.startswith(f"network: run/unet ({shown(tmp_path)}), trained on metseg phantom. Synthetic")
    assert network_line(tmp_path, shown(tmp_path)).count(str(tmp_path)) == 1
    write_json(tmp_path / "manifest.json", {})
    with pytest.raises(MetsegError, match="manifest.json is damaged"):
        network_line(tmp_path, "run/unet")


@pytest.mark.parametrize("scans", [["PHANTOM_0001_20000101_1", "TCGA_CS_1_1_1"], ["mine"], None])
def test_a_network_of_the_phantom_refuses_what_is_not_of_it(tmp_path, scans):
    description = read_json(write_bright_model(tmp_path, data=asdict(PHANTOM)) / "model.json")
    assert knows_only_the_phantom(description)
    with pytest.raises(MetsegError, match="^run/unet knows nothing but the phantom.* --phantom-network"):
        refuse_scans_unlike_the_phantom(description, "run/unet", scans)
    refuse_scans_unlike_the_phantom(description, "run/unet", ["PHANTOM_0001_20000101_1"])


def test_any_other_network_takes_all_scans(tmp_path):
    for data in (asdict(LGG), {"name": "own scans"}):
        refuse_scans_unlike_the_phantom({"data": data}, "unet", ["PHANTOM_0001_20000101"])
        refuse_scans_unlike_the_phantom({"data": data}, "unet")


def test_networks_of_the_phantom_are_left_out_unless_there_are_no_others():
    phantom, lgg = {"data": asdict(PHANTOM)}, {"data": asdict(LGG)}
    assert but_of_the_phantom({"a": phantom, "b": lgg}) == ["b"]
    assert but_of_the_phantom({"a": phantom}) == ["a"]


def test_a_notebook_takes_the_runs_network_unless_it_knows_the_phantom_alone(tmp_path):
    run, released = tmp_path / "run", tmp_path / "released"
    assert network_for(run, released, ["mine"]) == released
    write_bright_model(run / "unet", data=asdict(PHANTOM), validation_dice=0.9)
    write_bright_model(run / "nested_unet", data=asdict(PHANTOM), validation_dice=0.8)
    of_phantom = ["PHANTOM-MET-00001-000"]
    assert network_for(run, released, of_phantom) == run / "unet"
    assert network_for(run, released, of_phantom, "nested_unet") == run / "nested_unet"
    assert network_for(run, released, ["mine"]) == released
    write_bright_model(run / "attention_unet", validation_dice=0.1)
    assert network_for(run, released, ["mine"]) == run / "attention_unet"
    with pytest.raises(MetsegError, match="resnet"):
        network_for(run, released, of_phantom, "resnet")
