"""The dashboard as a visitor meets it: headless Chromium, the released networks, files and a dying kernel."""

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
from dashboard_process import process_of, running_dashboard
from fastapi.testclient import TestClient
from phantom_upload import dicom_zip, nifti_files, nifti_of, reference_file, visit
from PIL import Image
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, expect

from metseg.base.paths import project_root, released_dir
from metseg.data.volume import Volume
from metseg.inference.predictor import Predictor
from metseg.masks.components import number_lesions
from metseg.masks.encode import mask_png
from metseg.masks.postprocess import Postprocessing, postprocess
from metseg.release.released import released_models
from metseg.serve.examples import FOLDER
from metseg.serve.service.api import create_app
from metseg.serve.upload import MAX_UPLOAD_BYTES, read_upload

pytestmark = pytest.mark.slow

SLICE, MASK = FOLDER / "ring.png", FOLDER / "ring_mask.png"
RELEASED = released_models(released_dir())
GLIOMA = {name: str(released_dir() / name) for name in RELEASED if name.startswith("lgg-")}
BEST = next(iter(GLIOMA))
expect.set_options(timeout=30_000)  # a machine may have other work


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """Two visits on the server's disk; the later one's FLAIR has a bright lesion more."""
    folder, volume = tmp_path_factory.mktemp("scans"), visit().volume
    (folder / "<img src=x onerror=alert(1)>").mkdir()
    for date, more in (("2023-01-10", 0), ("2024-02-20", 400)):
        (folder / date).mkdir()
        for name, ending in (("t1", "t1"), ("t1c", "t1ce"), ("flair", "flair")):
            array = volume.array[volume.channels.index(name)].astype(np.float32)
            array[2:4, 20:28, 12:20] += more * (name == "flair")
            path = folder / date / f"P7_{date}_{ending}.nii.gz"
            path.write_bytes(nifti_of(array, volume.affine))
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory, scans):
    log = tmp_path_factory.mktemp("dashboard") / "log"
    with running_dashboard(log, max_kernels=4, preheat=2, scans=str(scans), models=GLIOMA) as running:
        yield running
    assert log.read_text() == ""


@pytest.fixture
def page(browser, server) -> Iterator[Page]:
    """The dashboard, just opened; in the end no script may have failed, and nothing come from elsewhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, accept_downloads=True)
    page, complaints = context.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    page.on("request", lambda request: complaints.append(request.url) if is_foreign(request.url) else None)

    def is_foreign(url: str) -> bool:
        return not url.startswith((server.origin, f"blob:{server.origin}", "data:"))

    page.goto(server.address)
    expect(page.get_by_role("button", name="One ring")).to_be_visible(timeout=40_000)
    yield page
    context.close()
    assert complaints == []


def choose(page: Page, path: Path | dict, *, role: str = "slice") -> None:
    page.locator("input[type=file]").nth(0 if role == "slice" else 1).set_input_files(path)


def picture(page: Page) -> np.ndarray:
    """The pixels of the large picture, as the page draws them."""
    image = page.locator(".ms-frame img").first
    expect(image).to_be_visible()
    script = """async (image) => {
      await image.decode();
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      canvas.getContext("2d").drawImage(image, 0, 0);
      return canvas.toDataURL("image/png").split(",")[1];
    }"""
    for last in (False, False, True):
        try:
            png = image.evaluate(script)  # as a list of numbers it would take seconds
            break
        except PlaywrightError:  # it was being replaced by a newer one
            if last:
                raise
            page.wait_for_timeout(200)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"))


def areas(page: Page) -> list[str]:
    return page.locator(".ms-table tbody td:nth-child(2) b").all_inner_texts()


def opened(page: Page, path: Path = SLICE) -> Page:
    choose(page, path)
    expect(page.locator(".ms-chip").first).to_contain_text(path.name)
    expect(page.locator(".ms-frame img").first).to_be_visible()
    return page


# ---- a slice ----


def test_an_uploaded_slice_is_segmented(page):
    expect(page.get_by_text("Research use only · not a medical device")).to_be_visible()
    expect(page.get_by_text("Lower-grade glioma (FLAIR abnormality), not metastasis.")).to_be_visible()
    opened(page)
    shown = picture(page).astype(int)
    slice_, predictor = read_upload(SLICE.read_bytes()).image, Predictor(released_dir() / BEST)
    mask = predictor.mask(Volume.of_slice(slice_))[0]
    tinted = np.abs(shown - shown[..., :1]).max(axis=-1) > 8
    assert mask.any() and np.array_equal(tinted, mask)  # grey outside, tinted inside
    assert areas(page)[0] == f"{number_lesions(mask)[1][1:].max()} px"


def test_an_example_comes_with_its_reference(page):
    example = page.get_by_role("button", name="One ring")
    example.press("Enter")
    expect(page.get_by_role("heading", name="Slice Dice")).to_be_visible()
    expect(example).to_be_focused()
    expect(page.locator(".ms-chip").nth(1)).to_contain_text("as drawn")
    page.get_by_role("tab", name="Reference").click()
    expect(page.locator(".ms-legend")).to_have_text("in bothextramissed")
    opened(page, FOLDER / "several.png")  # which has nothing to be compared with, and is seen all the same
    expect(page.get_by_role("tab", name="Mask")).to_have_attribute("aria-selected", "true")
    assert picture(page).any()
    example.click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", name="Slice Dice")).to_be_hidden()
    page.get_by_role("tab", name="Reference").click()
    expect(page.get_by_text("Add a reference mask to see")).to_be_visible()
    expect(page.get_by_label("Add a reference mask …")).to_be_visible()


# ---- a volume ----


def files_of(contents: Mapping[str, bytes]) -> list[dict]:
    return [{"name": name, "mimeType": "", "buffer": content} for name, content in contents.items()]


def download(page: Page) -> tuple[str, zipfile.ZipFile]:
    with page.expect_download(timeout=60_000) as caught:
        page.get_by_role("button", name="Download ZIP").locator("visible=true").click()
    return caught.value.suggested_filename, zipfile.ZipFile(caught.value.path())


def test_a_volume_goes_from_its_files_to_its_report(page):
    caution = page.get_by_text("Lower-grade glioma (FLAIR abnormality), not metastasis.")
    page.locator("input[type=file]").first.set_input_files(files_of(nifti_files()))
    expect(page.locator(".ms-chip").first).to_contain_text("48 × 48 × 6 voxels", timeout=60_000)
    expect(page.locator("canvas").first).to_be_visible()
    expect(page.get_by_text("t1c is P7-t1c.nii.gz: by its name.")).to_be_visible()
    expect(caution).to_be_visible()
    page.get_by_text("FLAIR", exact=True).locator("visible=true").first.click()
    page.locator("canvas").first.press("ArrowUp")
    expect(page.locator("canvas").first).to_have_attribute("aria-valuetext", re.compile("slice . of 6"))

    page.locator("input[type=file]").nth(1).set_input_files(
        files_of({"reference.nii.gz": reference_file()})[0]
    )
    expect(page.get_by_text("Dice = 2 · |mask ∩ reference|")).to_be_visible()
    expect(page.locator(".ms-of-scan .ms-agreement b")).to_have_text(re.compile(r"0\.\d{3}"))
    name, archive = download(page)
    assert name == "P7_metseg.zip"
    assert {"P7_mask.nii.gz", "P7_report/report.html", "P7_report/report.pdf"} <= {*archive.namelist()}

    page.locator("input[type=file]").first.set_input_files(files_of({"case.zip": dicom_zip()}))
    expect(page.get_by_text("DICOM SEG, SR and RTSTRUCT")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Dice = 2 · |mask ∩ reference|")).to_be_hidden()
    for sequence, other in (("t1", "t1_mprage_Gd (6 slices)"), ("t1c", "t1_mprage (6 slices)")):
        page.locator(f"select[name={sequence}]").select_option(label=other)
    page.get_by_role("button", name="Read again").click()
    expect(page.locator(".ms-of-scan .ms-plain-notes")).to_contain_text("as you say", timeout=60_000)

    page.get_by_role("button", name="One ring").click()
    expect(page.locator(".ms-frame img").first).to_be_visible()
    expect(page.locator("canvas").first).to_be_hidden()
    assert list(Path(tempfile.gettempdir()).glob("metseg-dashboard-*/metseg-*")) == []


def open_there(page: Page, date: str) -> None:
    page.get_by_role("button", name="Open from the server …").click()
    if (top := page.get_by_role("button", name="All", exact=True)).is_visible():
        top.click()
    page.get_by_role("button", name=f"{date} folder").click()
    page.get_by_role("button", name=f"P7_{date} flair, t1, t1c").click()
    expect(page.locator(".ms-chip").first).to_contain_text(f"3 files of {date}48", timeout=60_000)


def test_two_visits_on_the_server_are_compared(page):
    page.get_by_role("button", name="Open from the server …").click()
    expect(page.get_by_role("button", name="<img src=x onerror=alert(1)> folder")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    open_there(page, "2024-02-20")
    page.get_by_role("button", name="Keep this scan").click()
    expect(page.get_by_text("Now open the other visit.")).to_be_visible()
    open_there(page, "2023-01-10")
    panel, result = page.locator(".ms-side").last, page.locator(".ms-follow-up")
    expect(panel).to_contain_text(
        "Their names say otherwise"
    )  # the kept visit is the earlier one unless told
    panel.get_by_text("later", exact=True).click()
    expect(result).to_contain_text("From 2023-01-10 to 2024-02-20")
    expect(result).to_contain_text("by RANO-BM, imaging part")
    _, archive = download(page)
    assert "follow_up/P7_2024-02-20_report/report.pdf" in archive.namelist()
    page.get_by_role("button", name="Remove").locator("visible=true").click()
    expect(result).to_be_hidden()


def test_moving_the_threshold_by_keyboard_changes_the_mask_and_no_size_is_taken_that_cannot_be(page):
    opened(page)
    before, sizes = picture(page), areas(page)
    threshold = Predictor(released_dir() / BEST).postprocessing.threshold
    slider = page.get_by_label("Threshold")
    slider.focus()
    slider.press("Home")
    expect(page.locator("output").first).to_have_text("0.01")
    expect(page.locator(".ms-table tbody td:nth-child(2) b").first).not_to_have_text(sizes[0])
    assert not np.array_equal(picture(page), before)
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(page.locator("output").first).to_have_text(f"{threshold:.2f}")
    expect(page.locator(".ms-table tbody td:nth-child(2) b").first).to_have_text(sizes[0])
    assert np.array_equal(picture(page), before)
    field = page.get_by_label("Smallest lesion, px")
    for typed, taken in (("200000", "100000"), ("-3", "0"), ("1.5", "2")):
        field.fill(typed)
        expect(field).to_have_value(taken)
        field.blur()
        expect(field).to_have_value(taken)


def test_a_row_picks_its_lesion_by_mouse_and_by_keyboard(page):
    page.get_by_role("button", name="Several").click()
    rows, picked = page.locator(".ms-table tbody tr"), page.locator("path.ms-picked")
    expect(rows.first).to_be_visible()
    expect(picked).to_have_count(0)
    rows.first.hover()
    expect(picked).to_have_count(1)  # pointing is enough to see which one it is
    page.get_by_role("heading", name="Lesions").hover()
    expect(picked).to_have_count(0)
    rows.first.click()
    page.get_by_role("heading", name="Lesions").hover()
    expect(rows.first).to_have_attribute("aria-selected", "true")
    expect(picked).to_have_count(1)
    page.keyboard.press("Escape")
    expect(picked).to_have_count(0)
    page.keyboard.press("Enter")
    expect(picked).to_have_count(1)
    picked.click(force=True)  # a lesion in the picture picks its row
    expect(rows.first).to_have_attribute("aria-selected", "true")


def test_the_download_is_byte_for_byte_what_the_service_answers(page):
    opened(page)
    slider = page.get_by_label("Threshold")
    slider.fill("0.2")
    page.get_by_label("Smallest lesion, px").fill("30")
    page.get_by_label("Fill holes").check()
    expect(page.locator("output").first).to_have_text("0.20")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download ZIP").click()
    assert re.fullmatch(r"ring_metseg_[0-9a-f]{8}\.zip", download.value.suggested_filename)
    with zipfile.ZipFile(download.value.path()) as zipped:
        names, mask = zipped.namelist(), zipped.read("mask.png")
    assert names == ["mask.png", "mask.tif", "overlay.png", "lesions.csv", "settings.json"]
    settings = {"threshold": 0.2, "min_lesion_px": 30, "fill_holes": True}
    (prob_map,) = Predictor(released_dir() / BEST).prob_map(read_upload(SLICE.read_bytes()).volume)
    assert mask == mask_png(postprocess(prob_map, Postprocessing(**settings)))
    with TestClient(create_app({BEST: Path(GLIOMA[BEST])})) as service:
        fields = {name: str(value).lower() for name, value in settings.items()}
        answer = service.post(
            "/predict", files={"file": SLICE.read_bytes()}, data=fields, headers={"Accept": "image/png"}
        )
    assert answer.status_code == 200 and answer.content == mask


def test_every_picture_channel_and_network_can_be_shown(page):
    opened(page)
    slice_ = read_upload(SLICE.read_bytes()).image
    page.get_by_role("tab", name="Original").click()
    assert np.array_equal(picture(page)[..., 0], slice_[..., 1])
    page.get_by_text("colour", exact=True).click()
    expect(page.get_by_role("radio", name="colour")).to_be_checked()
    expect(page.get_by_role("img", name="The slice, colour")).to_be_visible()
    assert np.array_equal(picture(page), slice_)
    page.get_by_role("tab", name="Original").press("ArrowRight")
    expect(page.get_by_role("tab", name="CLAHE")).to_be_focused()
    expect(page.get_by_role("img", name="The slice after CLAHE, colour")).to_be_visible()
    page.get_by_role("tab", name="Mask").click()
    page.get_by_label("Side by side").check()
    labels = [
        f"Glioma (FLAIR) · {network} on EfficientNet-Lite0" for network in ("Attention U-Net", "U-Net++")
    ]
    expect(page.locator("figcaption")).to_have_text(labels)
    expect(page.locator(".ms-footer li")).to_have_count(2)
    page.get_by_role("tab", name="Gates").click()
    expect(page.locator("figcaption").first).to_have_text(f"{labels[0]}, gate 1 (coarsest)")
    expect(page.get_by_text(f"{labels[1]} has no attention gates.")).to_be_visible()


def test_sizes_are_in_mm_where_the_file_tells_them_and_else_in_px(page):
    page.get_by_role("button", name="Like a glioma").click()
    expect(page.locator(".ms-notes").first).to_contain_text("nobody's head")
    expect(page.locator(".ms-agreement b").first).to_have_text(re.compile(r"^0\.9"))  # networks know it
    page.get_by_role("button", name="Several").click()
    expect(page.locator(".ms-table tbody td:nth-child(2) b").first).to_have_text("945\u00a0mm²")
    expect(page.locator(".ms-table tbody tr")).to_have_count(3)
    page.get_by_label("Smallest lesion, mm²").fill("300.5")
    expect(page.locator(".ms-table tbody tr")).to_have_count(2)  # the third has 269 mm²
    opened(page)
    expect(page.get_by_label("Smallest lesion, px")).to_have_value("0")
    expect(page.locator(".ms-notes").first).to_contain_text("no longer 300.5 mm²")
    expect(page.get_by_text("In pixels: the file does not tell how large one is.")).to_be_visible()


# ---- looking closer ----


def placed(page: Page) -> list[float]:
    """Where the large picture is in its frame: px of the frame, of the picture, of its corner."""
    script = """() => {
      const frame = document.querySelector(".ms-frame"), image = frame?.querySelector("img");
      if (!image) return null;
      const [a, b] = [image, frame].map((each) => each.getBoundingClientRect());
      return b.width && [b.width, a.width, a.left - b.left, a.top - b.top];
    }"""
    return page.wait_for_function(script).json_value()  # drawn anew, the frame is nowhere for a moment


def scale(page: Page) -> float:
    """How many times as wide as its frame the large picture is."""
    whole, width, *_ = placed(page)
    return width / whole


def corner(page: Page) -> tuple[float, float]:
    """Where the picture's upper left corner is, px from its frame's."""
    return tuple(placed(page)[2:])


def test_window_and_level_by_keyboard_change_the_picture_alone(page):
    opened(page)
    page.get_by_role("tab", name="Original").click()
    before, sizes = picture(page), areas(page)
    window = page.get_by_label("Window")
    window.focus()
    window.press("Home")  # a window of one grey value: black below the level, white above
    expect(page.locator(".ms-grey output").first).to_have_text("1")
    page.wait_for_timeout(500)
    assert set(np.unique(picture(page))) <= {0, 255} and np.unique(before).size > 100
    assert np.array_equal(picture(page) == 255, before > 127) and areas(page) == sizes
    page.get_by_role("tab", name="Probability").click()
    expect(window).to_be_disabled()  # its colours are not the slice's
    page.get_by_role("tab", name="Original").click()
    page.get_by_role("button", name="Reset view").click()
    expect(page.locator(".ms-grey output").first).to_have_text("255")
    page.wait_for_timeout(500)
    assert np.array_equal(picture(page), before)
    expect(page.get_by_role("button", name="Reset view")).to_be_disabled()


def test_zoom_by_buttons_and_keys_and_mouse(page):
    opened(page)
    assert scale(page) == pytest.approx(1)
    page.get_by_role("button", name="Zoom in").click()
    assert scale(page) == pytest.approx(1.5, rel=0.01)
    page.get_by_label("Threshold").fill("0.3")  # a picture that is drawn anew is as large
    page.get_by_role("tab", name="CLAHE").click()
    assert scale(page) == pytest.approx(1.5, rel=0.01)
    area = page.get_by_role("tabpanel")
    area.focus()
    page.keyboard.press("+")
    assert scale(page) == pytest.approx(1.875, rel=0.01)
    x, y = corner(page)
    page.keyboard.press("ArrowRight")
    assert corner(page)[0] < x and corner(page)[1] == pytest.approx(y)
    page.keyboard.press("0")
    assert scale(page) == pytest.approx(1) and corner(page) == pytest.approx((0, 0), abs=0.1)

    box = page.locator(".ms-frame").first.bounding_box()
    left, top = box["x"] + box["width"] / 4, box["y"] + box["height"] / 4
    page.mouse.move(left, top)
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(200)
    grown = scale(page)
    assert grown > 1.5
    expected = -(grown - 1) * box["width"] / 4  # what was under the pointer still is
    assert corner(page)[0] == pytest.approx(expected, abs=2)
    page.mouse.down()
    page.mouse.move(left + 30, top + 20, steps=5)
    page.mouse.up()
    assert corner(page) == pytest.approx((expected + 30, expected * box["height"] / box["width"] + 20), abs=4)
    page.get_by_role("button", name="Reset view").click()
    assert scale(page) == pytest.approx(1)
    page.get_by_role("button", name="Zoom in").click()
    opened(page, FOLDER / "several.png")
    assert scale(page) == pytest.approx(1)  # another slice is seen whole


def test_two_fingers_zoom_the_picture(browser, server):
    with browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True) as context:
        page = context.new_page()
        page.goto(server.address)
        expect(page.get_by_role("button", name="One ring")).to_be_visible(timeout=40_000)
        opened(page)
        box = page.locator(".ms-frame").first.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        fingers = context.new_cdp_session(page)
        for kind, apart in (("touchStart", 20), ("touchMove", 30), ("touchMove", 40), ("touchEnd", None)):
            points = [{"x": x + side * apart, "y": y, "id": side} for side in (-1, 1)] if apart else []
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.wait_for_timeout(200)
        assert scale(page) == pytest.approx(2, rel=0.1)
        assert page.evaluate("visualViewport.scale") == 1  # not the page


# ---- what can go wrong ----


def test_files_that_cannot_be_used_are_told_in_a_sentence(page, tmp_path):
    alert = page.get_by_role("alert")
    choose(page, {"name": "notes.png", "mimeType": "image/png", "buffer": b"hello " * 99})
    expect(alert).to_contain_text("notes.png is no image or is truncated; expected TIFF, PNG or JPEG")
    whole = io.BytesIO()
    tifffile.imwrite(whole, read_upload(SLICE.read_bytes()).image, photometric="rgb")
    choose(page, {"name": "cut.tif", "mimeType": "image/tiff", "buffer": whole.getvalue()[:9999]})
    expect(alert).to_contain_text("cut.tif is truncated or damaged; copy it again from its source")
    assert "Traceback" not in page.inner_text("body")
    opened(page)
    expect(alert).to_be_hidden()
    small = tmp_path / "small.png"
    Image.fromarray(np.zeros((50, 40), np.uint8)).save(small)
    choose(page, small, role="reference")
    expect(page.get_by_role("alert")).to_contain_text("small.png is 40 × 50 px but the slice is 160 × 160")
    choose(page, MASK, role="reference")
    expect(page.get_by_role("heading", name="Slice Dice")).to_be_visible()


def test_a_file_that_is_too_large_is_not_even_sent_and_one_dropped_anywhere_is_taken(page, tmp_path):
    sent = []
    page.on("websocket", lambda socket: sent.append(socket))
    large = tmp_path / "large.tif"
    large.write_bytes(b"II*\0" + bytes(MAX_UPLOAD_BYTES))
    choose(page, large)
    expect(page.get_by_role("alert")).to_contain_text("large.tif has 16.1 MB; the most is 16 MB.")
    expect(page.get_by_role("progressbar")).to_be_hidden()
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_role("alert")).to_be_hidden()
    script = """async (element, bytes) => {
      const file = new File([new Uint8Array(bytes)], "dropped.png");
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(file);
      for (const type of ["dragover", "drop"]) {
        element.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer }));
      }
    }"""
    page.locator(".ms-centre").evaluate(script, list(SLICE.read_bytes()))
    expect(page.locator(".ms-chip").first).to_contain_text("dropped.png")
    expect(page.locator(".ms-frame img").first).to_be_visible()


def test_the_largest_file_that_is_allowed_arrives(page, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), dtype=np.uint8)
    large = tmp_path / "large.tif"
    tifffile.imwrite(large, pixels, photometric="rgb")  # 12 MB, more than a websocket takes by default
    choose(page, large)
    expect(page.locator(".ms-chip").first).to_contain_text("2000 × 2000 px", timeout=60_000)
    expect(page.locator(".ms-frame img").first).to_be_visible()


def test_a_lost_kernel_is_told_with_what_to_do(page):
    opened(page)
    kernel = page.evaluate("JSON.parse(document.getElementById('dashboard-page').textContent).kernelId")
    os.kill(process_of(kernel), signal.SIGKILL)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("This session has ended")
    expect(alert).to_contain_text("Reload the page to start anew; the scan and the settings are not kept.")
    page.get_by_role("button", name="Reload").click()
    expect(page.get_by_role("button", name="One ring")).to_be_visible(timeout=40_000)
    expect(page.get_by_role("alert")).to_be_hidden()


class Link:
    """The page's way to the server.

    Attributes:
        up: Whether there is one. While there is none, all that is sent is lost without a word.
        deaf: Whether what the server sends is lost.
    """

    def __init__(self, page: Page):
        self.up, self.deaf, self._sockets = True, False, []
        page.route_web_socket(re.compile("/channels"), self._open)
        page.route(re.compile(r"/api/kernels/[\w-]+$"), self._answer)

    def _open(self, socket) -> None:
        self._sockets.append(socket)
        if not self.up:
            return socket.close()
        server = socket.connect_to_server()
        socket.on_message(lambda message: server.send(message) if self.up else None)
        server.on_message(lambda message: socket.send(message) if self.up and not self.deaf else None)

    def _answer(self, route) -> None:
        route.continue_() if self.up else route.abort()

    def close(self) -> None:
        self._sockets[-1].close()


@pytest.fixture
def linked(browser, server) -> Iterator[tuple[Page, Link]]:
    with browser.new_context(accept_downloads=True) as context:
        page = context.new_page()
        link = Link(page)
        page.clock.install()  # it goes as ever until a test hurries it
        page.goto(server.address)
        expect(page.get_by_role("button", name="One ring")).to_be_visible(timeout=40_000)
        yield page, link


def test_what_is_done_while_the_connection_is_lost_is_done_when_it_is_back(linked):
    page, link = linked
    opened(page)
    alert, first = page.get_by_role("alert"), page.locator(".ms-table tbody td:nth-child(2) b").first
    before = areas(page)
    link.up = False
    page.get_by_label("Threshold").fill("0.7")
    link.close()
    expect(alert).to_contain_text("The connection to the server is lost. Trying again …")
    page.get_by_label("Threshold").fill("0.9")
    page.get_by_label("Fill holes").check()
    link.up = True
    expect(alert).to_be_hidden()
    expect(first).not_to_have_text(before[0])
    expect(page.locator("output").first).to_have_text("0.90")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download ZIP").click()
    with zipfile.ZipFile(download.value.path()) as zipped:
        settings = json.loads(zipped.read("settings.json"))["settings"]
        mask = zipped.read("mask.png")
    assert (settings["threshold"], settings["fill_holes"]) == (0.9, True)
    (prob_map,) = Predictor(released_dir() / BEST).prob_map(read_upload(SLICE.read_bytes()).volume)
    assert mask == mask_png(postprocess(prob_map, Postprocessing(threshold=0.9, fill_holes=True)))


@pytest.mark.parametrize("lost", ["the piece", "the answer to it"])
def test_an_upload_whose_connection_is_cut_arrives_when_it_is_back(linked, lost):
    page, link = linked
    opened(page)
    link.up, link.deaf = lost != "the piece", True
    choose(page, FOLDER / "several.png")
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.wait_for_timeout(500)  # time for the server to answer
    expect(page.locator(".ms-chip").first).to_contain_text("ring.png")
    link.close()
    link.up, link.deaf = True, False
    expect(page.locator(".ms-chip").first).to_contain_text("several.png")
    expect(page.get_by_role("progressbar")).to_be_hidden()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_connection_that_goes_without_a_word_is_missed_and_mended(linked):
    page, link = linked
    opened(page)
    link.up = False
    page.get_by_label("Threshold").fill("0.01")
    alert = page.get_by_role("alert")
    page.wait_for_timeout(500)  # time for it to be sent
    page.clock.fast_forward(20_000)
    expect(alert).to_contain_text("The connection to the server is lost", timeout=25_000)
    link.up = True
    expect(alert).to_be_hidden()
    expect(page.get_by_role("button", name="Reset", exact=True)).to_be_enabled()
    expect(page.locator("output").first).to_have_text("0.01")


def test_it_works_in_a_page_that_brings_anywidget_itself(browser, tmp_path):
    """Voilà's own page, with the parts that JupyterLab has too."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "voila", str(project_root() / "notebooks" / "dashboard.ipynb")]
    options = ["--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1", "--Voila.log_level=ERROR"]
    log = (tmp_path / "log").open("wb")
    voila = subprocess.Popen([*command, *options], stderr=log, cwd=tmp_path)
    try:
        with browser.new_context() as context:
            page = context.new_page()
            page.route(re.compile(r"^https://"), lambda route: route.abort())  # fonts that it does not need
            for _ in range(100):
                try:
                    page.goto(f"http://127.0.0.1:{port}/", wait_until="commit")
                    break
                except PlaywrightError:  # it is not listening yet
                    time.sleep(0.2)
            page.get_by_role("button", name="One ring").click(timeout=120_000)
            expect(page.locator(".ms-frame img").first).to_be_visible()
            opened(page, FOLDER / "several.png")
            page.get_by_label("Threshold").fill("0.01")
            expect(page.get_by_role("button", name="Reset", exact=True)).to_be_enabled()
            children = psutil.Process(voila.pid).children()
            (kernel,) = [child for child in children if "ipykernel_launcher" in child.cmdline()]
            kernel.kill()
            expect(page.get_by_role("alert")).to_contain_text("This session has ended", timeout=40_000)
    finally:
        voila.terminate()
        voila.wait(20)
        log.close()


# ---- looks ----


def test_it_fits_a_small_laptop_and_a_telephone_where_the_picture_comes_first(page):
    opened(page)
    for width, height in ((1280, 720), (1024, 768), (400, 800)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 1280, "height": 720})
    for control in (page.get_by_label("Opacity of the mask"), page.get_by_role("tab", name="Mask")):
        box = control.bounding_box()
        assert box["y"] + box["height"] <= 720  # all of it can be used without scrolling
    script = """() => [...document.querySelectorAll("input, select, button")].filter((each) =>
      !each.labels?.length && !each.getAttribute("aria-label") && !each.textContent.trim() && !each.title
    ).map((each) => each.outerHTML)"""
    assert page.evaluate(script) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="Like a glioma").click()
    image = page.locator(".ms-frame img").first
    expect(image).to_be_in_viewport(ratio=1)  # though the example was chosen below it
    tops = [each.bounding_box()["y"] for each in (image, page.get_by_label("Threshold"))]
    assert tops[0] < tops[1]
