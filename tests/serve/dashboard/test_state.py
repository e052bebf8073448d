import io
import json
import zipfile
from hashlib import sha256

import numpy as np
import pytest
from dashboard_models import CountingPredictor, png, slice_with_lesions, write_released
from running_service import as_tiff
from tiny_runs import POINTED, change_description

from metseg.base.errors import MetsegError
from metseg.data.volume import Volume
from metseg.inference.predictor import Predictor
from metseg.masks.encode import encode_png, lesions_csv, mask_png, mask_tiff, overlay
from metseg.masks.postprocess import Postprocessing, postprocess
from metseg.serve.dashboard.files import result_archive
from metseg.serve.dashboard.state import DashboardState


@pytest.fixture
def state(tmp_path, monkeypatch) -> DashboardState:
    monkeypatch.setattr(CountingPredictor, "runs", [])
    monkeypatch.setattr(CountingPredictor, "loaded", [])
    return DashboardState(write_released(tmp_path / "released"), predictor=CountingPredictor)


@pytest.fixture
def opened(state) -> DashboardState:
    state.open_slice(png(slice_with_lesions()), "slice.png")
    return state


def areas(state, index: int = 0) -> list[int]:
    return [lesion.area_px for lesion in state.results[index].lesions]


def files_in(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


# ---- slices and networks ----


def test_begins_with_the_best_network_and_its_settings_and_loads_nothing(state):
    assert list(state.models) == ["nested_unet", "attention_unet"]
    assert state.network == "nested_unet" and state.settings == Postprocessing()
    assert state.upload is None and state.results == () and CountingPredictor.loaded == []


def test_a_slice_is_cut_as_a_network_of_volumes_cuts_its_own(tmp_path):
    """FLAIR: 16 and 4 px of 1, and 9 px of some 0.4, which nowhere reach 0.9."""
    folder = write_released(tmp_path / "released")
    change_description(folder / "nested_unet", **POINTED)
    state = DashboardState(folder, predictor=CountingPredictor)
    state.open_slice(png(slice_with_lesions()), "slice.png")
    assert state.settings == state.defaults and state.settings.lesion_threshold == 0.9
    assert areas(state) == [16, 4]


def test_without_a_released_model_there_is_no_dashboard(tmp_path):
    with pytest.raises(MetsegError, match="no released model"):
        DashboardState(tmp_path)


def test_models_of_any_folders_keep_their_names_and_order(tmp_path, monkeypatch):
    monkeypatch.setattr(CountingPredictor, "runs", [])
    folder = write_released(tmp_path / "released")
    models = {"mine/unet": folder / "attention_unet", "nested_unet": folder / "nested_unet"}
    state = DashboardState(models, predictor=CountingPredictor)
    assert list(state.models) == list(models) and state.network == "mine/unet"
    state.open_slice(png(slice_with_lesions()), "slice.png")
    assert areas(state) == [25] and CountingPredictor.runs == ["attention_unet"]  # its ring, filled


def test_busy_while_a_network_runs_and_not_after_it_failed(state, monkeypatch):
    seen = []
    state.observe(lambda change: seen.append(change.new), "busy")
    state.open_slice(png(slice_with_lesions()), "slice.png")
    assert seen == [True, False]
    monkeypatch.setattr(CountingPredictor, "prob_maps", lambda self, image, **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        state.open_slice(png(slice_with_lesions()), "slice.png")
    assert seen == [True, False] * 2


@pytest.mark.parametrize(
    ("data", "code"), [(b"hello", "not_an_image"), (png(slice_with_lesions())[:80], "truncated")]
)
def test_a_file_that_is_no_slice_leaves_everything_as_it_was(opened, data, code):
    before = opened.upload, opened.results, opened.file_name
    with pytest.raises(MetsegError) as caught:
        opened.open_slice(data, "other.png")
    assert caught.value.code == code and "other.png" in str(caught.value)
    assert before == (opened.upload, opened.results, opened.file_name)


def test_another_network_brings_its_own_settings(opened):
    opened.threshold = 0.4
    opened.network = "attention_unet"
    assert opened.settings == Postprocessing(threshold=0.25, min_lesion_px=5, fill_holes=True)
    assert areas(opened) == [25]  # the ring, filled
    opened.network = "nested_unet"
    assert opened.settings == Postprocessing() and areas(opened) == [16, 4]
    assert CountingPredictor.runs == ["nested_unet", "attention_unet"]  # neither has to run twice


def test_side_by_side_both_have_the_settings_of_the_first(opened):
    opened.side_by_side = True
    assert [each.network for each in opened.results] == ["nested_unet", "attention_unet"]
    assert areas(opened, 0) == [16, 4] and areas(opened, 1) == [24]  # not filled
    opened.network = "attention_unet"
    assert [each.network for each in opened.results] == ["attention_unet", "nested_unet"]
    assert areas(opened, 0) == [25] and areas(opened, 1) == [16, 9]  # from 0.25 on, and of 5 px or more
    opened.side_by_side = False
    assert [each.network for each in opened.results] == ["attention_unet"]
    assert CountingPredictor.runs == ["nested_unet", "attention_unet"]


def test_a_network_that_cannot_run_shows_nothing_of_the_other(opened, tmp_path):
    (tmp_path / "released" / "attention_unet" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(MetsegError, match="This network cannot be loaded"):
        opened.network = "attention_unet"
    assert opened.results == ()


# ---- settings ----


def test_settings_run_no_network(opened):
    opened.threshold = 0.4
    assert areas(opened) == [16, 9, 4]
    opened.min_lesion = 5
    assert areas(opened) == [16, 9]
    opened.fill_holes = True
    opened.opacity = 0.8
    opened.channel = "colour"
    assert areas(opened) == [16, 9] and CountingPredictor.runs == ["nested_unet"]


def test_reset_takes_all_settings_back_with_one_redraw(opened):
    opened.threshold, opened.min_lesion, opened.opacity = 0.4, 5, 1.0
    drawn = []
    opened.observe(lambda change: drawn.append(areas(opened)), "results")
    opened.reset_settings()
    assert (opened.settings, opened.opacity) == (opened.defaults, 0.35)
    assert drawn == [[16, 4]] and CountingPredictor.runs == ["nested_unet"]


def test_a_pick_does_not_outlive_the_lesions_it_was_made_among(opened):
    opened.selected = (0, 2)
    opened.opacity = 0.5
    assert opened.selected == (0, 2)
    opened.threshold = 0.4
    assert opened.selected == (0, 0)


# ---- sizes ----

TAGS = {"resolutionunit": "CENTIMETER", "description": "spacing_mm=5", "metadata": None, "photometric": "rgb"}


def tiff(pixel_mm: float) -> bytes:
    """The slice with lesions of 16 and 4 px, with pixels of this size."""
    return as_tiff(slice_with_lesions(), resolution=(10 / pixel_mm, 10 / pixel_mm), **TAGS)


def test_the_smallest_lesion_is_an_area_where_the_size_of_a_pixel_is_known(state):
    state.open_slice(tiff(2), "slice.tif")
    assert state.unit == "mm²" and areas(state) == [16, 4]
    state.min_lesion = 16.0  # 4 px of 4 mm²
    assert (state.min_lesion_px, areas(state)) == (4, [16, 4])
    state.min_lesion = 16.5
    assert (state.min_lesion_px, areas(state)) == (5, [16])
    assert state.results[0].settings.min_lesion_px == 5


def test_an_area_holds_for_the_next_slice_whatever_its_pixels_are(state):
    state.open_slice(tiff(2), "slice.tif")
    state.min_lesion = 16.5
    state.open_slice(tiff(1), "finer.tif")  # lesions of 16 and 4 mm²
    assert (state.unit, state.min_lesion, state.min_lesion_px, areas(state)) == ("mm²", 16.5, 17, [])
    assert state.remarks == ()


def test_a_smallest_lesion_in_another_unit_is_the_network_s_own_again_which_is_told(opened):
    opened.min_lesion = 5
    opened.open_slice(tiff(2), "slice.tif")
    assert (opened.unit, opened.min_lesion, areas(opened)) == ("mm²", 0, [16, 4])
    assert "5 px" in opened.remarks[0]
    opened.min_lesion = 20
    opened.open_slice(png(slice_with_lesions()), "slice.png")
    assert (opened.unit, opened.min_lesion, areas(opened)) == ("px", 0, [16, 4])
    assert "20 mm²" in opened.remarks[0]
    opened.open_slice(png(slice_with_lesions()), "again.png")
    assert opened.remarks == ()


def test_a_network_s_own_smallest_lesion_is_shown_in_the_unit_of_the_slice(state):
    state.open_slice(tiff(2), "slice.tif")
    state.network = "attention_unet"  # 5 px
    assert (state.min_lesion, state.settings) == (20.0, state.defaults)
    state.open_slice(tiff(1), "finer.tif")
    assert (state.min_lesion, state.settings) == (5.0, state.defaults)
    state.open_slice(png(slice_with_lesions()), "slice.png")
    assert (state.min_lesion, state.settings, state.remarks) == (5.0, state.defaults, ())


# ---- looks ----


def test_a_new_slice_is_shown_as_it_is_and_counted_and_has_no_reference_yet(opened):
    opened.open_reference(png(np.zeros((32, 32), np.uint8)), "mask.png")
    opened.window, opened.level = 100, 50
    opened.open_slice(png(slice_with_lesions()), "second.png")
    assert (opened.window, opened.level, opened.number) == (255, 127.5, 2)
    assert opened.reference is None and opened.reference_name == ""
    assert CountingPredictor.runs == ["nested_unet"] * 2


# ---- gates, reference, examples ----


def test_gates_take_one_run_and_only_where_there_are_any(opened):
    assert opened.networks.gates("nested_unet") == []
    opened.network = "attention_unet"
    first = opened.networks.gates("attention_unet")
    assert [gate.shape for gate in first] == [(32, 32)] * 2
    assert opened.networks.gates("attention_unet") is first
    assert CountingPredictor.runs.count("gates of attention_unet") == 1


def agreement(state) -> dict:
    return state.results[0].agreement(state.reference)


def test_a_reference_is_compared_with_the_mask(opened):
    mask = np.zeros((32, 32), np.uint8)
    mask[4:8, 6:12] = 255  # 24 px, of which the network marks 8, and 8 + 4 px elsewhere
    opened.open_reference(png(mask), "mask.png")
    assert agreement(opened) == {"dice": 2 * 8 / (20 + 24), "hit": 8, "extra": 12, "missed": 16}
    opened.drop_reference()
    assert opened.reference is None and opened.reference_name == ""


def test_dice_of_two_empty_masks_is_not_defined_and_of_one_is_zero(state):
    blank = np.zeros((32, 32), np.uint8)
    state.open_slice(png(np.zeros((32, 32, 3), np.uint8)), "black.png")
    state.open_reference(png(blank), "mask.png")
    assert agreement(state)["dice"] is None
    blank[0, 0] = 255
    state.open_reference(png(blank), "mask.png")
    assert agreement(state)["dice"] == 0


def test_a_grey_reference_saved_as_colours_is_taken(opened):
    mask = np.zeros((32, 32, 3), np.uint8)
    mask[4:8, 4:8] = 255
    opened.open_reference(png(mask), "mask.png")
    assert agreement(opened)["hit"] == 16


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (np.zeros((40, 30), np.uint8), "mask.png is 30 × 40 px but the slice is 32 × 32; export both at one"),
        (np.indices((32, 32))[1].astype(np.uint8), "mask.png has 32 grey values"),
        (slice_with_lesions(), "mask.png has colours"),
    ],
)
def test_a_reference_that_fits_not_is_refused_in_a_sentence(opened, pixels, sentence):
    with pytest.raises(MetsegError, match=sentence):
        opened.open_reference(png(pixels), "mask.png")
    assert opened.reference is None


def test_a_reference_needs_a_slice(state):
    with pytest.raises(MetsegError, match="open a slice first"):
        state.open_reference(png(np.zeros((32, 32), np.uint8)), "mask.png")


def test_an_example_brings_its_reference_and_its_size_in_mm(state):
    state.open_example("ring")
    assert state.file_name == "ring (example)" and state.upload.spacing_mm == (5.0, 1.25, 1.25)
    assert state.reference.shape == (160, 160) and state.reference.any()
    assert "nobody's head" in state.remarks[0]


# ---- files ----


def test_the_archive_holds_what_the_service_would_answer(opened, tmp_path):
    opened.threshold, opened.opacity, opened.channel = 0.4, 0.6, "post-contrast"
    files = files_in(result_archive(opened)[1])
    image = slice_with_lesions()
    (prob_map,) = Predictor(tmp_path / "released" / "nested_unet").prob_map(Volume.of_slice(image))
    mask = postprocess(prob_map, Postprocessing(threshold=0.4))
    assert list(files) == ["mask.png", "mask.tif", "overlay.png", "lesions.csv", "settings.json"]
    assert files["mask.png"] == mask_png(mask) and files["mask.tif"] == mask_tiff(mask)
    assert files["overlay.png"] == encode_png(overlay(image[..., 2], mask, opacity=0.6))
    assert files["lesions.csv"] == lesions_csv(opened.results[0].lesions)
    settings = json.loads(files["settings.json"])
    assert settings["settings"] == {"threshold": 0.4, "min_lesion_px": 0, "fill_holes": False}
    assert settings["min_lesion_mm2"] is None and settings["reference"] is None
    digest = sha256(png(image)).hexdigest()
    assert settings["input"] == {"name": "slice.png", "sha256": digest, "remarks": []}
    assert settings["model"] == "nested_unet" and len(settings["sha256"]) == 64
    assert settings["caution"].startswith("Test scans") and "not a medical device" in settings["note"]


def test_the_archive_tells_how_each_network_agrees_with_the_reference(opened):
    mask = np.zeros((32, 32), np.uint8)
    mask[4:8, 6:12] = 255
    opened.open_reference(png(mask), "mask.png")
    opened.side_by_side = True
    files = files_in(result_archive(opened)[1])
    told = json.loads(files["nested_unet/settings.json"])["reference"]
    assert told.pop("slice_dice") == pytest.approx(16 / 44)
    assert told == {"name": "mask.png", "hit_px": 8, "extra_px": 12, "missed_px": 16}
    told = json.loads(files["attention_unet/settings.json"])["reference"]
    assert (told["hit_px"], told["extra_px"], told["missed_px"], told["slice_dice"]) == (0, 24, 24, 0)


def test_the_overlay_is_what_is_seen(opened):
    opened.window, opened.level = 127.5, 63.75  # twice as bright
    files = files_in(result_archive(opened)[1])
    flair = slice_with_lesions()[..., 1]
    shown = np.where(flair == 127, 254, flair).astype(np.uint8)
    assert files["overlay.png"] == encode_png(overlay(shown, opened.results[0].mask, opacity=0.35))
    assert json.loads(files["settings.json"])["overlay"]["window"] == 127.5


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        ("scan 7.tif", "scan_7_metseg_"),
        ("C:\\scans\\Fläche.png", "Fläche_metseg_"),
        ("../../etc/passwd", "passwd_metseg_"),
        ("", "slice_metseg_"),
    ],
)
def test_the_archive_is_called_after_the_slice_and_its_content(opened, file_name, expected):
    opened.file_name = file_name
    name, content = result_archive(opened)
    assert name == f"{expected}{sha256(content).hexdigest()[:8]}.zip"


def test_archives_of_other_settings_and_of_other_slices_have_other_names(opened):
    def name() -> str:
        return result_archive(opened)[0]

    names = [name(), name()]
    opened.threshold = 0.51  # which changes no pixel
    names.append(name())
    image = slice_with_lesions()
    image[0, 0] = 1
    opened.reset_settings()
    opened.open_slice(png(image), "elsewhere/slice.png")
    names.append(name())
    assert names[0] == names[1] and len(set(names)) == 3
