"""The command line: options, exit statuses, and one readable line for a mistake."""

import importlib.metadata
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import nbformat
import numpy as np
import pandas as pd
import pytest
import tifffile
from tiny_runs import DATA, HALF, MISSED, WHOLE, write_bright_model, write_evaluated, write_scored
from tiny_scans import finished_training, write_scans

from metseg import cli
from metseg.base.files import read_json, write_json
from metseg.data.cases import find_cases, load_case
from metseg.data.content import slice_hash
from metseg.data.provenance import PHANTOM
from metseg.data.split import Split, read_split, write_split
from metseg.evaluation.report import read_comparison, write_comparison
from metseg.inference.predictor import Predictor
from metseg.serve.upload import read_upload
from metseg.training.seen import joined_hashes

PATIENTS = {f"P_{k}_20000101": mask for k, mask in enumerate((WHOLE, HALF, MISSED), start=1)}


@pytest.fixture
def metseg(monkeypatch, capsys, caplog, tmp_path):
    """A function that runs a command in this process: (exit status, stdout, stderr).

    An exception that reaches a user as a traceback reaches the test as well; what a library logs, and would
    reach a user on stderr, fails the test.
    """
    monkeypatch.chdir(tmp_path)

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["metseg", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as leaving:
            status = leaving.code or 0
        assert caplog.records == []
        out, err = capsys.readouterr()
        return status, out, err

    return run


def worked(out: str) -> str:
    """What a command printed after it had said how it read the scans and which networks it took."""
    lines = out.splitlines(keepends=True)
    return "".join(itertools.dropwhile(lambda line: re.match(r"network: |\d+ files?: ", line), lines))


@pytest.fixture
def refused(metseg, tmp_path):
    """A function that runs a command that must fail in one line and write nothing; returns the line.

    Which network it took, it may have said by then.
    """

    def run(*arguments) -> str:
        before = sorted(tmp_path.rglob("*"))
        status, out, err = metseg(*arguments)
        assert (status, worked(out)) == (2, "")
        assert err.startswith("metseg: ") and err.count("\n") == 1 and err.endswith("\n"), err
        assert sorted(tmp_path.rglob("*")) == before
        return err.removeprefix("metseg: ").strip()

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Folder of a model that marks bright pixels."""
    return write_bright_model(tmp_path_factory.mktemp("run") / "unet")


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A workbook of three notebooks that is never executed."""
    training = 'data_dir = ""\nepochs = 12\nimage_size = 128\nfilters = [8, 16]'
    notebooks = {
        "01_explore_data": 'data_dir = "../data/phantom"\ngallery = 4',
        "03_train_nested_unet": f'model = "nested_unet"\n{training}',
        "04b_train_unet": f'model = "unet"\n{training}',
    }
    folder = tmp_path / "checkout" / "notebooks"
    (folder / "params").mkdir(parents=True)
    for stem, parameters in notebooks.items():
        text = f'run_name = "workbook"\noutput_dir = "../outputs/runs"\n{parameters}'
        cell = nbformat.v4.new_code_cell(text, metadata={"tags": ["parameters"]})
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / f"{stem}.ipynb")
    (folder / "params" / "cpu.yml").write_text("epochs: 30\ngallery: 6\n")
    monkeypatch.setattr("metseg.base.paths.project_root", lambda: folder.parent)
    return folder.parent


@pytest.fixture
def asked(monkeypatch) -> list:
    """What `run_notebooks` was asked for: (stems, values, run folder); a comparison lies there at once."""
    calls = []

    def record(notebooks, values, *, run_folder, on_event):
        calls.append(([path.stem for path in notebooks], dict(values), run_folder))
        if not (run_folder / "unet").exists():
            write_evaluated(run_folder, "unet", PATIENTS)
            write_comparison(read_comparison([run_folder]), run_folder / "comparison")

    monkeypatch.setattr("metseg.workbook.run.run_notebooks", record)
    return calls


def grey(*shape: int, value: int = 0) -> np.ndarray:
    return np.full((*shape, 3), value, np.uint8)


def half_bright(height: int = 37, width: int = 53) -> np.ndarray:
    """Black on the left, white from column 24 on."""
    image = grey(height, width)
    image[:, 24:] = 255
    return image


# ---- as a program ----


def test_as_a_program(tmp_path):
    """The status that a shell sees, and no traceback, for a mistake, a usage error and a success."""
    program = Path(sys.executable).with_name("metseg")

    def run(*arguments):
        done = subprocess.run([program, *arguments], capture_output=True, text=True, cwd=tmp_path)
        return done.returncode, done.stdout, done.stderr

    status, out, err = run("check-data", "absent")
    assert (status, out) == (2, "")
    assert err == "metseg: absent is not a folder; give the one that holds the scans\n"
    status, out, err = run("train", "--modle", "unet")
    assert status == 2 and "No such option" in err and "Traceback" not in err
    status, out, err = run("phantom", "small", "--patients", "1")
    assert (status, out, err) == (0, "1 synthetic patients: small\n", "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-8:strict"])
def test_a_terminal_that_lacks_a_character_stops_no_command(tmp_path, encoding):
    write_evaluated(tmp_path / "first", "unet", PATIENTS)
    (tmp_path / "first").rename(tmp_path / "first → 2")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-c", "from metseg.cli import main\nmain()", "compare", "first → 2"]
    done = subprocess.run(command, capture_output=True, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(encoding.partition(":")[0])
    plain = encoding != "utf-8:strict"
    assert ("0.500 (0.000-1.000)" if plain else "0.500 (0.000–1.000)") in text
    assert ("first -> 2/comparison" if plain else "first → 2/comparison") in text


@pytest.fixture
def installed(tmp_path) -> dict[str, str]:
    """The environment of a metseg that is installed without a checkout."""
    shutil.copytree(Path(cli.__file__).parents[1], tmp_path / "site" / "metseg")
    return {**os.environ, "PYTHONPATH": str(tmp_path / "site")}


def test_without_a_checkout_a_models_folder_is_enough(tmp_path, installed, model):
    def run(*arguments):
        command = [sys.executable, "-c", "from metseg.cli import main\nmain()", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=work, env=installed)
        return done.returncode, done.stdout, done.stderr

    work = tmp_path / "elsewhere"
    work.mkdir()
    tifffile.imwrite(work / "scan.tif", half_bright(), photometric="rgb")
    status, out, err = run("predict", "--model", model, "--input", "scan.tif", "--output", "masks")
    assert (status, err) == (0, "") and (work / "masks" / "scan_mask.tif").is_file()
    write_evaluated(tmp_path / "first", "unet", PATIENTS)
    status, out, err = run("compare", tmp_path / "first")
    assert (status, err) == (0, "") and "0.500" in out
    for command in (["train", "--model", "unet"], ["run"]):
        status, out, err = run(*command)
        assert (status, out) == (2, "")
        assert err.startswith(f"metseg: no notebooks/ folder in {work}; ") and err.count("\n") == 1


def test_help_lists_all_commands(metseg):
    status, out, err = metseg("--help")
    assert (status, err) == (0, "")
    commands = [
        "run",
        "train",
        "compare",
        "predict",
        "check-data",
        "phantom",
        "evaluate",
        "export",
        "release",
    ]
    places = [out.index(f" {command} ") for command in commands]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("run", "--profile --data-dir --run-name --set --output-dir"),
        ("train", "--model --epochs --data-dir --image-size --profile --run-name --set --output-dir"),
        ("predict", "--model --input --output --output-dir"),
        ("evaluate", "--model --data-dir --output --output-dir"),
        ("compare", "RUN... --output --output-dir"),
        ("crossval", "--model --folds --data-dir --profile --run-name --set --output-dir"),
        ("ablation", "BASELINE --data-dir --output --output-dir"),
        ("export", "RUN --data-dir --precision --prune --output-dir"),
        ("release", "RUN --crossval --output-dir"),
        ("check-data", "DIR"),
        ("phantom", "DIR --patients --seed"),
    ],
)
def test_options(metseg, monkeypatch, command, options):
    monkeypatch.setenv("COLUMNS", "200")
    status, out, _ = metseg(command, "--help")
    assert status == 0
    assert [option for option in options.split() if option not in out] == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["teach"],
        ["train"],
        ["train", "--model", "unet", "--epochs", "0"],
        ["train", "--model", "unet", "--epochs", "many"],
        ["predict", "--model", "unet"],
        ["evaluate", "--model", "unet"],
        ["compare"],
        ["crossval"],
        ["crossval", "--model", "unet", "--folds", "1"],
        ["ablation", "a"],
        ["export"],
        ["export", "first"],
        ["release"],
        ["check-data"],
        ["phantom", "x", "--patients", "0"],
        ["phantom", "x", "--seed", "-1"],
        ["run", "extra"],
    ],
    ids=" ".join,
)
def test_usage_errors(metseg, tmp_path, arguments):
    status, _, _ = metseg(*arguments)
    assert status == 2
    assert list(tmp_path.iterdir()) == []


def test_interrupted(metseg, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("metseg.data.phantom.draw.write_phantom", interrupt)
    status, _, err = metseg("phantom", "x")
    assert (status, err) == (130, "metseg: interrupted\n")
    monkeypatch.setattr("metseg.workbook.run.run_notebooks", interrupt)
    status, _, err = metseg("train", "--model", "unet", "--output-dir", "runs")
    assert status == 130
    assert err == "metseg: interrupted; the same command with --run-name goes on with a training\n"


# ---- run and train ----


def test_run_asks_for_all_notebooks(metseg, asked, checkout, tmp_path):
    status, out, err = metseg("run", "--output-dir", tmp_path / "runs", "--run-name", "first")
    assert (status, err) == (0, "")
    assert asked == [
        (["01_explore_data", "03_train_nested_unet", "04b_train_unet"], {}, tmp_path / "runs" / "first")
    ]
    assert "U-Net" in out and "0.500" in out  # the mean of 1, 0.5 and 0
    assert "Test scans: nothing follows from them." in out
    assert "runs/first/comparison" in out and "runs/first/notebooks" in out


def test_run_names_itself(metseg, asked, checkout, tmp_path):
    assert metseg("run", "--profile", "cpu")[0] == 0
    ((_, values, folder),) = asked
    assert values == {"epochs": 30, "gallery": 6}
    assert folder.parent == checkout / "outputs" / "runs"
    assert folder.name.startswith("cpu-2")


def test_what_is_typed_beats_the_profile(metseg, asked, checkout, tmp_path):
    write_scans(tmp_path / "scans", patients=1)
    where = ["--output-dir", "runs", "--run-name", "a"]
    metseg("run", "--profile", "cpu", "--data-dir", "scans", "--set", "epochs=3", *where)
    assert asked[-1][1] == {"epochs": 3, "gallery": 6, "data_dir": str(tmp_path / "scans")}

    # a profile's words for other notebooks are no concern of a single training
    train = ["train", "--model", "unet", "--profile", "cpu", *where]
    status, out, _ = metseg(*train, "--epochs", "2", "--image-size", "64", "--set", "filters=[4, 8]")
    assert status == 0
    stems, values, folder = asked[-1]
    assert (stems, folder) == (["04b_train_unet"], tmp_path / "runs" / "a")
    assert values == {"epochs": 2, "image_size": 64, "filters": [4, 8]}
    assert "runs/a/unet" in out and "04b_train_unet.html" in out

    metseg(*train, "--epochs", "2", "--set", "epochs=1")
    assert asked[-1][1] == {"epochs": 1}
    metseg(*train)
    assert asked[-1][1] == {"epochs": 30}


def test_what_is_saved_in_a_cell_is_named_and_counts_for_nothing(metseg, asked, checkout):
    (checkout / "notebooks" / "params" / "quick.yml").write_text("epochs: 20\nfilters: [8, 16]\n")
    status, _, err = metseg("train", "--model", "unet", "--run-name", "a")
    assert status == 0 and asked[-1][1] == {}  # the recipe is put beneath by `run_notebooks`
    assert err.count("\n") == 1 and "04b_train_unet.ipynb has epochs = 12" in err and "from 20" in err


def test_training_names_itself_after_its_network(metseg, asked, checkout):
    metseg("train", "--model", "nested_unet")
    assert asked[0][2].name.startswith("nested_unet-2")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--profile", "huge"], ["no profile 'huge'", "cpu", "quick"]),
        (["run", "--set", "epoch=3"], ["no parameter 'epoch'", "did you mean epochs?", "gallery", "filters"]),
        (["run", "--set", "epochs"], ["'epochs' is not NAME=VALUE", "epochs=3"]),
        (["run", "--set", "epochs=many"], ["epochs is 'many'", "whole number", "12"]),
        (["run", "--set", "model=unet"], ["model is no parameter to set", "--model of metseg train"]),
        (["run", "--set", "run_name=x"], ["run_name is no parameter to set", "--run-name"]),
        (["run", "--set", "output_dir=x"], ["output_dir is no parameter to set", "--output-dir"]),
        (["run", "--set", "test_fraction=0"], ["test_fraction=0 holds nobody out", "metseg train"]),
        (["run", "--data-dir", "absent"], ["absent is not a folder"]),
        (["run", "--data-dir", "a_file"], ["a_file is not a folder"]),
        (["train", "--model", "resnet"], ["no notebook trains 'resnet'", "nested_unet", "unet"]),
        (["train", "--model", "unet", "--set", "gallery=3"], ["no parameter 'gallery'", "epochs"]),
        (["train", "--model", "unet", "--data-dir", "absent"], ["absent is not a folder"]),
        (["train", "--model", "unet", "--profile", "huge"], ["no profile 'huge'", "cpu"]),
    ],
    ids=lambda value: " ".join(value) if value[0] in ("run", "train") else "",
)
def test_run_and_train_refuse(refused, checkout, tmp_path, arguments, words):
    (tmp_path / "a_file").touch()
    line = refused(*arguments, "--output-dir", tmp_path / "runs")
    assert [word for word in words if word not in line] == []


@pytest.mark.parametrize("name", ["a/b", "../up", "..", ".", ".hidden", "/absolute", "a/"])
@pytest.mark.parametrize("command", [["run"], ["train", "--model", "unet"]], ids=["run", "train"])
def test_run_name_is_one_folder(refused, checkout, command, name):
    line = refused(*command, "--run-name", name)
    assert line == f"run name {name!r} is no folder name; use letters, digits, - and _"


def test_output_dir_below_a_file(refused, checkout, tmp_path):
    (tmp_path / "a_file").touch()
    assert "cannot write to" in refused("run", "--output-dir", "a_file/runs", "--run-name", "a")


def test_this_checkouts_own_parameters(refused, tmp_path):
    where = ["--output-dir", tmp_path / "runs"]
    line = refused("train", "--model", "attention_unet", "--set", "depth=4", *where)
    assert "no parameter 'depth'" in line and "learning_rate" in line
    assert "attention_unet, nested_unet, unet" in refused("train", "--model", "res_unet", *where)


# ---- predict ----


def written(folder: Path) -> dict[str, np.ndarray]:
    """All files below a folder, which must be masks."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        mask = tifffile.imread(path)
        assert mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 255}
        found[path.relative_to(folder).as_posix()] = mask
    return found


def test_predict_one_file(metseg, model, tmp_path):
    tifffile.imwrite(tmp_path / "scan.tif", half_bright(), photometric="rgb")
    status, out, err = metseg("predict", "--model", model, "--input", "scan.tif", "--output", "masks")
    assert (status, err) == (0, "") and "1 masks by" in out
    told, read, done, _ = out.splitlines()  # before it works, and when it has
    assert read == "1 file: 1 single slice"
    assert told == f"network: {model}, trained on test scans. Test scans: nothing follows from them."
    assert done.startswith(f"1 masks by {model}: ")
    ((name, mask),) = written(tmp_path / "masks").items()
    assert name == "scan_mask.tif" and mask.shape == (37, 53)
    # the network sees 32 px for 53, so the edge at column 24 is sharp to two pixels
    assert (mask[:, :22] == 0).all() and (mask[:, 26:] == 255).all()


def test_a_path_that_the_system_refuses_is_one_sentence(refused, model):
    name = "a" * 300
    assert refused("predict", "--model", model, "--input", name, "--output", "out") == (
        f"cannot use {name} (File name too long); give another path"
    )


def test_predict_a_tree(metseg, model, tmp_path):
    source = tmp_path / "in"
    (source / "a" / "deep").mkdir(parents=True)
    tifffile.imwrite(source / "white.tif", grey(37, 53, value=255), photometric="rgb")
    tifffile.imwrite(source / "white_mask.tif", grey(37, 53)[..., 0])
    cv2.imwrite(str(source / "a" / "x.png"), half_bright(40, 48)[..., ::-1])
    cv2.imwrite(str(source / "a" / "deep" / "y.jpg"), grey(20, 64, value=255))
    cv2.imwrite(str(source / "a" / "deep" / "black.jpeg"), grey(33, 31))
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}

    status, out, err = metseg("predict", "--model", model, "--input", source, "--output", tmp_path / "out")
    assert (status, err) == (0, "") and "4 masks by" in out
    masks = written(tmp_path / "out")
    assert {name: mask.shape for name, mask in masks.items()} == {
        "a/deep/black_mask.tif": (33, 31),
        "a/deep/y_mask.tif": (20, 64),
        "a/x_mask.tif": (40, 48),
        "white_mask.tif": (37, 53),
    }
    assert (masks["white_mask.tif"] == 255).all() and (masks["a/deep/y_mask.tif"] == 255).all()
    assert (masks["a/deep/black_mask.tif"] == 0).all()
    assert (masks["a/x_mask.tif"][:, :22] == 0).all() and (masks["a/x_mask.tif"][:, 26:] == 255).all()
    assert before == {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}


def test_predict_reads_colours_in_one_order(metseg, tmp_path):
    """A model that sees the first channel alone tells red from blue, in a PNG as in a TIFF."""
    folder = write_bright_model(tmp_path / "red" / "unet", channels=(1, 0, 0))
    red = grey(32, 32)
    red[..., 0] = 255
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "t.tif", red, photometric="rgb")
    cv2.imwrite(str(tmp_path / "in" / "p.png"), red[..., ::-1])
    assert metseg("predict", "--model", folder, "--input", "in", "--output", "out")[0] == 0
    assert all((mask == 255).all() for mask in written(tmp_path / "out").values())


def test_predict_one_damaged_file_of_three(metseg, model, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.tif", "c.tif"):
        tifffile.imwrite(source / name, half_bright(), photometric="rgb")
    whole = (source / "a.tif").read_bytes()
    (source / "b.tif").write_bytes(whole[: len(whole) // 2])
    status, out, err = metseg("predict", "--model", model, "--input", source, "--output", "out")
    assert status == 2
    assert set(written(tmp_path / "out")) == {"a_mask.tif", "c_mask.tif"}
    assert "2 masks by" in out
    assert err.startswith("metseg: ") and err.count("\n") == 1
    assert "b.tif" in err and "a.tif" not in err


def test_predict_names_every_bad_file(metseg, model, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no image")
    tifffile.imwrite(tmp_path / "in" / "b.tif", np.zeros((9, 9, 2), np.uint8), photometric="minisblack")
    status, _, err = metseg("predict", "--model", model, "--input", "in", "--output", "out")
    lines = err.splitlines()
    assert status == 2 and len(lines) == 2
    assert all(line.startswith("metseg: in/") for line in lines)
    assert "a.png is no image" in lines[0] and "b.tif has " in lines[1]


def test_predict_takes_what_dashboard_and_service_take_and_says_what_it_made_of_it(metseg, model, tmp_path):
    source, slice_ = tmp_path / "in", half_bright()
    source.mkdir()
    cv2.imwrite(str(source / "photo.jpg"), slice_)
    cv2.imwrite(str(source / "grey.png"), slice_[..., 1])
    cv2.imwrite(str(source / "alpha.png"), np.dstack([slice_, slice_[..., :1]]))
    tifffile.imwrite(source / "deep.tif", slice_[..., 1].astype(np.uint16) * 9)
    tifffile.imwrite(source / "deep2.tif", slice_[..., 1].astype(np.uint16) * 7)
    status, out, err = metseg("predict", "--model", model, "--input", source, "--output", tmp_path / "out")
    assert (status, err) == (0, "")
    masks = written(tmp_path / "out")
    for path in source.iterdir():
        upload = read_upload(path.read_bytes())
        assert np.array_equal(masks[f"{path.stem}_mask.tif"] > 0, Predictor(model).mask(upload.volume)[0])
    notes = [line for line in out.splitlines() if line.startswith("note: ")]
    assert any("alpha.png: " in note and "transparency" in note for note in notes)
    (rescaled,) = [note for note in notes if "rescaled" in note]
    assert "deep.tif and 1 more: " in rescaled
    assert sum("grey (one channel) and was taken as FLAIR" in note for note in notes) == 1


@pytest.fixture
def two_networks(tmp_path, monkeypatch) -> Path:
    """A checkout: to the U-Net of its run `mine` white is no lesion, to the released one it is."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr("metseg.base.paths.project_root", lambda: tmp_path)
    mine = write_bright_model(tmp_path / "outputs" / "runs" / "mine" / "unet", channels=(-1, 0, 0))
    write_json(mine / "manifest.json", {"data": DATA})
    write_bright_model(tmp_path / "outputs" / "released" / "unet", seen=("A", "B"))
    tifffile.imwrite(tmp_path / "a.tif", grey(32, 32, value=255), photometric="rgb")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "told", "white"),
    [
        ("unet", "unet, released (outputs/released/unet), trained on test scans, 2 patients seen", 255),
        ("outputs/released/unet", "unet, released (outputs/released/unet)", 255),
        ("mine/unet", "mine/unet (outputs/runs/mine/unet), trained on test scans", 0),
        ("mine", "mine/unet (outputs/runs/mine/unet)", 0),
        ("outputs/runs/mine/unet/model.onnx", "mine/unet (outputs/runs/mine/unet)", 0),
    ],
)
def test_a_bare_name_is_the_released_network(metseg, two_networks, name, told, white):
    status, out, _ = metseg("predict", "--model", name, "--input", "a.tif")
    assert status == 0 and out.startswith(f"network: {told}")
    assert (written(two_networks / "predictions")["a_mask.tif"] == white).all()


def test_a_released_name_that_is_not_there_lists_the_runs(refused, two_networks):
    line = refused("predict", "--model", "nested_unet", "--input", "a.tif")
    assert "no released nested_unet" in line and "mine/unet" in line


def test_a_network_of_the_phantom_refuses_other_scans(metseg, refused, tmp_path, scans):
    phantom = asdict(PHANTOM)
    folder = write_bright_model(tmp_path / "run" / "unet", data=phantom)
    (tmp_path / "in").mkdir()
    for name in ("PHANTOM_0001_20000101_1.tif", "TCGA_CS_0001_20000101_1.tif"):
        tifffile.imwrite(tmp_path / "in" / name, half_bright(), photometric="rgb")
    predict = ["predict", "--model", folder, "--input"]
    assert "--phantom-network" in refused(*predict, "in")  # one of them is enough
    assert "--phantom-network" in refused("evaluate", "--model", folder, "--data-dir", scans)
    assert metseg(*predict, "in/PHANTOM_0001_20000101_1.tif")[0] == 0
    assert metseg(*predict, "in", "--phantom-network")[0] == 0
    assert metseg("evaluate", "--model", folder, "--data-dir", scans, "--phantom-network")[0] == 0
    # of what a visitor will send nobody knows
    for command in ("serve", "dashboard"):
        assert "--phantom-network" in refused(command, "--model", folder, "--port", "0")


@pytest.mark.parametrize("command", ["serve", "dashboard"])
def test_what_is_served_has_the_same_names(metseg, refused, two_networks, monkeypatch, command):
    served = []
    monkeypatch.setattr("metseg.serve.service.server.serve", lambda models, **options: served.append(models))
    monkeypatch.setattr(
        "metseg.serve.dashboard.voila_server.serve_dashboard",
        lambda models, **options: served.append(models),
    )
    outputs = two_networks / "outputs"
    released, mine = outputs / "released" / "unet", outputs / "runs" / "mine" / "unet"
    _, out, _ = metseg(command, "--model", "mine", "--model", "unet")
    assert list(served[-1].items()) == [("mine/unet", mine), ("unet", released)]
    assert [line.split()[1] for line in out.splitlines()] == ["mine/unet", "unet,"]
    metseg(command)
    assert served[-1] == {"unet": released}
    assert "there is no network 'resnet'" in refused(command, "--model", "resnet")


def test_predict_refuses(refused, model, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", grey(8, 8), photometric="rgb")
    (tmp_path / "empty").mkdir()
    where = ["--output-dir", tmp_path / "runs", "--input"]
    line = refused("predict", "--model", "resnet", *where, "a.tif")
    assert "no network 'resnet'" in line and "nested_unet, attention_unet, unet" in line
    assert "absent does not exist" in refused("predict", "--model", model, *where, "absent")
    assert "empty holds no image" in refused("predict", "--model", model, *where, "empty")
    tifffile.imwrite(tmp_path / "a_mask.tif", grey(8, 8)[..., 0])
    line = refused("predict", "--model", model, "--output", ".", *where, "a.tif")
    assert "a_mask.tif lies there already" in line


def test_predict_refuses_a_changed_model(refused, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", grey(8, 8), photometric="rgb")
    folder = write_bright_model(tmp_path / "unet")
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    assert "model.onnx is not the file" in refused("predict", "--model", folder, "--input", "a.tif")
    (folder / "model.json").write_text("{")
    assert "model.json is damaged" in refused("predict", "--model", folder, "--input", "a.tif")


def test_predict_below_a_file(refused, model, tmp_path):
    """Two images, one sentence: what cannot be written once cannot be written again."""
    (tmp_path / "in").mkdir()
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / "in" / name, grey(8, 8), photometric="rgb")
    (tmp_path / "a_file").touch()
    line = refused("predict", "--model", model, "--input", "in", "--output", "a_file/out")
    assert "a_file/out" in line


def test_a_damaged_slice_is_never_left_out_of_a_volume(metseg, model, tmp_path):
    """Its neighbours would be taken for each other's."""
    (tmp_path / "in" / "P1").mkdir(parents=True)
    for name in ("P1/P1_1.tif", "P1/P1_2.tif", "P1/P1_3.tif", "alone.tif"):
        tifffile.imwrite(tmp_path / "in" / name, grey(8, 8), photometric="rgb")
    (tmp_path / "in" / "P1" / "P1_2.tif").write_bytes(b"")
    status, _, err = metseg("predict", "--model", model, "--input", "in", "--output", "out")
    assert status == 2 and "P1_2.tif" in err and "scan" in err
    assert list(written(tmp_path / "out")) == ["alone_mask.tif"]


def test_predict_takes_strangers_one_by_one_unless_told(metseg, model, tmp_path):
    (tmp_path / "in").mkdir()
    for n in (1, 2, 3):
        tifffile.imwrite(tmp_path / "in" / f"image_{n}.tif", grey(8, 8), photometric="rgb")
    call = ("predict", "--model", model, "--input", "in", "--output", "out")
    assert "3 files: 3 single slices" in metseg(*call)[1].splitlines()
    assert "3 files: 1 scan of 3 slices" in metseg(*call, "--volume")[1].splitlines()


# ---- evaluate and compare ----


@pytest.fixture
def scans(tmp_path) -> Path:
    """Three patients of 32 px whose lesions are just what the model marks."""
    return write_scans(tmp_path / "scans", patients=3, slices=2)


def test_evaluate_leaves_out_who_was_seen(metseg, tmp_path, scans):
    folder = write_bright_model(tmp_path / "run" / "unet", seen=("TEST_0001", "TEST_0099"))
    status, out, err = metseg("evaluate", "--model", folder, "--data-dir", scans, "--output", "scores")
    assert (status, err) == (0, "")
    assert worked(out).startswith(
        "scans of patients it has not seen: 2; left out because it has seen them: 1\n"
    )
    assert "volume Dice of 2 patients: mean 1.000, median 1.000" in out
    assert "Own scans" in out  # the caution that goes with the data
    table = pd.read_csv(tmp_path / "scores" / "per_patient.csv")
    assert table.patient_id.tolist() == ["TEST_0002", "TEST_0003"] and table.dice.tolist() == [1, 1]
    names = {"per_patient.csv", "per_slice.csv", "examples.npz", "evaluation.json"}
    assert {path.name for path in (tmp_path / "scores").iterdir()} == names


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


def test_a_warning_is_one_line(metseg, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", grey(8, 8), photometric="rgb")
    folder = write_bright_model(tmp_path / "unet", probe=[0.5], opencv="4.0.0")
    status, _, err = metseg("predict", "--model", folder, "--input", "a.tif")
    assert status == 0 and err.startswith("metseg: preprocessing gives unet another input now")
    assert err.count("\n") == 1


def test_evaluate_counts_a_persons_scans_together(metseg, tmp_path, model):
    """A scan whose lesion is dark is missed: (1 + 0) / 2 over scans, but 2·16 / (16 + 32) over the person."""
    folder = tmp_path / "scans" / "all"
    folder.mkdir(parents=True)
    for date, value in (("20000101", 255), ("20010101", 50)):
        mask = np.zeros((32, 32), np.uint8)
        mask[8:12, 8:12] = 255
        image = grey(32, 32, value=20)
        image[mask > 0] = value
        tifffile.imwrite(folder / f"P_1_{date}_1.tif", image, photometric="rgb")
        tifffile.imwrite(folder / f"P_1_{date}_1_mask.tif", mask)
    _, out, _ = metseg("evaluate", "--model", model, "--data-dir", "scans")
    assert "volume Dice of 1 patients: mean 0.667, median 0.667" in out
    assert (tmp_path / "evaluation" / model.parent.name / "unet" / "evaluation.json").exists()


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


def test_evaluate_refuses_to_score_what_was_learned(refused, tmp_path, scans):
    everyone = tuple(f"TEST_000{k}" for k in (1, 2, 3))
    folder = write_bright_model(tmp_path / "run" / "unet", seen=everyone)
    assert "trained or chosen on all" in refused("evaluate", "--model", folder, "--data-dir", scans)


def test_compare(metseg, tmp_path):
    for run, model in (("a", "unet"), ("a", "attention_unet"), ("b", "unet")):
        write_evaluated(tmp_path / "runs" / run, model, PATIENTS)
    status, out, err = metseg("compare", "a", "--output-dir", "runs")
    assert (status, err) == (0, "")
    assert "Attention U-Net" in out and "runs/a/comparison" in out
    first = (tmp_path / "runs" / "a" / "comparison" / "comparison.json").read_bytes()

    # several runs, by name or by folder; the comparison of the one run stays as it is
    status, out, _ = metseg("compare", "a", "runs/b", "--output-dir", "runs")
    assert status == 0 and "a · U-Net" in out and "b · U-Net" in out
    record = json.loads((tmp_path / "runs" / "a" / "comparison-b" / "comparison.json").read_text())
    assert {row["model"] for row in record["summary"]} == {"a/unet", "a/attention_unet", "b/unet"}
    assert (tmp_path / "runs" / "a" / "comparison" / "comparison.json").read_bytes() == first

    assert metseg("compare", "b", "--output", "elsewhere", "--output-dir", "runs")[0] == 0
    assert (tmp_path / "elsewhere" / "comparison.json").exists()


def test_compare_shows_intervals_and_what_is_undefined(metseg, refused, tmp_path):
    write_evaluated(tmp_path / "runs" / "a", "unet", PATIENTS)
    healthy = dict.fromkeys(PATIENTS)
    write_evaluated(tmp_path / "runs" / "b", "unet", healthy)
    _, out, _ = metseg("compare", "a", "--output-dir", "runs")
    assert "0.500 (0.000–1.000)" in out
    assert "no held-out patient of unet has a Dice" in refused("compare", "b", "--output-dir", "runs")

    # false alarms of one network alone: a Dice of 0 for it, none for the other
    write_evaluated(tmp_path / "runs" / "c", "unet", healthy)
    for name in ("per_patient", "per_slice"):
        path = tmp_path / "runs" / "c" / "unet" / "evaluation" / f"{name}.csv"
        table = pd.read_csv(path)
        table["pred_voxels" if name == "per_patient" else "pred_px"] = 5
        table.to_csv(path, index=False)
    status, out, err = metseg("compare", "b", "c", "--output-dir", "runs")
    assert (status, err) == (0, "") and "undefined" in out and "0.000 (0.000–0.000)" in out


def test_compare_refuses(refused, tmp_path):
    runs = tmp_path / "runs"
    write_evaluated(runs / "a", "unet", PATIENTS)
    write_evaluated(runs / "b", "unet", dict(list(PATIENTS.items())[:2]))
    (runs / "c").mkdir()
    where = ["--output-dir", "runs"]
    line = refused("compare", "absent", *where)
    assert "there is no run" in line and "finished runs here: a, b" in line
    assert "different patients" in refused("compare", "a", "b", *where)
    assert "holds no evaluated model" in refused("compare", "c", *where)
    (tmp_path / "a_file").touch()
    assert "cannot write" in refused("compare", "a", "--output", "a_file/x", *where)


# ---- cross-validation and ablation ----


def test_crossval(metseg, checkout, tmp_path, monkeypatch):
    asked = []

    def sweep(notebook, grid, values, *, run_folder, on_event):
        asked.append((notebook.stem, grid, values, run_folder))
        for fold, patients in enumerate(({"P_20000101": WHOLE, "Q_20000101": HALF}, {"R_20000101": MISSED})):
            folder = write_evaluated(run_folder / f"unet-{fold + 1}", "unet", patients)
            write_json(folder / "config.json", {"model": "unet", "fold": fold, "folds": 2})
            others = [("R_20000101",), ("P_20000101", "Q_20000101")][fold]
            write_split(Split(others, (), tuple(patients), 0, ""), folder / "split.json")

    monkeypatch.setattr("metseg.evaluation.crossval.sweep", sweep)
    options = ["--folds", "2", "--profile", "cpu", "--set", "image_size=64", "--run-name", "cv"]
    status, out, err = metseg("crossval", "--model", "unet", *options, "--output-dir", "runs")
    assert (status, err) == (0, "")
    values = {"epochs": 30, "image_size": 64, "folds": 2}  # the profile's gallery is no training's parameter
    target = tmp_path / "runs" / "cv" / "unet"
    assert asked == [("04b_train_unet", {"fold": [0, 1]}, values, target)]
    assert "0.500 (0.000–1.000)" in out and "runs/cv/comparison" in out
    assert (tmp_path / "runs" / "cv" / "comparison" / "out_of_fold.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "resnet"], "no notebook trains 'resnet'"),
        (["--model", "unet", "--set", "epochs=0"], "epochs=0: Input should be greater than or equal to 1"),
        (["--model", "unet", "--set", "fold=1"], "fold is no parameter to set here"),
        (["--model", "unet", "--set", "epoch=1"], "no parameter 'epoch' (did you mean epochs?)"),
        (["--model", "unet", "--data-dir", "absent"], "absent is not a folder"),
        (["--model", "unet", "--run-name", "../up"], "run name '../up' is no folder name"),
    ],
)
def test_crossval_refuses(refused, tmp_path, arguments, words):
    assert words in refused("crossval", *arguments, "--output-dir", tmp_path / "runs")


@pytest.mark.slow
def test_ablation(metseg, refused, trained, tmp_path):
    status, out, err = metseg("ablation", "first", trained, "--data-dir", "scans")
    assert (status, err) == (0, "") and out.endswith("Table and figure: ablation\n")
    table = pd.read_csv(tmp_path / "ablation" / "ablation.csv")
    assert table.run.tolist() == ["first", "first"] and table.difference.tolist()[1:] == [0]
    assert (tmp_path / "ablation" / "ablation.png").stat().st_size > 0
    assert "no finished training in second" in refused("ablation", "first", "second", "--data-dir", "scans")


# ---- check-data and phantom ----


def test_check_data_good(metseg, scans):
    status, out, err = metseg("check-data", "scans")
    assert (status, err) == (0, "")
    read, counted = out.splitlines()[:2]
    assert read == "12 files: 3 scans of 2 slices; 3 patients, told by date"
    assert counted.startswith("own scans: 3 patients, 3 scans, 6 slices, 3 with lesion.")
    assert out.endswith("\nno errors\n")


def test_check_data_shows_who_is_who_and_begins_a_table(metseg, scans):
    pattern = ["--patient-pattern", r"TEST_0*(?P<patient>[0-9]+)_(?P<visit>.+)"]
    status, out, err = metseg("check-data", "scans", *pattern, "--write-patients")
    assert (status, err) == (0, "")
    assert [line.split() for line in out.splitlines() if "pattern" in line][1] == [
        "1", "TEST_0001_20000101", "20000101", "pattern",
    ]  # fmt: skip
    table = (scans / "patients.csv").read_text().splitlines()
    assert table[:2] == ["case_id,patient_id,visit", "TEST_0001_20000101,1,20000101"]
    assert "told by patients.csv" in metseg("check-data", "scans")[1].splitlines()[0]
    assert metseg("check-data", "scans", "--write-patients")[0] == 2


def test_check_data_damaged(metseg, scans):
    paths = sorted(scans.rglob("*_1.tif"))
    paths[0].write_bytes(paths[0].read_bytes()[:200])
    paths[1].with_name(f"{paths[1].stem}_mask.tif").unlink()
    status, out, err = metseg("check-data", "scans")
    assert (status, err) == (1, "")
    errors = [line for line in out.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2 and paths[0].name in out and f"{paths[1].name} has no mask" in out
    assert out.endswith("2 errors: mend them before you train\n")


def test_check_data_too_few_lesions(metseg, scans):
    for path in sorted(scans.rglob("*_mask.tif"))[2:]:  # of the first patient they stay
        tifffile.imwrite(path, np.zeros_like(tifffile.imread(path)))
    status, out, err = metseg("check-data", "scans")
    assert (status, err) == (1, "") and "error: 1 of 3 patient" in out


def test_check_data_refuses(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a_file").touch()
    assert "absent is not a folder" in refused("check-data", "absent")
    assert "a_file is not a folder" in refused("check-data", "a_file")
    assert "empty holds no scan" in refused("check-data", "empty")


@pytest.mark.parametrize("command", [["check-data"], ["train", "--model", "unet", "--data-dir"]])
def test_a_folder_whose_name_is_no_utf_8_is_refused(refused, tmp_path, command):
    folder = tmp_path / os.fsdecode(b"Ren\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this system has no such names")
    assert r"Ren\xe9 is no UTF-8" in refused(*command, folder)


def test_a_name_that_cannot_be_printed_does_not_stop_a_command(metseg, tmp_path):
    status, out, err = metseg("phantom", tmp_path / os.fsdecode(b"Ren\xe9"), "--patients", "1")
    assert (status, err) == (0, "")
    assert "1 synthetic patients" in out


def test_phantom(metseg, tmp_path):
    status, out, err = metseg("phantom", "new/set", "--patients", "1", "--seed", "3")
    assert (status, out, err) == (0, "1 synthetic patients: new/set\n", "")
    case = tmp_path / "new" / "set" / "PHANTOM_S3_0001_20000101"
    assert len(list(case.glob("*_mask.tif"))) == 16 and len(list(case.iterdir())) == 32
    assert json.loads((tmp_path / "new" / "set" / "phantom.json").read_text())["seed"] == 3
    status, out, _ = metseg("check-data", "new/set")
    assert status == 0 and "metseg phantom: 1 patients" in out


def test_phantom_refuses(refused, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "mine exists and is no phantom" in refused("phantom", "mine", "--patients", "1")
    (tmp_path / "a_file").touch()
    assert "a_file exists and is no phantom" in refused("phantom", "a_file", "--patients", "1")
    assert "cannot write a_file/set" in refused("phantom", "a_file/set", "--patients", "1")
    assert "patients is 10000" in refused("phantom", "x", "--patients", "10000")


# ---- export and release ----


@pytest.fixture
def trained(tmp_path_factory, tmp_path, monkeypatch) -> Path:
    """Run `first` of a checkout: one finished training, neither tuned nor scored; its scans lie beside."""
    finished = finished_training(tmp_path_factory)
    shutil.copytree(finished.parents[1] / "scans", tmp_path / "scans")
    folder = tmp_path / "outputs" / "runs" / "first" / "nested_unet"
    shutil.copytree(finished, folder)
    monkeypatch.setattr("metseg.base.paths.project_root", lambda: tmp_path)
    return folder


@pytest.mark.slow
def test_export_then_release(metseg, refused, trained, tmp_path):
    assert "makes masks was never settled; call: metseg export" in refused("release", "first")
    (trained / "model.onnx").unlink()
    (trained / "model.json").unlink()
    status, out, err = metseg("export", "first", "--data-dir", "scans")
    assert (status, err) == (0, "")
    assert worked(out).startswith(
        "exported and scored: outputs/runs/first/nested_unet; probabilities in float32 differ"
    )
    description = json.loads((trained / "model.json").read_text())
    assert f" on 21 slices; serves in {description['precision']}, validation Dice " in out
    assert " against float32, slice by slice " in out and "head" not in out
    assert description["validation_patients"] == 1 and 0 <= description["validation_dice"] <= 1

    status, out, err = metseg("release", trained)
    assert (status, err) == (0, "")
    assert worked(out).startswith("released: outputs/released/nested_unet\nnested_unet: validation Dice 0.")
    released = tmp_path / "outputs" / "released" / "nested_unet"
    served = {path.name: path.read_bytes() for path in trained.glob("model*.onnx")}
    assert served == {path.name: path.read_bytes() for path in released.glob("*.onnx")}
    assert (released / "README.md").read_text().startswith("# Nested U-Net\n")
    # of two networks both are released or none
    shutil.copytree(trained, trained.with_name("unet"))
    (trained.with_name("unet") / "evaluation" / "evaluation.json").unlink()
    (released / "README.md").write_text("the former one")
    assert "runs/first/unet was never scored" in refused("release", "first")
    assert (released / "README.md").read_text() == "the former one"
    # nobody is asked here, so that one that is released stays unless told
    status, out, err = metseg("release", "first/nested_unet")
    assert status == 2 and "--replace" in err and (released / "README.md").read_text() == "the former one"
    both = [line for line in worked(out).splitlines() if "trained on own scans; validation Dice 0." in line]
    assert len(both) == 2 and all(" held-out patients 0." in line for line in both)
    status, out, _ = metseg("release", "first/nested_unet", "--replace")
    assert status == 0 and (released / "README.md").read_text() != "the former one"
    # who has trained nothing is served the released one
    shutil.rmtree(tmp_path / "outputs" / "runs")
    tifffile.imwrite(tmp_path / "slice.tif", grey(32, 32), photometric="rgb")
    status, out, _ = metseg("predict", "--model", "nested_unet", "--input", "slice.tif")
    assert status == 0 and "outputs/released/nested_unet" in out


@pytest.mark.slow
def test_a_network_that_holds_nobody_out_is_released_with_its_recipes_scores(
    metseg, refused, trained, tmp_path
):
    split = read_split(trained / "split.json")
    write_split(replace(split, train=split.train + split.test, test=()), trained / "split.json")
    status, out, err = metseg("export", "first", "--data-dir", "scans")
    assert (status, err) == (0, "")
    assert worked(out).startswith(
        "exported, and nobody is held out to score it: outputs/runs/first/nested_unet;"
    )
    assert "holds nobody out; name the cross-validation of its recipe" in refused("release", "first")
    cv = tmp_path / "outputs" / "runs" / "cv"
    config = json.loads((trained / "config.json").read_text())
    served = {"sha256": "abc", "postprocessing": {"threshold": 0.5}, "flip_average": False}
    for k, predictions in enumerate(({"A_1": WHOLE}, {"B_1": HALF})):
        fold = write_evaluated(cv / "nested_unet" / f"nested_unet-{k + 1}", "nested_unet", predictions)
        for name in ("model.json", "evaluation/evaluation.json"):
            write_json(fold / name, {**json.loads((fold / name).read_text()), **served})
        write_json(fold / "config.json", {**config, "fold": k, "folds": 2})
        write_split(replace(split, train="BA"[k], validation=(), test="AB"[k]), fold / "split.json")
    status, out, err = metseg("release", "first", "--crossval", "cv")
    assert (status, err) == (0, "") and worked(out).startswith("released: outputs/released/nested_unet\n")
    released = tmp_path / "outputs" / "released" / "nested_unet"
    assert json.loads((released / "model.json").read_text())["out_of_fold"]["dice_mean"] == 0.75
    assert (
        "2 patients, each by the one of 2 networks of the same recipe" in (released / "README.md").read_text()
    )


def test_export_and_release_refuse(refused, trained, tmp_path):
    for command in (["export", "second", "--data-dir", "scans"], ["release", "second"]):
        assert "no finished training in second; runs here: first" in refused(*command)
    assert "absent is not a folder" in refused("export", "first", "--data-dir", "absent")
    export = ["export", "first", "--data-dir", "scans"]
    assert "unknown precision 'fp16'; valid are fp32, bf16, int8" in refused(*export, "--precision", "fp16")
    assert "unknown head 'three'; valid are L1" in refused(*export, "--prune", "three")
    assert "prune=3; nested_unet has the heads [1, 2]" in refused(*export, "--prune", "L3")


@pytest.mark.parametrize("agreed", [True, False])
def test_a_release_asks_at_a_terminal_before_it_replaces(metseg, released_twice, monkeypatch, agreed):
    former, folder = released_twice
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda question: agreed)
    status, out, err = metseg("release", folder)
    assert (status == 0) is agreed and "trained on the former scans; validation Dice 0.700" in out
    assert (read_json(former)["validation_dice"] == 0.9) is agreed


@pytest.fixture
def released_twice(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """The `model.json` of a released U-Net with a validation Dice of 0.7, and the folder of one with 0.9."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr("metseg.base.paths.project_root", lambda: tmp_path)
    data = {**DATA, "name": "the former scans"}
    former = write_bright_model(tmp_path / "outputs" / "released" / "unet", validation_dice=0.7, data=data)
    folder = write_scored(tmp_path / "outputs" / "runs" / "new")
    return former / "model.json", folder


# ---- runs and the version ----


def test_version(metseg):
    status, out, err = metseg("--version")
    assert (status, err) == (0, "") and out == f"metseg {importlib.metadata.version('metseg')}\n"


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
