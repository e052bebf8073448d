"""The command line as a program: options, exit statuses, and one readable line for a mistake."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tifffile
from cli_words import PATIENTS, grey, half_bright
from tiny_runs import write_bright_model, write_evaluated

from metseg import cli


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


def test_a_terminal_that_lacks_a_character_stops_no_command(tmp_path):
    write_evaluated(tmp_path / "first", "unet", PATIENTS)
    (tmp_path / "first").rename(tmp_path / "first → 2")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", "from metseg.cli import main\nmain()", "compare", "first → 2"]
    done = subprocess.run(command, capture_output=True, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode("ascii")
    assert r"0.500 (0.000\u20131.000)" in text and r"first \u2192 2/comparison" in text


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
    commands = (
        "run train sweep crossval compare predict report check-data phantom evaluate export ablation release "
        "runs"
    )
    assert [each for each in commands.split() if f" {each} " not in out] == []
    assert metseg("--version")[1] == f"metseg {importlib.metadata.version('metseg')}\n"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("run", "--profile --data-dir --run-name --set --output-dir"),
        ("train", "--model --epochs --data-dir --image-size --profile --run-name --set --output-dir"),
        ("sweep", "SWEEP.YML --jobs --scheduler --storage --resume --output-dir"),
        ("predict", "--model --input --output --volume --phantom-network --output-dir"),
        ("evaluate", "--model --data-dir --output --include-same-name --phantom-network --output-dir"),
        ("compare", "RUN... --output --output-dir"),
        ("crossval", "--model --folds --data-dir --profile --run-name --set --output-dir"),
        ("ablation", "BASELINE --data-dir --output --output-dir"),
        ("export", "RUN --data-dir --precision --prune --output-dir"),
        ("release", "RUN --crossval --replace --output-dir"),
        ("check-data", "DIR --patient-pattern --write-patients"),
        ("phantom", "DIR --patients --seed --volumes --dicom"),
        ("report", "--input --model --mask --target --output --register --same-patient --sequence"),
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
        ["teach"],
        ["train", "--model", "unet", "--epochs", "0"],
        ["predict", "--model", "unet"],
        ["crossval", "--model", "unet", "--folds", "1"],
        ["export", "first", "--data-dir", "scans", "--precision", "fp16"],
        ["export", "first", "--data-dir", "scans", "--prune", "three"],
        ["phantom", "x", "--patients", "0"],
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


def test_a_path_that_the_system_refuses_is_one_sentence(refused, model):
    name = "a" * 300
    assert refused("predict", "--model", model, "--input", name, "--output", "out") == (
        f"cannot use {name} (File name too long); give another path"
    )


def test_a_warning_is_one_line(metseg, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", grey(8, 8), photometric="rgb")
    folder = write_bright_model(tmp_path / "unet", probe=[0.5], opencv="4.0.0")
    status, _, err = metseg("predict", "--model", folder, "--input", "a.tif")
    assert status == 0 and err.startswith("metseg: preprocessing gives unet another input now")
    assert err.count("\n") == 1


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
