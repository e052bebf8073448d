"""The browser of the dashboard's tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright


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
