"""What the service counts, however many processes answer."""

from metseg.serve.service.metrics import Metrics


def test_a_process_that_was_killed_waits_for_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    left = tmp_path / "gauge_livesum_99999999.db"  # no process has such a number
    left.touch()
    assert Metrics().text() == b""
    assert not left.exists()
