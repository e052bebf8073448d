"""The trust gate: what is measured, by hand, and what is told or refused of it."""

from pathlib import Path

import numpy as np
import pytest
from tiny_runs import change_description, write_bright_model

from metseg.data.volume import Volume
from metseg.inference.predictor import Predictor
from metseg.inference.trust import MEASURES, Trust, Untrusted, measure, rows_seen

SIDE = 32


def head(*, height: int = 16, width: int = 8, greys=(0.5, 0.75, 0.25), slices: int = 1) -> np.ndarray:
    """An upright box of one grey a sequence in black air, (Z, 32, 32, 3)."""
    image = np.zeros((slices, SIDE, SIDE, 3), np.float32)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    image[:, top : top + height, left : left + width] = greys
    return image


def measured(image: np.ndarray, **known) -> dict[str, float]:
    return measure(Volume(np.zeros((3, len(image), 40, 50), np.uint8), **known), image)


def test_a_box_by_hand():
    found = measured(head(height=20, width=10))
    # every second pixel: 10 of 16 rows, 5 of 16 columns; the variance of n places is (n² − 1) / 12
    assert found["head"] == pytest.approx(50 / 256)
    assert found["upright"] == pytest.approx(np.sqrt(99 / 24))
    assert found["corners"] == 0 and found["bright"] == pytest.approx(0.75)


def test_contrast_is_the_change_by_the_agent_beside_that_between_sequences():
    def contrast(*greys: float) -> float | None:
        return measured(head(height=30, width=20, greys=greys, slices=2)).get("contrast")

    assert contrast(0.5, 0.7, 0.5) == 0
    assert contrast(0.5, 0.7, 0.6) == pytest.approx(0.5)
    assert contrast(0.5, 0.5, 0.5) is None  # FLAIR stands in


def test_noise_is_rough_and_a_ramp_is_smooth():
    noise = np.random.default_rng(0).uniform(0.2, 1, (1, SIDE, SIDE, 3)).astype(np.float32)
    ramp = np.broadcast_to(np.linspace(0.2, 1, SIDE, dtype=np.float32)[:, None, None], (1, SIDE, SIDE, 3))
    assert abs(measured(noise)["smooth"]) < 0.2
    assert measured(ramp)["smooth"] == pytest.approx(1, abs=1e-4)


def test_geometry_is_measured_where_the_scan_tells_it():
    image = head(height=30, width=20, slices=3)
    assert "pixel_spacing_mm" not in measured(image)
    found = measured(image, spacing_mm=(5, 1, 0.5))
    told = {key: found[key] for key in ("slices", "slice_spacing_mm", "pixel_spacing_mm", "field_of_view_mm")}
    assert told == {"slices": 3, "slice_spacing_mm": 5, "pixel_spacing_mm": 1, "field_of_view_mm": 40}
    assert "slice_spacing_mm" not in measured(image[:1], spacing_mm=(5, 1, 0.5))


def test_black_has_no_grey_values():
    assert measured(np.zeros((2, SIDE, SIDE, 3), np.float32)) == {"slices": 2, "head": 0}


def test_every_measure_has_its_sentences():
    assert measured(head(height=30, width=20, slices=2), spacing_mm=(5, 1, 1)).keys() == MEASURES.keys()


def test_the_slices_looked_at_begin_and_end_with_the_volume():
    assert rows_seen(1).tolist() == [0] and rows_seen(3).tolist() == [0, 1, 2]
    assert rows_seen(155)[[0, -1]].tolist() == [0, 154] and len(rows_seen(155)) == 12


def notes(ranges: dict, found: dict[str, float], slices: int = 20, **how) -> list[str]:
    known = Trust(patients=9, volume={"slices": (10, 30), **ranges}, slice={"slices": (1, 1)} | ranges)
    return known.notes_on({"slices": slices, "head": 0.5, **found}, "P1", **how)


def test_within_and_a_little_beyond_nothing_is_told():
    known = {"contrast": (0.5, 1.5)}
    assert notes(known, {"contrast": 1.0}) == notes(known, {"contrast": 0.41}) == []
    assert notes(known, {}) == []  # not measured


def test_beyond_the_range_a_sentence_has_the_figures():
    (note,) = notes({"contrast": (0.5, 1.5)}, {"contrast": 0.1})
    assert all(text in note for text in ("contrast", "0.1", "0.5", "1.5"))


def test_sizes_may_differ_by_a_tenth_where_all_were_alike():
    known = {"pixel_spacing_mm": (1.0, 1.0)}
    assert notes(known, {"pixel_spacing_mm": 1.09}) == []
    assert len(notes(known, {"pixel_spacing_mm": 1.2})) == len(notes(known, {"pixel_spacing_mm": 0.8})) == 1


def test_what_is_far_off_is_refused_unless_somebody_insists():
    known = {"corners": (0.0, 0.1), "upright": (1.0, 1.3)}  # the width counts as 0.2
    assert len(notes(known, {"corners": 0.19})) == 1
    with pytest.raises(Untrusted, match="P1.*corners.*0.21.*--trust-anyway"):
        notes(known, {"corners": 0.21, "upright": 2})
    first, second = notes(known, {"corners": 0.21, "upright": 2}, trust_anyway=True)
    assert "may mean nothing" in first and "0.21" in first and "mean nothing" not in second
    assert len(notes(known, {"upright": 2})) == 1  # a brain that lies turned is a brain
    assert len(notes({"corners": (0.8, 0.9)}, {"corners": 0})) == 1  # air is as it should be


def test_a_black_volume_is_refused_and_a_black_slice_is_not():
    with pytest.raises(Untrusted, match="black"):
        notes({}, {"head": 0})
    assert notes({}, {"head": 0}, slices=1) == []


def test_slices_alone_have_ranges_of_their_own():
    known = Trust(patients=9, volume={"head": (0.4, 0.6)}, slice={"head": (0.1, 0.6)})
    assert len(known.notes_on({"slices": 20, "head": 0.2}, "P1")) == 1
    assert known.notes_on({"slices": 1, "head": 0.2}, "P1") == []


def test_unknown_orientation_is_told_where_the_training_knew_it():
    known = Trust(patients=9, volume={}, slice={}, oriented=True)
    assert "orientation" in known.notes_on({"slices": 1, "head": 1}, "P1", oriented=False)[0]
    assert notes({}, {}, oriented=False) == []


def test_ranges_are_the_ends_of_volumes_and_percentiles_of_slices():
    volumes, slices = [{"head": 0.25, "contrast": 1}, {"head": 0.5}], [{"head": k / 100} for k in range(101)]
    known = Trust.of(volumes, slices, patients=2)
    assert known.volume == {"head": (0.25, 0.5), "contrast": (1, 1)} and known.slice["head"] == (0.01, 0.99)
    assert Trust.model_validate_json(known.model_dump_json()) == known


def wary(folder: Path, **ranges: tuple[float, float]) -> Predictor:
    """A network that has seen volumes in these ranges."""
    return Predictor(write_bright_model(folder, trust={"patients": 9, "volume": ranges, "slice": {}}))


def test_a_prediction_comes_with_notes_or_not_at_all(tmp_path, monkeypatch):
    image = np.random.default_rng(1).integers(60, 200, (3, SIDE, SIDE, 3), dtype=np.uint8)
    scan, alone = Volume.of_slices(image), Volume.of_slice(image[0])
    telling = wary(tmp_path, corners=(0.8, 0.9))
    prob_map, (note,) = telling.trusted_map(scan, "P1")
    np.testing.assert_array_equal(prob_map, telling.prob_map(scan))
    assert "corners" in note and telling.trusted_map(alone, "P1")[1] == []
    refusing = wary(tmp_path, corners=(-0.9, -0.8))
    assert "may mean nothing" in refusing.trusted_map(scan, "P1", trust_anyway=True)[1][0]
    monkeypatch.setattr(refusing.network, "engine", None)  # it is not to run
    with pytest.raises(Untrusted, match="P1"):
        refusing.trusted_map(scan, "P1")


def test_a_network_that_does_not_tell_says_so(tmp_path):
    folder = write_bright_model(tmp_path)
    change_description(folder, trust=None)
    (note,) = Predictor(folder).trusted_map(Volume.of_slices(head(slices=2).astype(np.uint8)), "P1")[1]
    assert "does not tell" in note
