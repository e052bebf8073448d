"""What a released model is, what it was made from and how far to trust it, as its README."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from metseg.base.labels import label_of
from metseg.data.provenance import RESEARCH_USE
from metseg.inference.operating_points import LesionCalibration
from metseg.metrics.lesion_matching import MATCHINGS

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
            in a cross-validation.
    """
    config, older = manifest["config"], {"min_volume_share": 0.0, "prune": None, "operating_points": None}
    return _TEMPLATES.get_template("card.md").render(
        label=label_of(description["name"], config.get("encoder", "plain")),
        research_use=RESEARCH_USE,
        data={"lesion": "", **description["data"]},
        model={**older, **description},
        pre={"neighbours": 0, "crop": False, **description["preprocessing"]},
        post={"lesion_threshold": None, **description["postprocessing"]},
        manifest={"extended": (), **manifest},
        config=config,
        scores={"folds": None, **scores},
        found_by=MATCHINGS,
        calibration=LesionCalibration(**told).told if (told := description.get("lesion_calibration")) else "",
    )
