"""Scans of the server in the dashboard, without a browser."""

import pytest
from dashboard_models import CountingPredictor, write_released
from phantom_upload import nifti_files

from metseg.serve.dashboard.view import Dashboard
from metseg.serve.scan_folder import SCANS


@pytest.fixture
def released(tmp_path, monkeypatch):
    monkeypatch.setattr(Dashboard, "_send", lambda *_, **__: None)
    monkeypatch.delenv(SCANS, raising=False)
    return write_released(tmp_path / "released")


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    (folder / "P7").mkdir(parents=True)
    for name, content in nifti_files().items():
        (folder / "P7" / name).write_bytes(content)
    return folder


def tell(dashboard: Dashboard, kind: str, **what) -> None:
    dashboard._handle_custom_msg({"kind": kind, **what}, [])


def test_a_scan_of_the_allowed_folder_is_opened(released, scans):
    dashboard = Dashboard(released, predictor=CountingPredictor, scans=scans)
    assert dashboard.there["listed"] is False  # nothing is read before it is asked for
    tell(dashboard, "look there", place="P7", find="")
    (scan,) = dashboard.there["scans"]
    tell(dashboard, "open there", place="P7", files=scan["files"])
    assert dashboard.message == "" and dashboard.viewer.lesions
    assert dashboard.volume["name"] == "3 files of P7" and str(scans) not in str(dashboard.volume)
    dashboard.close_volume()
    assert sorted(path.name for path in (scans / "P7").iterdir()) == sorted(nifti_files())


def test_nothing_else_is_opened(released, scans):
    dashboard = Dashboard(released, predictor=CountingPredictor, scans=scans)
    for place, files in (("..", []), ("P7", ["../../released/x.nii.gz"]), ("/etc", []), (None, [])):
        tell(dashboard, "open there", place=place, files=files)
        assert dashboard.message and dashboard.volume == {}
        dashboard.message = ""
    tell(dashboard, "look there", place="../released", find="")
    assert dashboard.message and dashboard.there["folders"] == []


def test_without_a_folder_there_is_nothing_to_open(released, scans):
    dashboard = Dashboard(released, predictor=CountingPredictor)
    assert dashboard.there == {}
    tell(dashboard, "look there", place="", find="")
    tell(dashboard, "open there", place=str(scans), files=[])
    assert dashboard.there == {} and dashboard.volume == {}
