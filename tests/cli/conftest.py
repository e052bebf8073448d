"""Commands, run in this process, and what they work on."""

import shutil
import sys
from pathlib import Path

import nbformat
import pytest
import tifffile
from cli_words import PATIENTS, grey, worked
from tiny_runs import DATA, write_both_kinds, write_bright_model, write_evaluated
from tiny_scans import finished_training, write_scans

from metseg import cli
from metseg.base.files import write_json
from metseg.evaluation.report import read_comparison, write_comparison


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
    training = 'data_dir = ""\nepochs = 12\nimage_size = 128\nfilters = [8, 16]\ncache_dir = "../c"'
    training += "\nrestart = False\nseed = 0"
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


@pytest.fixture
def both_kinds(tmp_path, monkeypatch) -> dict[str, Path]:
    """Folders of a checkout's released networks, see `write_both_kinds`."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr("metseg.base.paths.project_root", lambda: tmp_path)
    return write_both_kinds(tmp_path / "outputs" / "released")


@pytest.fixture
def scans(tmp_path) -> Path:
    """Three patients of 32 px whose lesions are just what the model marks."""
    return write_scans(tmp_path / "scans", patients=3, slices=2)


@pytest.fixture
def trained(tmp_path_factory, tmp_path, monkeypatch, capsys) -> Path:
    """Run `first` of a checkout: one finished training, neither tuned nor scored; its scans lie beside."""
    finished = finished_training(tmp_path_factory)
    capsys.readouterr()  # what the training printed
    shutil.copytree(finished.parents[1] / "scans", tmp_path / "scans")
    folder = tmp_path / "outputs" / "runs" / "first" / "nested_unet"
    shutil.copytree(finished, folder)
    monkeypatch.setattr("metseg.base.paths.project_root", lambda: tmp_path)
    return folder
