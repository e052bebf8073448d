"""Where the checkout is, from within it and from elsewhere."""

from pathlib import Path

import pytest
import yaml

from metseg.base import paths
from metseg.base.errors import MetsegError
from metseg.base.paths import located, notebooks_dir, project_root, released_dir, run_folder_of, runs_dir

CHECKOUT = Path(__file__).resolve().parents[2]


def test_this_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the package's own place comes before the working directory
    (tmp_path / "notebooks").mkdir()
    assert project_root() == CHECKOUT
    assert released_dir() == CHECKOUT / "outputs" / "released"


def test_installed_elsewhere_the_working_directory_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "lib" / "site-packages" / "metseg" / "paths.py"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    assert project_root() == tmp_path
    assert released_dir() == tmp_path / "outputs" / "released"
    (tmp_path / "notebooks").rmdir()
    with pytest.raises(MetsegError, match=f"no notebooks/ folder in {tmp_path}; change to the workbook's"):
        project_root()
    # Whoever names folders of models needs no checkout.
    assert (released_dir(), runs_dir()) == (tmp_path / "outputs" / "released", tmp_path / "outputs" / "runs")


def test_a_default_starts_at_the_notebooks_wherever_the_kernel_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert located("../outputs/runs") == CHECKOUT / "outputs" / "runs"
    assert notebooks_dir() == CHECKOUT / "notebooks"
    # what somebody typed starts where they are
    assert [located(each) for each in ("../outputs", "scans", 2024)] == [
        Path(each) for each in ("../outputs", "scans", "2024")
    ]
    (tmp_path / "01_explore_data.ipynb").touch()  # a copy of the notebooks has outputs of its own
    assert located("../outputs/runs") == Path("../outputs/runs")
    assert notebooks_dir() == Path()


def test_every_default_of_the_notebooks_is_known():
    recipe = yaml.safe_load((CHECKOUT / "notebooks" / "params" / "quick.yml").read_text(encoding="utf-8"))
    for_one = [value for own in recipe.values() if isinstance(own, dict) for value in own.values()]
    above = [value for value in [*recipe.values(), *for_one] if str(value).startswith("..")]
    assert {"../data/phantom", "../data/phantom_volumes"} < {*above}
    assert [located(each) for each in above] == [CHECKOUT / each.removeprefix("../") for each in above]


def test_a_run_may_be_called_by_a_number():
    assert run_folder_of("runs", 2024) == Path("runs/2024")  # as papermill passes -p run_name 2024
    assert run_folder_of("runs", "first") == Path("runs/first")


@pytest.mark.parametrize("run_name", [1.5, True, None])
def test_a_run_name_that_papermill_has_changed_is_refused(run_name):
    with pytest.raises(MetsegError, match=f"run_name is {run_name}, which is no text; .*papermill with -r"):
        run_folder_of("runs", run_name)


@pytest.mark.parametrize("run_name", ["", "a/b", "..", ".hidden", "/"])
def test_a_run_name_is_the_name_of_one_folder(run_name):
    with pytest.raises(MetsegError, match="is no folder name; use letters"):
        run_folder_of("runs", run_name)
