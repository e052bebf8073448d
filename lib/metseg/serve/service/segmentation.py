"""One upload becomes one answer: the mask, its lesions, and by what they were found."""

import base64
import logging
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from metseg.base.labels import label_of
from metseg.data.provenance import RESEARCH_USE
from metseg.inference.predictor import Predictor
from metseg.inference.trust import Untrusted
from metseg.masks.encode import mask_png
from metseg.masks.lesions import Lesion, measure_lesions
from metseg.masks.postprocess import Postprocessing, postprocess
from metseg.release.released import default_for
from metseg.serve.service.settings import Settings
from metseg.serve.upload import read_upload, untrusted

_log = logging.getLogger("metseg.serve")
JSON, PNG = "application/json", "image/png"


class UsedSettings(Postprocessing):
    """The settings that a mask was made with, the model's own among them."""

    min_lesion_mm2: float | None = Field(
        description="As asked for, and `min_lesion_px` follows from it; null where it was not."
    )
    tta_flip: bool = False


class Segmentation(BaseModel):
    """The answer to one slice."""

    model: str = Field(examples=["lgg-nested_unet"])
    settings: UsedSettings
    image: dict[str, int] = Field(description="Its height and width, px.")
    spacing_mm: tuple[float, float, float] | None = Field(
        description="Voxel size (z, y, x); null where the file does not tell, and then nothing is in mm.",
        examples=[[5.0, 1.25, 1.25]],
    )
    notes: list[str] = Field(
        description="What was changed to make a slice of the file, and how it is unlike the training's."
    )
    mask: str = Field(
        description="PNG of the image's own size, 0 and 255, as base64.",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": PNG},
        examples=["iVBORw0KGgo…"],
    )
    lesions: list[Lesion] = Field(description="Largest first; pixels that touch are one lesion.")
    timings_ms: dict[str, float] = Field(
        description="decode: file to pixels; network: pixels to probabilities; total: from the request's "
        "first line, the upload and any wait included."
    )
    caution: str


def model_cards(models: Mapping[str, Predictor]) -> list[dict[str, Any]]:
    """Returns what `/models` says of each model; Dice is that of validation patients."""
    cards, defaults = [], default_for({name: each.description for name, each in models.items()})
    for name, predictor in models.items():
        known = predictor.description
        card = {
            "name": name,
            "label": label_of(name, known.get("encoder", "plain")),
            "default_for": defaults[name],
            "sha256": predictor.sha256,
            "parameters": known["parameters"],
            "input_size": known["preprocessing"]["image_size"],
            "channels": known["input"]["channels"],
            "postprocessing": predictor.postprocessing,
            "operating_points": predictor.operating_points,
            "lesion_calibration": predictor.lesion_calibration,
            "without_sequences": known.get("without_sequences", {}),
            "tta_flip": predictor.tta_flip,
            "validation_dice": known.get("validation_dice"),
            "validation_dice_single_slices": known.get("validation_dice_single_slices"),
            "data": known["data"]["name"],
            "licence": known["data"]["licence"],
            "caution": known["data"]["caution"],
        }
        cards.append(card)
    return cards


def segment(
    content: bytes, settings: Settings, models: Mapping[str, Predictor], *, media_type: str, started: float
) -> bytes:
    """Segments one slice.

    Args:
        content: The uploaded file.
        settings: How.
        models: To choose from, the default first.
        media_type: `JSON` for a `Segmentation`, `PNG` for the mask alone.
        started: `time.perf_counter()` at the request's first line.

    Returns:
        The answer's body.

    Raises:
        ImageError: The file is no slice.
        Refused: It is too large or unlike all of the training, there is no such model, or the settings do not
            fit the slice.
    """
    name = settings.chosen_of(models, "slice")
    times = [time.perf_counter()]
    upload = read_upload(content)
    times.append(time.perf_counter())
    _log.info("%s of %d bytes", upload.kind, len(content))
    predictor = models[name]
    tta_flip = predictor.tta_flip if settings.tta_flip is None else settings.tta_flip
    used = settings.postprocessing(predictor, upload.spacing_mm)
    how = {"tta_flip": tta_flip, "trust_anyway": bool(settings.trust_anyway)}
    try:
        (prob_map,), unlike = predictor.trusted_map(upload.volume, "The slice", **how)
    except Untrusted as error:
        raise untrusted(error) from error
    times.append(time.perf_counter())
    mask = postprocess(prob_map, used)
    png = mask_png(mask)
    if media_type == PNG:
        return png
    lesions, _ = measure_lesions(mask, prob_map, spacing_mm=upload.spacing_mm)
    height, width = mask.shape
    shown = {**used.model_dump(), "min_lesion_mm2": settings.min_lesion_mm2, "tta_flip": tta_flip}
    decode, network, total = (1000 * seconds for seconds in (*np.diff(times), time.perf_counter() - started))
    result = Segmentation(
        model=name,
        settings=UsedSettings(**shown),
        image={"height": height, "width": width},
        spacing_mm=upload.spacing_mm,
        notes=[*upload.notes, *unlike, *settings.idle_for("slice")],
        mask=base64.b64encode(png).decode(),
        lesions=lesions,
        timings_ms={"decode": decode, "network": network, "total": total},
        caution=f"{RESEARCH_USE} {predictor.description['data']['caution']}",
    )
    return result.model_dump_json().encode()
