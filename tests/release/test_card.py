"""The card tells what a network learned from, and of one of volumes its operating points."""

from dataclasses import asdict

import pytest
from tiny_runs import MANIFEST, POINTED, pointed_without, write_scored

from metseg.base.files import read_json
from metseg.data.provenance import INSERTED, LGG
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
    assert "6 lesions" in card and "n = 40, 20 of them lesions" in card and "score reaches 0.9" in card
    rows = [line for line in card.splitlines() if line.startswith(("| score", "| 0."))]
    assert rows[0].count("(n = ") == 5 and "< 3 mm (n = 2)" in rows[0]
    assert rows[1:] == [
        "| 0.5 | 3.50 | 100 % | 100 % | – | – | 100 % |",
        "| 0.9, serves | 0.50 | 50 % | 50 % | – | – | 50 % |",
    ]


def test_scans_without_a_sequence_have_thresholds_of_their_own(description):
    manifest = {**MANIFEST, "config": {**MANIFEST["config"], "modality_dropout": 0.1}}
    card = model_card(description | pointed_without("t1+flair", 0.3, 2.0), manifest, SCORES)
    (line,) = [each for each in card.splitlines() if each.startswith("- without")]
    assert line.startswith("- without pre-contrast and FLAIR: voxels from a probability of 0.25 on.")
    assert "score of 0.3 on" in line and "2 false positives" in line


def test_without_them_a_card_has_none(description):
    assert "perating point" not in model_card(description, MANIFEST, SCORES)


def test_a_network_of_synthetic_metastases_says_so_first(description):
    inserted = description | {"data": asdict(INSERTED), "kind": "mets", "seen": ["Brats18_2013_11_1"]}
    title, _, first, *_ = model_card(inserted, MANIFEST, SCORES).splitlines()
    assert title == "# Metastases · U-Net"
    assert first.startswith(
        "Learned from real brains with real enhancing glioma and synthetic metastases; "
        "no real metastasis was seen, no figure of one is known. Research use only"
    )
    others = model_card(inserted | {"seen": ["P1"]}, MANIFEST, SCORES).splitlines()[2]
    assert others.startswith("Learned from real brains and synthetic metastases; no real metastasis was seen")
    glioma = model_card(description | {"data": asdict(LGG)}, MANIFEST, SCORES).splitlines()
    assert glioma[0] == "# Glioma (FLAIR) · U-Net" and glioma[2].startswith("Research use only")


def test_lesions_of_the_held_out_are_told_by_size(description):
    size = {"diameter_mm": "3–6", "lesions": 4, "found": 3, "sensitivity": 0.75, "low": 0.5, "high": 1.0}
    none = {"diameter_mm": "≥ 10", "lesions": 0, "found": 0, **dict.fromkeys(["sensitivity", "low", "high"])}
    rate = {"false_positives_per_scan": 1.25, "low": 0.5, "high": 2.0}
    found = {"scans": 8, "patients": 2, "sizes": [size, none], **rate}
    card = model_card(description, MANIFEST, SCORES | {"found": found})
    assert "| 3–6 | 4 | 3 | 0.75 (0.50–1.00) |" in card and "| ≥ 10 |" not in card
    assert "8 scans" in card and "1.2 (0.5–2.0) false positives a scan" in card
    assert "diameter, mm" not in model_card(description, MANIFEST, SCORES)
