"""Where the checkout is, from within it and from elsewhere."""

from pathlib import Path

import pytest

from metseg import paths
from metseg.errors import MetsegError
from metseg.paths import project_root, released_dir

CHECKOUT = Path(__file__).resolve().parents[1]


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
    for find in (project_root, released_dir):
        with pytest.raises(
            MetsegError, match=f"no notebooks/ folder in {tmp_path}; change to the workbook's"
        ):
            find()
