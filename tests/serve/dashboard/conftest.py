"""A browser, and a dashboard without one that tells what it sends."""

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from dashboard_models import CountingPredictor, write_released
from playwright.sync_api import Browser, sync_playwright

from metseg.serve.dashboard.view import Dashboard


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)  # where `playwright install chromium` puts it
        found = str(own) if own.is_file() else shutil.which("chromium") or shutil.which("google-chrome")
        if found is None:
            pytest.skip("no Chromium; install one: apt-get install chromium, or: playwright install chromium")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def sent(monkeypatch) -> list[tuple]:
    """The messages that the kernel sends, and their buffers."""
    messages = []
    keep = lambda part, message, buffers=None: messages.append((message, buffers))  # noqa: E731
    monkeypatch.setattr(Dashboard, "_send", keep)
    return messages


@pytest.fixture
def dashboard(tmp_path, monkeypatch, sent) -> Iterator[Dashboard]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(CountingPredictor, "runs", [])
    made = Dashboard(write_released(tmp_path / "released"), predictor=CountingPredictor)
    yield made
    made.close_volume()
    gc.collect()  # what a PDF was made in
    assert [path.name for path in tmp_path.iterdir()] == ["released"]
