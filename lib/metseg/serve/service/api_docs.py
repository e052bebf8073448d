"""What the OpenAPI document says of `POST /predict` that FastAPI cannot know."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from metseg.data.provenance import RESEARCH_USE
from metseg.serve.service.segmentation import JSON, PNG
from metseg.serve.service.settings import Settings
from metseg.serve.upload import MAX_PIXELS, MAX_UPLOAD_BYTES

DESCRIPTION = f"""Segments brain lesions in one MRI slice. {RESEARCH_USE}

`curl -F file=@slice.tif <address>/predict`

Nothing of an upload is stored, and nothing but its kind and size is logged. A file has at most
{MAX_UPLOAD_BYTES // 2**20} MB and {MAX_PIXELS // 10**6} megapixels.

Every answer with a status of 400 or more is `{{"code": …, "message": …}}`.
"""
_EXAMPLE = {
    "model": "nested_unet",
    "settings": {
        "threshold": 0.5,
        "min_lesion_px": 13,
        "min_lesion_mm2": 20.0,
        "fill_holes": False,
        "flip_average": False,
    },
    "image": {"height": 256, "width": 256},
    "spacing_mm": [5.0, 1.25, 1.25],
    "notes": ["It is grey (one channel) and was taken as FLAIR, which stands in for the other two as well."],
    "mask": "iVBORw0KGgo…",
    "lesions": [
        {
            "number": 1,
            "area_px": 64,
            "area_mm2": 100.0,
            "diameter_px": 9.03,
            "diameter_mm": 11.28,
            "row": 101.5,
            "column": 88.5,
            "mean_probability": 0.91,
            "max_probability": 0.99,
        }
    ],
    "timings_ms": {"decode": 0.4, "network": 34.8, "total": 37.1},
    "caution": f"{RESEARCH_USE} Lower-grade glioma (FLAIR abnormality), not metastasis.",
}
PREDICT_DOCS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The mask and its lesions; under `Accept: image/png` the mask alone.",
        "content": {JSON: {"example": _EXAMPLE}, PNG: {"schema": {"type": "string", "format": "binary"}}},
    }
}
_FILE = {
    "type": "string",
    "format": "binary",
    "description": "One slice as TIFF, PNG or JPEG. Its channels are pre-contrast, FLAIR and post-contrast; "
    "a grey one is taken as FLAIR, whether it is stored with one channel or with three that are equal.",
}
_MULTIPART = "multipart/form-data"
PREDICT_REQUEST: dict[str, Any] = {
    "required": True,
    "content": {
        _MULTIPART: {
            "schema": {
                "type": "object",
                "required": ["file"],
                "additionalProperties": False,
                "not": {"required": ["min_lesion_px", "min_lesion_mm2"]},
                "properties": {"file": _FILE, **Settings.model_json_schema()["properties"]},
            }
        }
    },
}


def name_models(app: FastAPI, names: Sequence[str]) -> None:
    """Makes the OpenAPI document of an app list the models that a request can name."""
    post = app.openapi()["paths"]["/predict"]["post"]
    query = {each["name"]: each["schema"] for each in post["parameters"]}
    form = post["requestBody"]["content"][_MULTIPART]["schema"]["properties"]
    for settings in (query, form):
        settings["model"]["enum"] = list(names)
