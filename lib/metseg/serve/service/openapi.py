"""What the OpenAPI document says of `POST /predict` that FastAPI cannot know."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from metseg.data.provenance import RESEARCH_USE
from metseg.serve.service.refusals import documented
from metseg.serve.service.segmentation import PNG
from metseg.serve.service.settings import Settings
from metseg.serve.upload import MAX_PIXELS, MAX_UPLOAD_BYTES

DESCRIPTION = f"""Segments brain lesions in one MRI slice. {RESEARCH_USE}

`curl -F file=@slice.tif <address>/predict`

Nothing of an upload is stored, and nothing but its kind and size is logged. A file has at most
{MAX_UPLOAD_BYTES // 2**20} MB and {MAX_PIXELS // 10**6} megapixels.

Every answer with a status of 400 or more is `{{"code": …, "message": …}}`.
"""
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The mask and its lesions; under `Accept: image/png` the mask alone.",
        "content": {PNG: {"schema": {"type": "string", "format": "binary"}}},
    },
    **documented(400, 406, 408, 413, 415, 422, 500, 503),
}
_FILE = {
    "type": "string",
    "format": "binary",
    "description": "One slice as TIFF, PNG or JPEG. Its channels are pre-contrast, FLAIR and post-contrast; "
    "a grey one is taken as FLAIR, whether it is stored with one channel or with three that are equal.",
}
_FORM = {
    "type": "object",
    "required": ["file"],
    "additionalProperties": False,
    "not": {"required": ["min_lesion_px", "min_lesion_mm2"]},
    "properties": {"file": _FILE, **Settings.model_json_schema()["properties"]},
}
REQUEST = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}}


def name_models(app: FastAPI, names: Sequence[str]) -> None:
    """Makes the OpenAPI document of an app list the models that a request can name."""
    post = app.openapi()["paths"]["/predict"]["post"]
    (content,) = post["requestBody"]["content"].values()
    query = {each["name"]: each["schema"] for each in post["parameters"]}
    for settings in (query, content["schema"]["properties"]):
        settings["model"]["enum"] = list(names)
