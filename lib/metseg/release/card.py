"""What a released model is, what it was made from and how far to trust it, as its README."""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from metseg.base.labels import label_of
from metseg.data.provenance import RESEARCH_USE, learned_from
from metseg.data.volume import NEVER_MISSING, SEQUENCES, stand_in
from metseg.inference.operating_points import LesionCalibration, MaskSettings, told_of
from metseg.metrics.lesion_matching import MATCHINGS
from metseg.release.released import released_name

_TEMPLATES = Environment(
    loader=PackageLoader("metseg.release", ""),
    autoescape=False,  # it is Markdown
    keep_trailing_newline=True,
    undefined=StrictUndefined,
)


def model_card(description: dict, manifest: dict, scores: dict) -> str:
    """Returns the card in Markdown.

    Args:
        description: The model's `model.json`.
        manifest: The training's `manifest.json`.
        scores: `compare.summarise` of its scores on held-out patients, or, with `folds`, those of its recipe
            in a cross-validation; with `found`, of volumes, `lesion_scores.found_by_size`.
    """
    config = manifest["config"]
    older = {"min_volume_share": 0.0, "prune": None, "never_missing": NEVER_MISSING}
    older |= {"incomplete_dice": None, "operating_points": None}
    return _TEMPLATES.get_template("card.md").render(
        label=label_of(released_name(description), config.get("encoder", "plain")),
        learned=learned_from(description["data"]["name"], description["seen"]),
        research_use=RESEARCH_USE,
        data={"lesion": "", **description["data"]},
        model={**older, **description},
        pre={"neighbours": 0, "crop": False, **description["preprocessing"]},
        post={"lesion_threshold": None, **description["postprocessing"]},
        manifest={"extended": (), **manifest},
        config=config,
        scores={"folds": None, "found": None, **scores},
        sequences=SEQUENCES,
        without=_without_sequences((description.get("incomplete_dice") or {}).get("without", {})),
        thresholds=_thresholds(description.get("without_sequences", {})),
        found_by=MATCHINGS,
        calibration=LesionCalibration(**told).told if (told := description.get("lesion_calibration")) else "",
    )


def _without_sequences(dice: dict[str, float]) -> list[tuple[str, str, float]]:
    """Returns what is missing, what stands in for it, and the Dice then."""
    sets = [each.split("+") for each in dice]
    return [
        (_in_words(each), SEQUENCES[stand_in(SEQUENCES.keys() - {*each})], value)
        for each, value in zip(sets, dice.values(), strict=True)
    ]


def _thresholds(without: dict[str, dict]) -> list[tuple[str, str]]:
    """Returns what is missing, and by which thresholds what is found then."""
    rows = []
    for key, settings in without.items():
        known = MaskSettings(**settings)
        own = known.postprocessing
        told = told_of(known.operating_points, own, own)
        rows.append((_in_words(key.split("+")), f"{own.threshold:g} on. {told}".strip()))
    return rows


def _in_words(sequences: Sequence[str]) -> str:
    return " and ".join(map(SEQUENCES.get, sequences))
