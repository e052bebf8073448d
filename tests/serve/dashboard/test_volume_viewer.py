"""The viewer of volumes: what it tells a browser, and one browser that looks at a phantom's lesions."""

import gzip
import re
from collections.abc import Iterator

import numpy as np
import pytest
import viewer_page
from playwright.sync_api import Locator, Page, expect

from metseg.data.grid import mm_to_voxel
from metseg.data.phantom.visits import ET, NETC, PhantomVisit, draw_visits
from metseg.data.readers.images import to_8_bits
from metseg.data.volume import Volume
from metseg.inference.operating_points import LesionCalibration
from metseg.reports.lesion_report import UNKNOWN_SIDES
from metseg.serve.dashboard.volume_viewer import VolumeViewer

AFFINE = np.array([[-1, 0, 0, 50], [0, -2, 0, 60], [0, 0, 3, -20], [0, 0, 0, 1]], float)
GRID = 6, 8, 10


def grey(**place) -> Volume:
    array = np.arange(2 * 6 * 8 * 10, dtype=np.uint16).reshape(2, *GRID).astype(np.uint8)
    return Volume(array, ("flair", "t1c"), **place)


def two_lesions() -> np.ndarray:
    mask = np.zeros(GRID, bool)
    mask[1:4, 2:5, 6:9] = True
    mask[5, 0, 0] = True
    return mask


def unpacked(voxels: bytes, shape=GRID) -> np.ndarray:
    return np.frombuffer(gzip.decompress(voxels), np.uint8).reshape(shape)


# ---- what Python tells ----


def test_one_sequence_at_a_time_goes_to_the_browser():
    volume = grey(affine=AFFINE)
    viewer = VolumeViewer(volume)
    assert viewer.grid == [6, 8, 10] and viewer.spacing_mm == [3, 2, 1] and viewer.notes == []
    assert viewer.affine == AFFINE[:3].tolist()
    assert [each["label"] for each in viewer.sequences] == ["FLAIR", "post-contrast"]
    assert viewer.sequence == viewer.image["sequence"] == "t1c"
    assert np.array_equal(unpacked(viewer.image["voxels"]), volume.array[1])
    viewer._handle_custom_msg({"kind": "sequence", "name": "flair"}, [])
    assert viewer.image["sequence"] == "flair"
    assert np.array_equal(unpacked(viewer.image["voxels"]), volume.array[0])
    viewer._handle_custom_msg({"kind": "sequence", "name": "t2"}, [])  # which the scan has not
    assert viewer.image["sequence"] == "flair"


def test_lesions_are_listed_and_the_largest_is_shown():
    viewer = VolumeViewer(grey(affine=AFFINE), two_lesions())
    large, small = viewer.lesions
    assert (large["number"], large["voxels"], large["volume_mm3"], large["centre"]) == (1, 27, 162, [2, 3, 7])
    assert (small["voxels"], small["volume_mm3"], small["centre"]) == (1, 6, [5, 0, 0])
    assert small["longest_mm"] == pytest.approx(2) and small["mean_probability"] is None
    assert viewer.cursor == (2, 3, 7) and viewer.selected == 1 and viewer.more == 0
    labels = unpacked(viewer.labels)
    assert np.array_equal(labels > 0, two_lesions()) and labels[5, 0, 0] == 2
    viewer.cursor = (0, 0, 0)
    viewer.selected = 2
    viewer.mark(two_lesions() & (labels == 2))  # which is the first now
    assert viewer.cursor == (0, 0, 0) and viewer.selected == 1 and len(viewer.lesions) == 1
    viewer.mark(two_lesions() & (labels == 1))
    assert viewer.selected == 0 and viewer.lesions[0]["voxels"] == 27
    viewer.show(grey(affine=AFFINE))
    assert viewer.labels == b"" and viewer.lesions == [] and viewer.number == 2


def test_a_new_threshold_measures_anew():
    prob_map = two_lesions() * 0.6
    prob_map[2, 3, 7] = 1
    viewer = VolumeViewer(grey(affine=AFFINE))
    viewer.mark_at(0.5, lambda threshold: prob_map >= threshold, prob_map)
    assert viewer.threshold == viewer.measured_at == 0.5 and len(viewer.lesions) == 2
    assert viewer.lesions[1]["mean_probability"] == pytest.approx(0.6)
    assert unpacked(viewer.prob_map)[2, 3, 7] == 255 and unpacked(viewer.prob_map)[5, 0, 0] == 153
    viewer.set_state({"threshold": 0.7})
    assert viewer.measured_at == 0.7 and [each["voxels"] for each in viewer.lesions] == [1]
    viewer.mark(two_lesions())
    assert viewer.prob_map == b"" and viewer.threshold == viewer.measured_at == 0


def test_more_lesions_than_a_table_or_a_byte_holds():
    mask = np.zeros((1, 30, 40), bool)
    mask[:, ::2, ::2] = True
    viewer = VolumeViewer(Volume(np.zeros((1, *mask.shape), np.uint8), ("t1c",)), mask)
    assert len(viewer.lesions) == 100 and viewer.more == 200
    assert np.array_equal(unpacked(viewer.labels, mask.shape) > 0, mask)


def test_what_is_unknown_is_said():
    viewer = VolumeViewer(grey(), two_lesions())
    assert UNKNOWN_SIDES in viewer.notes and len(viewer.notes) == 2
    assert viewer.affine == viewer.spacing_mm == [] and viewer.lesions[0]["volume_mm3"] is None
    assert VolumeViewer(grey(spacing_mm=(3, 2, 1))).notes == [UNKNOWN_SIDES]


def test_what_does_not_fit_is_refused():
    viewer = VolumeViewer(grey(affine=AFFINE))
    for wrong in (viewer.mark, viewer.compare):
        with pytest.raises(ValueError, match=r"\(6, 8, 9\)"):
            wrong(np.zeros((6, 8, 9), bool))
    with pytest.raises(ValueError, match="to_axial"):
        VolumeViewer(grey(affine=np.eye(4)))  # x runs to the patient's right


# ---- in a browser ----


@pytest.fixture(scope="module")
def visit() -> PhantomVisit:
    return draw_visits(3, slices=16, size=64)[0]


@pytest.fixture
def page(browser) -> Iterator[Page]:
    """An empty page; in the end no script may have failed, and nothing have been asked for elsewhere."""
    page, complaints = browser.new_page(viewport={"width": 1280, "height": 760}), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url))
    yield page
    page.close()
    assert [each for each in complaints if not each.startswith(("blob:", "data:"))] == []


def middle(canvas: Locator) -> None:
    """Clicks on the middle of a plane."""
    box = canvas.bounding_box()
    canvas.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


@pytest.mark.slow
def test_a_lesion_picked_in_the_table_is_under_the_crosshair(page, visit):
    channels = [to_8_bits(each)[0] for each in visit.volume.array]
    volume = Volume(np.stack(channels), visit.volume.channels, affine=visit.volume.affine)
    mask = np.isin(visit.labels, (NETC, ET))
    prob_map = np.where(mask, np.float32(0.9), 0)
    viewer = VolumeViewer(volume)
    viewer.mark_at(0.5, lambda threshold: prob_map >= threshold, prob_map)
    viewer.compare(mask)
    viewer_page.show(page, viewer)

    axial, coronal, sagittal = (page.locator("canvas").nth(k) for k in range(3))
    lesion = visit.lesions[1]
    voxel = np.rint(mm_to_voxel([lesion.centre_mm], volume)[0]).astype(int)
    page.locator(".ms-lesions tbody tr").nth(1).click()
    for canvas, index in zip((axial, coronal, sagittal), voxel, strict=True):
        expect(canvas).to_have_attribute("aria-valuenow", str(index + 1))
    assert viewer.cursor == tuple(voxel) and viewer.selected == 2
    x, y, z = lesion.centre_mm
    sides = zip((x, y, z), ("RL", "AP", "SI"), strict=True)
    place = " · ".join(f"{abs(mm):.1f}\u00a0mm\u00a0{names[mm < 0]}" for mm, names in sides)
    expect(page.locator(".ms-where b")).to_have_text(place)

    for _ in range(6):
        axial.press("+")
    expect(page.get_by_label("Zoom", exact=True)).to_contain_text("800 %")
    middle(axial)  # enlarged about the crosshair, which is there
    page.wait_for_timeout(100)
    assert viewer.cursor == tuple(voxel)
    page.get_by_role("button", name="Reset view").click()
    axial.press("ArrowUp")
    expect(axial).to_have_attribute("aria-valuenow", str(voxel[0] + 2))
    middle(axial)
    expect(coronal).to_have_attribute("aria-valuenow", "33")
    expect(sagittal).to_have_attribute("aria-valuenow", "33")

    page.get_by_text("pre-contrast").click()
    expect(page.get_by_text("Loading")).to_be_hidden()
    expect(page.locator(".ms-where")).to_contain_text(f"grey {volume.array[0][viewer.cursor]}")
    page.get_by_label("Threshold").fill("0.95")
    expect(page.get_by_text("Nothing is marked.")).to_be_visible()
    assert viewer.lesions == [] and viewer.measured_at == 0.95


@pytest.mark.slow
def test_the_slider_steps_through_operating_points(page):
    prob_map = np.where(two_lesions(), np.float32(0.6), 0)
    prob_map[:4] = np.where(two_lesions()[:4], np.float32(0.95), 0)
    viewer = VolumeViewer(grey(affine=AFFINE))
    points = [{"threshold": each, "told": f"Expected at {each}."} for each in (0.5, 0.9)]
    known = {"slope": 1, "intercept": 0, "least": 0.3, "candidates": 40, "lesions": 20}
    more = {"points": points, "calibration": LesionCalibration(**known)}
    viewer.mark_at(0.9, lambda threshold: prob_map >= threshold, prob_map, **more)
    viewer_page.show(page, viewer)
    slider, table = page.get_by_label("Detection"), page.locator(".ms-lesions")
    expect(slider).to_have_value("1")
    expect(page.get_by_label("Threshold")).to_be_hidden()
    expect(page.get_by_text("Expected at 0.9.")).to_be_visible()
    expect(table).to_contain_text("n = 40")
    expect(table.locator("tbody tr")).to_have_text([re.compile("95.%$")])
    slider.fill("0")
    expect(page.get_by_text("Expected at 0.5.")).to_be_visible()
    expect(table.locator("tbody tr").last).to_have_text(re.compile("60.%$"))
    assert viewer.threshold == viewer.measured_at == 0.5 and len(viewer.lesions) == 2


@pytest.mark.slow
def test_every_side_is_drawn_where_its_letter_stands(page):
    array = np.zeros((1, 40, 60, 80), np.uint8)
    array[0, 30:35, 10:15, 5:10] = 255  # on the right, in front and above
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    affine[:3, 3] = 40, 30, -40
    viewer = VolumeViewer(Volume(array, ("t1c",), affine=affine), array[0] > 0)
    viewer_page.show(page, viewer)
    # Where the white is, from the left and from above; letters and crosshair are not as white.
    script = """(canvas) => {
      const { width, height } = canvas, found = [0, 0, 0];
      const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
      for (let k = 0; k < width * height; k += 1) {
        if (Math.min(data[4 * k], data[4 * k + 1], data[4 * k + 2]) < 250) continue;
        [k % width, Math.floor(k / width), 1].forEach((each, n) => { found[n] += each; });
      }
      return [found[0] / found[2] / width, found[1] / found[2] / height];
    }"""
    assert viewer.cursor == (32, 12, 7)
    expect(page.locator(".ms-where b")).to_have_text("33.0 mm R · 18.0 mm A · 24.0 mm S")
    for canvas in page.locator("canvas").all():  # R, R and A stand on the left, A, S and S at the top
        x, y = canvas.evaluate(script)
        assert x < 0.45 and y < 0.45
