"""The card of a network of volumes tells its operating points; that of one without has none."""

import pytest
from tiny_runs import MANIFEST, POINTED, write_scored

from metseg.base.files import read_json
from metseg.release.card import model_card

MEANS = {f"dice_{name}{end}": 0.8 for name in ("mean", "median") for end in ("", "_low", "_high")}
SCORES = {
    **MEANS,
    "n_patients": 2,
    "n_dice_undefined": 0,
    "pooled_dice": 0.8,
    "precision": 0.9,
    "recall": 0.7,
    "lesion_sensitivity": 0.6,
    "false_positives_per_patient": 1.0,
}


@pytest.fixture
def description(tmp_path) -> dict:
    return read_json(write_scored(tmp_path) / "model.json")


def test_operating_points_are_listed_with_their_numbers(description):
    card = model_card(description | POINTED, MANIFEST, SCORES)
    assert "6 lesions" in card and "n = 40, 20 of them lesions" in card and "reach 0.9" in card
    rows = [line for line in card.splitlines() if line.startswith(("| highest", "| 0."))]
    assert rows[0].count("(n = ") == 5 and "< 3 mm (n = 2)" in rows[0]
    assert rows[1:] == [
        "| 0.5 | 3.50 | 100 % | 100 % | – | – | 100 % |",
        "| 0.9, serves | 0.50 | 50 % | 50 % | – | – | 50 % |",
    ]


def test_without_them_a_card_has_none(description):
    assert "perating point" not in model_card(description, MANIFEST, SCORES)
