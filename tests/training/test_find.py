"""Finding runs and models by name."""

from pathlib import Path

import pytest

from metseg.base.errors import MetsegError
from metseg.base.files import write_json
from metseg.training.find import (
    find_model,
    is_released_name,
    model_folders,
    name_of,
    run_folder,
    run_names,
    trained_folders,
)


def exported(runs: Path, network: str, *, manifest: bool = True) -> Path:
    """A folder that looks like that of an exported network."""
    folder = runs / network
    folder.mkdir(parents=True)
    for name in ("model.json", "model.onnx"):
        (folder / name).write_text("{}")
    if manifest:
        write_json(folder / "manifest.json", {"finished": "2026-01-01T00:00:00+00:00"})
    return folder


FOLD = "cv/unet/unet-1/unet"


@pytest.fixture
def runs(tmp_path) -> Path:
    runs = tmp_path / "runs"
    for network in ("one/unet", "two/unet", "two/nested_unet"):
        exported(runs, network)
    (runs / "unfinished" / "unet").mkdir(parents=True)
    (runs / "unfinished" / "unet" / "config.json").write_text("{}")
    return runs


@pytest.fixture
def released(tmp_path) -> Path:
    return exported(tmp_path / "released", "unet", manifest=False).parent


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("one/unet", "one/unet"),
        ("one", "one/unet"),  # it has but one
        ("two/nested_unet", "two/nested_unet"),
        (FOLD, FOLD),
        ("cv/unet/unet-1", FOLD),
    ],
)
def test_a_runs_network_by_name(runs, released, name, found):
    exported(runs, FOLD)
    assert find_model(name, runs, released) == runs / found
    assert name_of(runs / found, runs, released) == found


def test_a_bare_name_is_the_released_one(runs, released, monkeypatch):
    assert find_model("unet", runs, released) == released / "unet"
    assert name_of(released / "unet", runs, released) == "unet"
    monkeypatch.chdir(runs / "two")  # which holds a folder of that name
    assert find_model("unet", runs, released) == released / "unet"
    assert find_model("./unet", runs, released).resolve() == runs / "two" / "unet"
    assert name_of(Path("unet"), runs / "elsewhere", released) == "./unet"


def test_a_released_network_by_its_own_name(runs, released):
    folder = exported(released, "lgg-unet", manifest=False)
    assert find_model("lgg-unet", runs, released) == folder
    assert name_of(folder, runs, released) == "lgg-unet"
    exported(runs, "mets-unet/unet")  # of a run; no released one is called so
    assert find_model("mets-unet", runs, released) == runs / "mets-unet" / "unet"
    with pytest.raises(MetsegError, match="no network 'own-unet'; a released one is called KIND-NETWORK"):
        find_model("own-unet", runs, released)


def test_what_a_released_network_may_be_called():
    assert all(map(is_released_name, ("unet", "lgg-unet", "mets-attention_unet")))
    assert not any(map(is_released_name, ("first", "first/unet", "./lgg-unet", "unet-1", "lgg")))


def test_by_folder_and_by_a_file_in_it(runs, released):
    folder = runs / "two" / "unet"
    for name in (folder, f"{folder}/", folder / "model.onnx", folder / "model.json"):
        assert find_model(str(name), runs / "elsewhere", released) == folder


def test_one_that_is_not_released_lists_the_runs_networks(runs, released):
    with pytest.raises(MetsegError, match="no released nested_unet .*: one/unet, two/nested_unet, two/unet"):
        find_model("nested_unet", runs, released)
    with pytest.raises(MetsegError, match="no released unet .*none yet"):
        find_model("unet", runs / "nothing", runs)


def test_of_several_none_is_guessed(runs, released):
    with pytest.raises(MetsegError, match="two holds several networks; name one: two/nested_unet, two/unet$"):
        find_model("two", runs, released)
    exported(runs, FOLD)
    for name in ("cv", "cv/unet"):
        with pytest.raises(MetsegError, match=f"^{name} is a cross-validation or a sweep; .* {FOLD}$"):
            find_model(name, runs, released)


def test_a_network_without_an_export(runs, released):
    (runs / "one" / "unet" / "model.json").unlink()
    with pytest.raises(MetsegError, match="one/unet was never exported; call: metseg export one/unet"):
        find_model("one", runs, released)
    with pytest.raises(MetsegError, match="unfinished/unet is unfinished"):
        find_model("unfinished/unet", runs, released)


def test_an_unknown_name_lists_the_valid_ones(runs, released, tmp_path):
    for name in ("vnet", str(tmp_path / "nothing" / "here"), "one/vnet"):
        with pytest.raises(MetsegError, match="nested_unet, attention_unet or unet; .* one/unet, "):
            find_model(name, runs, released)


def test_run_names(runs):
    exported(runs, FOLD)
    assert run_names(runs) == ["cv", "one", "two"]  # each once, the unfinished not
    assert run_names(runs / "nothing") == []


def test_model_folders_are_those_that_were_evaluated(runs):
    for model in ("unet", "nested_unet"):
        evaluation = runs / "two" / model / "evaluation"
        evaluation.mkdir()
        (evaluation / "per_patient.csv").write_text("")
    (runs / "two" / "unet" / "evaluation" / "evaluation.json").write_text("{}")
    assert model_folders(runs / "two") == {"unet": runs / "two" / "unet"}
    assert model_folders(runs / "two" / "unet") == {"unet": runs / "two" / "unet"}
    with pytest.raises(MetsegError, match="no evaluated model"):
        model_folders(runs / "one")
    exported(runs, FOLD)
    (runs / "cv" / "comparison").mkdir()
    with pytest.raises(MetsegError, match="cv is a cross-validation: .* are in .*cv/comparison; name a run"):
        model_folders(runs / "cv")
    with pytest.raises(MetsegError, match="no run .*; finished runs here: cv, one, two"):
        model_folders(runs / "c")
    with pytest.raises(MetsegError, match="none"):
        model_folders(runs / "nothing" / "c")


def test_trained_folders(runs, monkeypatch):
    both = [runs / "two" / name for name in ("nested_unet", "unet")]
    assert trained_folders("two", runs) == both
    assert trained_folders(str(runs / "two"), runs / "elsewhere") == both
    assert trained_folders(str(both[0]), runs) == both[:1]
    monkeypatch.chdir(runs)
    assert [path.resolve() for path in trained_folders("two/unet", Path("elsewhere"))] == both[1:]


def test_a_run_is_found_by_its_folder_too(runs, tmp_path):
    assert run_folder("two", runs) == run_folder(str(runs / "two"), tmp_path) == runs / "two"
    exported(tmp_path, "unet", manifest=False)  # without its training, as a released one is
    assert run_folder(str(tmp_path / "unet"), runs) == tmp_path / "unet"


@pytest.mark.parametrize("name", ["unfinished", "absent"])
def test_nothing_trained(runs, name):
    with pytest.raises(MetsegError, match=f"no finished training in {name}; .* one/unet, two/"):
        trained_folders(name, runs)


@pytest.mark.parametrize("name", ["cv", "cv/unet"])
def test_a_cross_validation_is_no_training(tmp_path, name):
    folder = tmp_path / "cv" / "unet" / "unet-1" / "unet"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(MetsegError, match=f"^{name} is a cross-validation or .*: .*cv/unet/unet-1/unet$"):
        trained_folders(name, tmp_path)


@pytest.mark.parametrize("named", [trained_folders, run_folder])
def test_a_released_network_was_not_trained_here(runs, named, monkeypatch):
    monkeypatch.chdir(runs / "two")
    with pytest.raises(MetsegError, match="nested_unet alone is the released network, .*: one/unet, two/"):
        named("nested_unet", runs)
