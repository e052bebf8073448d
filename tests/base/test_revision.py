"""Which state of the checkout made a figure."""

import re
import shutil
from pathlib import Path

import pytest

from metseg.base.revision import git_revision

CHECKOUT = Path(__file__).resolve().parents[2] / ".git"


@pytest.mark.skipif(not (CHECKOUT.exists() and shutil.which("git")), reason="no checkout of git")
def test_a_commit_with_or_without_changes():
    assert re.fullmatch(r"[0-9a-f]{12,}(\+changes)?", git_revision())


def test_without_git_there_is_none(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_revision() is None
