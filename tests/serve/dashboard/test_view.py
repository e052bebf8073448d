"""The widgets without a browser: what one would send goes in, and what one would get comes out."""

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import nbformat
import numpy as np
import pytest
from dashboard_models import CountingPredictor, png, slice_with_lesions, write_released
from tiny_runs import change_description

from metseg.masks.encode import mask_png, overlay
from metseg.masks.postprocess import Postprocessing, postprocess
from metseg.serve.dashboard.view import Dashboard
from metseg.serve.upload import MAX_UPLOAD_BYTES

NOTEBOOK = Path(__file__).resolve().parents[3] / "notebooks" / "dashboard.ipynb"
SLICE = png(slice_with_lesions())


@pytest.fixture
def sent(monkeypatch) -> list[tuple[Dashboard, dict, list]]:
    """What the kernel sends to the browser: the part, the message, its buffers."""
    messages = []
    keep = lambda part, message, buffers=None: messages.append((part, message, buffers))  # noqa: E731
    monkeypatch.setattr(Dashboard, "_send", keep)
    return messages


@pytest.fixture
def dashboard(tmp_path, monkeypatch, sent) -> Dashboard:
    monkeypatch.setattr(CountingPredictor, "runs", [])
    monkeypatch.setattr(CountingPredictor, "loaded", [])
    return Dashboard(write_released(tmp_path / "released"), predictor=CountingPredictor)


@pytest.fixture
def opened(dashboard) -> Dashboard:
    upload(dashboard, SLICE)
    return dashboard


def tell(part: Dashboard, kind: str, buffers=(), **content) -> None:
    """Sends a message as a browser would."""
    part._handle_custom_msg({"kind": kind, **content}, list(buffers))


def upload(
    dashboard: Dashboard, data: bytes, name: str = "slice.png", *, role: str = "slice", number=1, pieces=1
) -> None:
    size = -(-len(data) // pieces)
    for start in range(0, len(data), size):
        piece = {"upload": number, "role": role, "name": name, "start": start, "size": len(data)}
        tell(dashboard, "piece", [memoryview(data[start : start + size])], **piece)


def pixels(file: bytes) -> np.ndarray:
    """An RGB or grey PNG file's pixels."""
    read = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
    return read[..., ::-1] if read.ndim == 3 else read


# ---- the start ----


def test_the_page_is_there_before_any_network(dashboard):
    assert CountingPredictor.loaded == [] and dashboard.original == b""
    (about,) = dashboard.about
    assert about["label"] == "U-Net++ on EfficientNet-Lite0" and about["score"] == "validation Dice 0.90"
    assert about["caution"].startswith("Test scans")
    assert [each["label"] for each in dashboard.choices] == [
        "U-Net++ on EfficientNet-Lite0",
        "Attention U-Net",
    ]
    assert dashboard.limit_bytes == MAX_UPLOAD_BYTES


def test_a_network_that_needs_whole_volumes_says_what_it_is_worth_without(tmp_path, sent):
    folder = write_released(tmp_path / "released")
    description = folder / "nested_unet" / "model.json"
    record = json.loads(description.read_text()) | {"validation_dice_single_slices": 0.71}
    description.write_text(json.dumps(record))
    assert Dashboard(folder).about[0]["score"] == "validation Dice 0.71 (single slices)"


def test_once_it_is_seen_it_shows_examples_and_loads_the_network(dashboard):
    tell(dashboard, "ready")
    assert CountingPredictor.loaded == CountingPredictor.runs == ["nested_unet"]  # its first run is slow
    assert [each["name"] for each in dashboard.examples] == ["glioma", "ring", "frontal", "several"]
    assert all(pixels(each["picture"]).shape == (96, 96) for each in dashboard.examples)


def test_an_interrupt_while_the_network_loads_is_let_pass(dashboard, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    interrupt = lambda name: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
    monkeypatch.setattr(dashboard.networks, "warm_up", interrupt)
    tell(dashboard, "ready")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_network_that_cannot_be_loaded_is_a_sentence_without_a_path(dashboard, tmp_path):
    (tmp_path / "released" / "nested_unet" / "model.onnx").unlink()
    tell(dashboard, "ready")
    assert dashboard.message == "This network cannot be loaded; tell whoever runs the server."


def test_the_kernel_of_the_notebook_stays_small():
    """TensorFlow alone would cost a visitor seconds and half a gigabyte."""
    cells = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    cells[-1] = "dashboard = " + cells[-1]
    used = (
        "for part, message in ((dashboard, {'kind': 'ready'}),"
        " (dashboard, {'kind': 'example', 'name': 'ring'})):\n"
        "    part._handle_custom_msg(message, [])\n"
        "assert not dashboard.message and dashboard.tables\n"
        "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    code = "\n".join([*cells, used])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=NOTEBOOK.parent)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "anywidget" in loaded and loaded & {"onnxruntime", "openvino"}
    assert loaded & {"tensorflow", "keras", "scipy", "pandas", "matplotlib", "seaborn", "voila"} == set()


def test_the_notebook_is_thin():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert len(code) <= 4 and all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert not any("def " in cell.source or "class " in cell.source for cell in code)


# ---- files ----


@pytest.mark.parametrize("pieces", [1, 3])
def test_an_upload_is_drawn(dashboard, pieces):
    upload(dashboard, SLICE, pieces=pieces)
    stage, image = dashboard, slice_with_lesions()
    mask = image[..., 1] == 255
    assert stage.size == (32, 32) and stage.labels == ["U-Net++ on EfficientNet-Lite0"]
    assert np.array_equal(pixels(stage.original), image[..., 1])
    assert np.array_equal(pixels(stage.contrast), image[..., 1])  # this network's clip limit is 0
    assert np.array_equal(pixels(stage.overlay[0]), overlay(image[..., 1], mask, opacity=0.35))
    assert pixels(stage.heat[0])[5, 5].tolist() == [252, 255, 164]  # the colour of probability 1
    assert stage.comparison == [] and stage.gates == []
    (table,) = dashboard.tables
    assert table["network"] == "U-Net++ on EfficientNet-Lite0" and table["more"] == 0
    assert [lesion["area_px"] for lesion in table["lesions"]] == [16, 4]
    details = "32 × 32 px, of unknown size"
    assert dashboard.slice_file == {"name": "slice.png", "details": details, "notes": []}
    assert dashboard.message == ""


def test_a_slice_unlike_the_training_is_shown_with_a_note_of_the_network(tmp_path, sent):
    released = write_released(tmp_path)
    unlike = {"patients": 9, "volume": {}, "slice": {"corners": [-0.9, -0.8]}}
    change_description(released / "nested_unet", trust=unlike)
    dashboard = Dashboard(released, predictor=CountingPredictor)
    upload(dashboard, png(np.maximum(slice_with_lesions(), 40)))
    (note,) = dashboard.slice_file["notes"]
    assert "may mean nothing" in note and "corners" in note and dashboard.message == ""
    assert len(dashboard.tables[0]["lesions"]) == 2
    dashboard.set_state({"network": "attention_unet"})
    assert dashboard.slice_file["notes"] == []


def test_every_piece_is_confirmed(dashboard, sent):
    upload(dashboard, SLICE, pieces=3, number=7)
    upload(dashboard, b"no image", number=8)
    states = [message["state"] for _, message, _ in sent if message["method"] == "update"]
    arrived = [state["arrived"] for state in states if "arrived" in state]
    assert [(each["upload"], each["file"]) for each in arrived] == [(7, 0)] * 3 + [(8, 0)]
    assert arrived[2]["end"] == len(SLICE) and arrived[0]["end"] < arrived[1]["end"] < len(SLICE)
    assert dashboard.arrived == {"upload": 8, "file": 0, "end": len(b"no image")}


def test_a_newer_file_takes_the_place_of_an_unfinished_one(dashboard):
    first, second = {"upload": 1, "name": "first.png"}, {"upload": 2, "name": "second.png"}
    half = len(SLICE) // 2
    common = {"role": "slice", "size": len(SLICE)}
    tell(dashboard, "piece", [SLICE[:half]], **first, **common, start=0)
    tell(dashboard, "piece", [SLICE[:half]], **second, **common, start=0)
    tell(dashboard, "piece", [SLICE[half:]], **first, **common, start=half)
    assert dashboard.upload is None
    tell(dashboard, "piece", [SLICE[half:]], **second, **common, start=half)
    assert dashboard.file_name == "second.png" and dashboard.message == ""


@pytest.mark.parametrize("size", [MAX_UPLOAD_BYTES + 1, 5])
def test_no_more_is_taken_than_the_limit(dashboard, monkeypatch, size):
    dashboard.limit_bytes = 10
    piece = {"upload": 1, "role": "slice", "name": "slice.png", "start": 0, "size": size}
    tell(dashboard, "piece", [b"12345678901"], **piece)
    assert dashboard.message.startswith("slice.png is larger than")


def test_a_wrong_file_is_a_sentence_and_the_slice_stays(opened):
    before = opened.overlay
    upload(opened, b"hello", "text.png", number=2)
    assert opened.message == "text.png is no image or is truncated; expected TIFF, PNG or JPEG"
    assert opened.overlay is before and opened.file_name == "slice.png"
    upload(opened, SLICE, "good.png", number=3)
    assert opened.message == ""


def test_what_nobody_foresaw_is_a_sentence_and_the_log_quotes_nothing(opened, monkeypatch, caplog):
    def fail(self, image, **_):
        raise ValueError("Jane Doe's scan.png holds 417")

    monkeypatch.setattr(CountingPredictor, "prob_maps", fail)
    upload(opened, SLICE, "Jane Doe.png", number=2)
    assert opened.message.startswith("Something went wrong inside the dashboard.")
    assert "the dashboard failed: ValueError at" in caplog.text and "in fail" in caplog.text
    # The source of the frame above holds the text of this test alone, not what was raised.
    assert all(record.exc_info is None for record in caplog.records)
    opened.set_state({"network": "Jane Roe"})
    assert "TraitError at" in caplog.text and "Jane Roe" not in caplog.text


def test_who_leaves_while_a_library_is_loaded_leaves_no_line_in_the_log(opened, monkeypatch, caplog):
    def fail(self, image, **_):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error

    monkeypatch.setattr(CountingPredictor, "prob_maps", fail)
    upload(opened, SLICE, "next.png", number=2)
    assert caplog.text == "" and opened.message == ""


def test_a_network_that_is_damaged_is_a_sentence(opened, tmp_path):
    (tmp_path / "released" / "attention_unet" / "model.onnx").write_bytes(b"damaged")
    opened.set_state({"network": "attention_unet"})
    assert opened.message == "This network cannot be loaded; tell whoever runs the server."
    assert opened.tables == [] and opened.overlay == []


@pytest.mark.parametrize("values", [{"threshold": 7}, {"network": "../../secret"}, {"min_lesion": "x"}])
def test_nonsense_from_a_browser_is_refused(opened, values):
    opened.set_state(values)
    assert opened.message.startswith("Something went wrong")
    assert opened.settings == Postprocessing() and opened.network == "nested_unet"


# ---- controls ----


def test_moving_a_control_redraws_without_the_network(opened):
    before = opened.overlay[0]
    opened.set_state({"threshold": 0.4})
    assert opened.overlay[0] != before and len(opened.outlines[0]) == 3
    assert [lesion["area_px"] for lesion in opened.tables[0]["lesions"]] == [16, 9, 4]
    opened.set_state({"min_lesion": 10, "fill_holes": True, "opacity": 1.0})
    mask = slice_with_lesions()[..., 1] == 255
    mask[20:22, 20:22] = False
    expected = overlay(slice_with_lesions()[..., 1], mask, opacity=1.0)
    assert np.array_equal(pixels(opened.overlay[0]), expected)
    assert CountingPredictor.runs == ["nested_unet"]


def test_reset_goes_back_and_says_whether_there_is_anything_to_reset(opened):
    assert not opened.changed
    opened.set_state({"opacity": 0.9})
    assert opened.changed
    tell(opened, "reset")
    assert not opened.changed and opened.opacity == 0.35


def test_channels_are_shown_one_by_one_and_as_colours(opened):
    image = slice_with_lesions()
    opened.set_state({"channel": "post-contrast"})
    assert np.array_equal(pixels(opened.original), image[..., 2])
    opened.set_state({"channel": "colour"})
    assert np.array_equal(pixels(opened.original), image)
    assert CountingPredictor.runs == ["nested_unet"]


def test_window_and_level_change_what_is_seen_and_nothing_else(opened):
    stage, image = opened, slice_with_lesions()
    before = {name: getattr(stage, name) for name in ("contrast", "heat", "outlines")}
    stage.set_state({"window": 127.5, "level": 63.75})
    shown = np.where(image[..., 1] == 127, 254, image[..., 1]).astype(np.uint8)  # grey 127 becomes 254
    assert np.array_equal(pixels(stage.original), shown)
    mask = image[..., 1] == 255
    assert np.array_equal(pixels(stage.overlay[0]), overlay(shown, mask, opacity=0.35))
    assert before == {name: getattr(stage, name) for name in before}
    assert CountingPredictor.runs == ["nested_unet"] and not opened.changed
    tell(stage, "reset window")
    assert (stage.window, stage.level) == (255, 127.5)
    assert np.array_equal(pixels(stage.original), image[..., 1])


def test_a_new_slice_is_shown_though_the_last_one_was_compared_with_its_reference(opened):
    upload(opened, png(np.zeros((32, 32), np.uint8)), "mask.png", role="reference")
    opened.set_state({"view": "comparison"})
    upload(opened, SLICE, "second.png", number=2)
    assert opened.view == "overlay" and opened.number == 2
    tell(opened, "example", name="ring")
    opened.set_state({"view": "comparison"})
    tell(opened, "example", name="several")  # which brings a reference of its own
    assert opened.view == "comparison" and len(opened.comparison) == 1


def test_sizes_are_in_mm_where_the_file_tells_them(dashboard):
    upload(dashboard, SLICE)
    assert dashboard.unit == "px" and dashboard.pixel_mm2 == 0
    tell(dashboard, "example", name="ring")
    assert dashboard.unit == "mm²" and dashboard.pixel_mm2 == 1.5625
    assert dashboard.slice_file["details"] == "160 × 160 px, 1.25 mm"
    dashboard.set_state({"min_lesion": 100.0})
    assert dashboard.settings.min_lesion_px == 64


def test_both_networks_side_by_side(opened):
    opened.set_state({"side_by_side": True})
    assert opened.labels == ["U-Net++ on EfficientNet-Lite0", "Attention U-Net"]
    assert len(opened.overlay) == len(opened.heat) == len(opened.tables) == 2
    assert [each["label"] for each in opened.about] == ["U-Net++ on EfficientNet-Lite0", "Attention U-Net"]


def test_gates_are_drawn_for_who_looks_at_them(opened):
    opened.set_state({"side_by_side": True})
    assert opened.gates == [] and CountingPredictor.runs == ["nested_unet", "attention_unet"]
    opened.set_state({"view": "gates"})
    assert [len(gates) for gates in opened.gates] == [0, 2]
    assert pixels(opened.gates[1][0]).shape == (32, 32, 3)
    upload(opened, SLICE, number=2)
    assert [len(gates) for gates in opened.gates] == [0, 2]


def test_a_lesion_has_its_outline(opened):
    border = np.reshape(opened.outlines[0][1][0], (-1, 2))
    assert border.min(axis=0).tolist() == [20, 20] and border.max(axis=0).tolist() == [21, 21]


def test_a_hundred_lesions_are_listed_and_the_others_counted(dashboard):
    image = np.zeros((32, 32, 3), np.uint8)
    image[::2, ::2] = 255  # 256 lesions of one pixel
    upload(dashboard, png(image))
    (table,) = dashboard.tables
    assert (len(table["lesions"]), table["more"], len(dashboard.outlines[0])) == (100, 156, 100)


# ---- reference and download ----


def test_a_reference_is_drawn_and_scored(opened):
    mask = np.zeros((32, 32), np.uint8)
    mask[4:8, 6:12] = 255
    upload(opened, png(mask), "mask.png", role="reference")
    (agreement,) = opened.agreements
    assert (agreement["hit"], agreement["extra"], agreement["missed"]) == (8, 12, 16)
    assert agreement["dice"] == pytest.approx(16 / 44) and len(opened.comparison) == 1
    assert opened.reference_file == {"name": "mask.png"}
    tell(opened, "drop_reference")
    assert opened.agreements == [] and opened.comparison == []
    assert opened.reference_file == {}


def test_a_download_that_fails_is_answered_too(dashboard, sent, monkeypatch):
    monkeypatch.setattr("metseg.serve.dashboard.view.result_archive", lambda state: 1 / 0)
    sent.clear()
    tell(dashboard, "download")
    kinds = [message["content"]["kind"] for _, message, _ in sent if message["method"] == "custom"]
    assert kinds == ["no archive"] and dashboard.message


def test_the_download_holds_the_mask_that_is_seen(opened, sent):
    opened.set_state({"threshold": 0.4})
    sent.clear()
    tell(opened, "download")
    ((part, message, buffers),) = sent
    assert part is opened and message["content"]["kind"] == "archive"
    assert message["content"]["name"].startswith("slice_metseg_")
    with zipfile.ZipFile(io.BytesIO(buffers[0])) as zipped:
        mask = zipped.read("mask.png")
    prob_map = opened.results[0].prob_map
    assert mask == mask_png(postprocess(prob_map, Postprocessing(threshold=0.4)))
