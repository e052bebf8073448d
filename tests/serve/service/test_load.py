"""The load benchmark counts what happened; how long it took is no matter of a test."""

import os
from contextlib import contextmanager
from io import BytesIO

import pytest
import tifffile
from running_service import BRIGHT_CORNER, as_png, running, write_models

from metseg.base.errors import MetsegError
from metseg.serve.service import load
from metseg.serve.service.api import create_app
from metseg.serve.service.load import measure_load, phantom_slices

SLICES = [as_png(BRIGHT_CORNER), as_png(BRIGHT_CORNER[::-1])]


def test_every_request_is_answered_and_a_proxy_of_the_user_s_is_left_aside(tmp_path, monkeypatch):
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")  # nobody listens there, and httpx speaks no SOCKS
    told = []
    result = measure_load(
        write_models(tmp_path),
        clients=4,
        requests=20,
        alone=3,
        slices=SLICES,
        on_answer=lambda: told.append("answer"),
    )
    assert (result["requests"], result["clients"], result["workers"]) == (20, 4, 1)
    assert (result["errors"], result["first_error"], len(told)) == (0, None, 20)
    assert 0 < result["alone_p50_ms"] <= result["alone_p95_ms"]
    assert 0 < result["p50_ms"] <= result["p95_ms"] <= result["p99_ms"] <= 1000 * result["seconds"]
    assert all(result[f"rss_mb_{when}"] > 10 for when in ("start", "end"))


def test_several_processes(tmp_path):
    result = measure_load(write_models(tmp_path), clients=4, requests=12, alone=2, workers=2, slices=SLICES)
    assert (result["workers"], result["errors"], result["first_error"]) == (2, 0, None)


def test_a_refusal_is_an_error(tmp_path, monkeypatch):
    @contextmanager
    def running_here(models, **kwargs):
        with running(create_app(models)) as client:
            yield str(client.base_url), os.getpid()

    monkeypatch.setattr(load, "running_service", running_here)
    result = measure_load(write_models(tmp_path), clients=1, requests=4, alone=0, slices=[b"no image"])
    assert result["errors"] == 4
    assert result["first_error"].startswith('415: {"code":"not_an_image"')
    assert result["p50_ms"] is None


def test_a_model_that_is_missing_is_one_sentence(tmp_path):
    with pytest.raises(MetsegError, match="is missing"):
        measure_load({"unet": tmp_path}, requests=1, slices=SLICES)


def test_the_slices_sent_are_the_phantoms():
    slices = phantom_slices(size=64, count=2)
    assert len(set(slices)) == 2
    assert [tifffile.imread(BytesIO(each)).shape for each in slices] == [(64, 64, 3)] * 2
