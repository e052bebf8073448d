"""The service answers over HTTP: what it segments, what it refuses, and that it keeps nothing."""

import base64
import errno
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from running_service import BRIGHT_CORNER, as_png, as_tiff, running, write_models
from tiny_runs import DATA, SIZE, write_bright_model

from metseg.data.readers.image_errors import MAX_SIDE
from metseg.masks.encode import mask_png
from metseg.serve.service import api
from metseg.serve.service.api import create_app
from metseg.serve.service.segmentation import segment as segment_slice
from metseg.serve.upload import MAX_UPLOAD_BYTES

PNG = as_png(BRIGHT_CORNER)
FORM = {"content-type": "multipart/form-data; boundary=B"}
BEGUN = b'--B\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
LESION = np.zeros((SIZE, SIZE), bool)
LESION[2:6, 3:8] = True
FLAIR_LESION = LESION.copy()
FLAIR_LESION[20:23, 20:23] = True


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def client(models):
    with running(create_app(models)) as client:
        yield client


def segment(client: httpx.Client, file: bytes = PNG, /, **kwargs) -> httpx.Response:
    return client.post("/predict", files={"file": file}, **kwargs)


def wait_for(condition: Callable[[], object], *, seconds: float = 30) -> None:
    """Waits until a condition holds; fails where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.01)


def mask_of(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    png = answer.content
    if answer.headers["content-type"] == "application/json":
        png = base64.b64decode(answer.json()["mask"])
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(pixels)) <= {0, 255}
    return pixels > 0


# ---- what it segments ----


def test_a_slice_comes_back_with_its_mask_and_lesions(client):
    answer = segment(client)
    found = answer.json()
    assert (mask_of(answer) == LESION).all()
    assert found["model"] == "nested_unet"
    assert found["image"] == {"height": SIZE, "width": SIZE}
    assert found["settings"] == {
        "threshold": 0.5,
        "min_lesion_px": 0,
        "min_lesion_mm2": None,
        "fill_holes": False,
        "tta_flip": False,
    }
    (lesion,) = found["lesions"]
    assert (lesion["area_px"], lesion["row"], lesion["column"]) == (20, 3.5, 5.0)
    assert lesion["area_mm2"] is None and found["spacing_mm"] is None
    assert found["notes"] == []
    assert found["caution"] == f"Research use only; not a medical device. {DATA['caution']}"
    times = found["timings_ms"]
    assert times["decode"] > 0 and 0 < times["network"] < times["total"]


def test_a_slice_unlike_the_training(tmp_path):
    trust = {"patients": 9, "volume": {}, "slice": {"head": (0, 0.1), "corners": (0, 0.1)}}
    white = as_png(np.full((SIZE, SIZE, 3), 240, np.uint8))
    with running(create_app({"unet": write_bright_model(tmp_path, trust=trust)})) as wary:
        refused = segment(wary, white)
        assert (refused.status_code, refused.json()["code"]) == (422, "unlike_training")
        assert "trust_anyway" in refused.json()["message"]
        answer = segment(wary, white, data={"trust_anyway": "true"})
    assert mask_of(answer).all() and len(answer.json()["notes"]) == 3  # grey, the corners, the head
    assert "may mean nothing" in answer.json()["notes"][1]


def test_the_mask_alone_is_the_same_file_at_either_address(client):
    for path in ("/predict", "/predict/"):
        alone = client.post(path, files={"file": PNG}, headers={"accept": "image/png"})
        assert alone.headers["vary"] == "Accept"
        assert alone.content == base64.b64decode(segment(client).json()["mask"]) == mask_png(LESION)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("*/*", "application/json"), ("image/png, */*", "image/png"), ("application/json", "application/json")],
)
def test_the_kind_of_answer_is_what_the_client_names(client, accept, kind):
    assert segment(client, headers={"accept": accept}).headers["content-type"] == kind


TAGS = {"resolutionunit": "CENTIMETER", "description": "spacing_mm=5", "metadata": None}
WITH_SPACING = as_tiff(BRIGHT_CORNER, photometric="rgb", resolution=(20, 40), **TAGS)  # 0.25 mm × 0.5 mm


def test_areas_are_in_mm_where_the_file_tells_the_spacing(client):
    found = segment(client, WITH_SPACING).json()
    assert found["spacing_mm"] == [5.0, 0.25, 0.5]
    assert found["lesions"][0]["area_mm2"] == pytest.approx(20 * 0.25 * 0.5)


@pytest.mark.parametrize("where", ["data", "params"])
def test_the_smallest_lesion_may_be_given_in_mm(client, where):
    """FLAIR shows lesions of 20 and of 9 px of 0.0625 mm²."""
    square = as_tiff(BRIGHT_CORNER, photometric="rgb", resolution=(40, 40), **TAGS)
    for area, mask, pixels in (("0.5625", FLAIR_LESION, 9), ("0.563", LESION, 10)):
        fields = {"model": "attention_unet", "min_lesion_mm2": area}
        answer = segment(client, square, **{where: fields})
        assert (mask_of(answer) == mask).all()
        used = answer.json()["settings"]
        assert (used["min_lesion_px"], used["min_lesion_mm2"]) == (pixels, float(area))


def test_the_smallest_lesion_in_mm_needs_the_size_of_a_pixel_and_no_second_size(client):
    answer = segment(client, data={"min_lesion_mm2": "1"})
    assert refused(answer) == (422, "invalid_setting")
    assert "min_lesion_px" in answer.json()["message"] and "size of its pixels" in answer.json()["message"]
    for where in (
        {"data": {"min_lesion_mm2": "1", "min_lesion_px": "1"}},
        {"params": {"min_lesion_mm2": "1", "min_lesion_px": "1"}},
        {"params": {"min_lesion_mm2": "1"}, "data": {"min_lesion_px": "1"}},
    ):
        answer = segment(client, WITH_SPACING, **where)
        assert refused(answer) == (422, "invalid_setting")
        assert "both" in answer.json()["message"]


def test_a_grey_slice_is_segmented_with_a_note(client):
    answer = segment(client, as_png(BRIGHT_CORNER[..., 1]))
    assert (mask_of(answer) == FLAIR_LESION).all()
    assert "taken as FLAIR" in answer.json()["notes"][0]


@pytest.mark.parametrize("where", ["data", "params"])
def test_settings_come_in_the_form_or_in_the_address(client, where):
    model = segment(client, **{where: {"model": "attention_unet"}})
    assert model.json()["model"] == "attention_unet"
    assert (mask_of(model) == FLAIR_LESION).all()
    dropped = segment(client, **{where: {"model": "attention_unet", "min_lesion_px": "10"}})
    assert (mask_of(dropped) == LESION).all()
    rest = {"threshold": "0.25", "fill_holes": "true", "tta_flip": "true"}
    used = segment(client, **{where: rest}).json()["settings"]
    expected = {"threshold": 0.25, "min_lesion_px": 0, "fill_holes": True, "tta_flip": True}
    assert used == expected | {"min_lesion_mm2": None}
    both = segment(client, data={"threshold": "0.25"}, params={"min_lesion_px": 3}).json()["settings"]
    assert (both["threshold"], both["min_lesion_px"]) == (0.25, 3)


def test_holes_are_filled_on_demand(client):
    ring = np.where(LESION, 240, 20).astype(np.uint8)
    ring[3:5, 4:7] = 20
    assert mask_of(segment(client, as_png(ring))).sum() == 20 - 6
    assert (mask_of(segment(client, as_png(ring), data={"fill_holes": "1"})) == LESION).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (MAX_SIDE, 2), (33, 700)])
def test_slices_of_any_shape_keep_it(client, shape):
    assert mask_of(segment(client, as_png(np.full(shape, 250, np.uint8)))).shape == shape


def test_many_at_once_get_what_each_would_get_alone(client):
    slices = [as_png(np.roll(BRIGHT_CORNER, shift, axis=1)) for shift in range(24)]
    with ThreadPoolExecutor(16) as pool:  # as many as it holds
        answers = list(pool.map(lambda file: segment(client, file), slices))
    for shift, answer in enumerate(answers):
        assert (mask_of(answer) == np.roll(LESION, shift, axis=1)).all()


def test_the_models_are_told_without_their_patients(client, models):
    cards = client.get("/models").json()
    assert [(card["name"], card["default_for"]) for card in cards] == [
        ("nested_unet", ["slice", "volume"]),
        ("attention_unet", []),
    ]
    description = json.loads((models["nested_unet"] / "model.json").read_text())
    assert cards[0]["sha256"] == description["sha256"]
    assert (cards[0]["label"], cards[0]["input_size"], cards[0]["caution"]) == (
        "U-Net++ on EfficientNet-Lite0",
        SIZE,
        DATA["caution"],
    )
    assert all("seen" not in card for card in cards)


def test_health_and_docs(client):
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/health/ready").json() == {"status": "ready"}
    page = client.get("/docs").text
    parts = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(parts) == 3  # script, style, icon: all of them from here
    assert all(client.get(part).status_code == 200 for part in parts)


# ---- what it refuses ----


def refused(answer: httpx.Response) -> tuple[int, str]:
    """The status and the code of a refusal, whose body must be the one all have."""
    body = answer.json()
    assert set(body) == {"code", "message"}, body
    assert 20 < len(body["message"]) < 250 and "\n" not in body["message"]
    return answer.status_code, body["code"]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (b"", (415, "not_an_image")),
        (b"Dear colleague", (415, "not_an_image")),
        (PNG[:-20], (400, "truncated")),
        (as_tiff(BRIGHT_CORNER, photometric="rgb")[:-9], (400, "truncated")),
        (as_png(np.zeros((2001, 2000), np.uint8)), (422, "unusable_pixels")),
        (as_tiff(np.full((8, 8), np.nan, np.float32)), (422, "unusable_pixels")),
        (bytes(MAX_UPLOAD_BYTES + 1), (413, "too_large")),
        (bytes(2 * MAX_UPLOAD_BYTES), (413, "too_large")),
    ],
)
def test_a_file_that_is_no_slice_is_refused(client, file, expected):
    assert refused(segment(client, file)) == expected


def test_neither_name_nor_declared_type_is_trusted(client):
    assert client.post("/predict", files={"file": ("a.exe", PNG, "text/plain")}).status_code == 200
    letter = {"file": ("a.png", b"Dear colleague", "image/png")}
    assert refused(client.post("/predict", files=letter)) == (415, "not_an_image")


@pytest.mark.parametrize("where", ["data", "params"])
def test_a_setting_that_makes_no_sense_is_refused(client, where):
    values = {
        "threshold": ("nan", "inf", "-inf", "0", "1", "1e-400", "x", ""),
        "min_lesion_px": ("-1", "1.5", "4000001", "x", "nan"),
        "min_lesion_mm2": ("-1", "1000001", "x", "nan", "inf"),
        "fill_holes": ("maybe",),
        "tta_flip": ("maybe",),
        "treshold": ("0.5",),
        "model": ("unet",),
    }
    for name, value in ((name, value) for name, each in values.items() for value in each):
        answer = segment(client, **{where: {name: value}})
        assert refused(answer) == (422, "unknown_model" if name == "model" else "invalid_setting")
        assert name in answer.json()["message"]


def test_a_request_without_a_file_is_refused(client):
    assert refused(client.post("/predict")) == (422, "no_file")
    assert refused(client.post("/predict", content=PNG)) == (422, "no_file")
    assert refused(client.post("/predict", files={"image": PNG})) == (422, "no_file")


def test_what_is_not_there_is_refused_in_the_same_form(client):
    assert refused(client.get("/patients/../etc/passwd")) == (404, "not_found")
    assert refused(client.get("/predict//")) == (404, "not_found")
    wrong = client.get("/predict")
    assert refused(wrong) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"
    assert client.head("/predict").status_code == 405
    assert refused(client.options("/models")) == (405, "method_not_allowed")


def test_a_body_without_end_is_read_no_further_than_the_limit(client):
    sent = 0

    def endless():
        nonlocal sent
        yield BEGUN
        while True:
            sent += 2**20
            yield bytes(2**20)

    answer = client.post("/predict", content=endless(), headers=FORM)
    assert refused(answer) == (413, "too_large")
    assert sent < 5 * MAX_UPLOAD_BYTES  # some is dropped behind the limit, some lies in buffers


def test_a_slow_upload_is_given_up(models):
    with running(create_app(models, upload_seconds=0.2)) as client:
        more = threading.Event()

        def slow():
            yield BEGUN
            more.wait(0.5)

        assert refused(client.post("/predict", content=slow(), headers=FORM)) == (408, "too_slow")


def test_a_fault_of_the_service_is_told_and_its_text_kept_back(models, monkeypatch, caplog):
    secret = "JANE" + " DOE"  # the traceback quotes this file

    def fail(*args, **kwargs):
        raise RuntimeError(secret)

    monkeypatch.setattr("metseg.serve.service.api.segment", fail)
    with running(create_app(models)) as client:
        answer = segment(client)
        assert client.get("/models").status_code == 200  # it goes on
    assert refused(answer) == (500, "internal_error")
    assert "RuntimeError" in caplog.text and "test_api.py" in caplog.text
    assert "JANE" not in caplog.text + answer.text


def test_a_full_disk_is_told(models, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("metseg.serve.service.api.segment", fail)
    with running(create_app(models)) as client:
        assert refused(segment(client)) == (507, "no_room")


# ---- when it is full ----


@pytest.fixture
def gate(monkeypatch):
    """Holds every slice back until it is set; `begun` counts them."""
    gate = threading.Event()
    gate.begun = 0

    def wait_and_segment(*args, **kwargs):
        gate.begun += 1
        assert gate.wait(30)
        return segment_slice(*args, **kwargs)

    monkeypatch.setattr("metseg.serve.service.api.segment", wait_and_segment)
    yield gate
    gate.set()


def until(client: httpx.Client, figure: str) -> None:
    """Waits until a line is among the service's figures."""
    wait_for(lambda: figure in client.get("/metrics").text.splitlines())


def test_who_finds_no_room_is_told_when_to_come_again(models, gate):
    with (
        running(create_app(models, at_once=1, uploads=3)) as client,
        ThreadPoolExecutor() as pool,
    ):
        inside = [pool.submit(segment, client) for _ in range(3)]  # one in the thread, two that wait
        until(client, "metseg_waiting 2.0")
        answer = segment(client)
        assert refused(answer) == (503, "busy")
        assert answer.headers["retry-after"] == "1"
        assert client.get("/health").status_code == 200  # it is not blocked
        gate.set()
        assert [each.result().status_code for each in inside] == [200] * 3
        until(client, "metseg_waiting 0.0")
        assert segment(client).status_code == 200
        until(client, 'metseg_refused_total{code="busy"} 1.0')


def test_who_waits_for_too_long_is_told_so(models, gate):
    with running(create_app(models, at_once=1, waiting_seconds=0.2)) as client, ThreadPoolExecutor() as pool:
        first = pool.submit(segment, client)
        wait_for(lambda: gate.begun)
        assert refused(segment(client)) == (503, "busy")
        gate.set()
        assert first.result().status_code == segment(client).status_code == 200


def test_who_went_away_while_waiting_is_not_segmented(models, gate):
    with running(create_app(models, at_once=1)) as client, ThreadPoolExecutor() as pool:
        first = pool.submit(segment, client)
        wait_for(lambda: gate.begun)
        with pytest.raises(httpx.ReadTimeout):
            segment(client, timeout=0.5)
        until(client, "metseg_waiting 1.0")
        gate.set()
        assert first.result().status_code == 200
        until(client, 'metseg_requests_total{path="/predict",status="499"} 1.0')
    assert gate.begun == 1


# ---- what it keeps ----


_opened: list[str] = []
_watching = threading.Event()


def _watch(event: str, arguments: tuple) -> None:
    if event == "open" and _watching.is_set():
        path, _, flags = arguments
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            _opened.append(str(path))


sys.addaudithook(_watch)


def test_nothing_of_an_upload_touches_the_disk(client):
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1500, 3), dtype=np.uint8)
    large = as_tiff(noise, photometric="rgb")  # 4.5 MB, above what web frameworks spool to a file
    _opened.clear()
    _watching.set()
    try:
        assert segment(client, large).status_code == 200
        assert refused(segment(client, large[:-9])) == (400, "truncated")
        assert refused(segment(client, large * 4)) == (413, "too_large")
        # A request of that length may bring a volume, and asks for room among the jobs.
        assert [path for path in _opened if not path.endswith(".queued")] == []
        with tempfile.TemporaryFile():
            assert _opened  # it would have been seen
    finally:
        _watching.clear()


def test_requests_are_counted_by_address_and_status(models):
    with running(create_app(models)) as client:
        segment(client)
        segment(client)
        client.post("/predict/", files={"file": PNG}, params={"threshold": 2})
        client.get("/JANE_DOE")
        lines = client.get("/metrics").text.splitlines()
    assert 'metseg_requests_total{path="/predict",status="200"} 2.0' in lines
    assert 'metseg_requests_total{path="/predict",status="422"} 1.0' in lines
    assert 'metseg_requests_total{path="other",status="404"} 1.0' in lines
    assert 'metseg_request_seconds_count{path="/predict"} 3.0' in lines
    assert 'metseg_refused_total{code="invalid_setting"} 1.0' in lines
    assert "metseg_waiting 0.0" in lines


def test_freed_memory_is_given_back_again_and_again(models, monkeypatch):
    given = threading.Semaphore(0)
    monkeypatch.setattr(api, "_TIDY_SECONDS", 0.01)
    monkeypatch.setattr(api, "give_back_memory", given.release)
    with running(create_app(models)):
        assert given.acquire(timeout=30) and given.acquire(timeout=30)
