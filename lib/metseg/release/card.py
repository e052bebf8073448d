"""What a released model is, what it was made from and how far to trust it, as its README."""

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
    older |= {"incomplete_dice": None, "operating_points": None, "without_sequences": {}}
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
        without=_without_sequences(description),
        found_by=MATCHINGS,
        calibration=LesionCalibration(**told).told if (told := description.get("lesion_calibration")) else "",
    )


def _without_sequences(description: dict) -> list[tuple[str, str, float, str]]:
    """Returns what is missing, what stands in for it, the Dice then, and what is found, where known."""
    settings, rows = description.get("without_sequences", {}), []
    for key, dice in (description.get("incomplete_dice") or {}).get("without", {}).items():
        missing, found = key.split("+"), ""
        if key in settings:
            known = MaskSettings(**settings[key])
            own, points = known.postprocessing, known.operating_points
            found = f"{own.threshold:g} and a score of {own.lesion_threshold:g}. {told_of(points, own, own)}"
        source = SEQUENCES[stand_in(SEQUENCES.keys() - {*missing})]
        rows.append((" and ".join(map(SEQUENCES.get, missing)), source, dice, found))
    return rows
