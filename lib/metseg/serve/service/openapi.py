"""What the OpenAPI document says that FastAPI cannot read from the code: of the service, and of its form."""

from collections.abc import Sequence

from metseg.data.provenance import RESEARCH_USE
from metseg.serve.service.settings import Settings
from metseg.serve.upload import MAX_PIXELS, MAX_UPLOAD_BYTES
from metseg.serve.volume_upload import MAX_VOLUME_BYTES

DESCRIPTION = f"""Segments brain lesions in MRI, slices and volumes. {RESEARCH_USE}

`curl -F file=@slice.tif <address>/predict`

`curl -F t1=@t1.nii.gz -F t1c=@t1c.nii.gz -F flair=@flair.nii.gz <address>/predict`

Nothing but an upload's kind and size is logged. A slice has at most {MAX_UPLOAD_BYTES // 2**20} MB and
{MAX_PIXELS // 10**6} megapixels, and nothing of it is stored. A volume has at most
{MAX_VOLUME_BYTES // 2**20} MB; it is answered with 202 and the address to ask for its mask, which is kept
until it was fetched, for an hour at most.

Every answer with a status of 400 or more is `{{"code": …, "message": …}}`, but for what
is no HTTP request, and for one connection too many.
"""
_FILE = {
    "type": "string",
    "format": "binary",
    "description": "One slice as TIFF, PNG or JPEG. Its channels are pre-contrast, FLAIR and post-contrast; "
    "a grey one is taken as FLAIR, whether it is stored with one channel or with three that are equal. "
    "Or a volume: NIfTI files, each as a field `file` or as the field `t1`, `t1c` or `flair`; or a ZIP of "
    "NIfTI or DICOM.",
}


def form_of(models: Sequence[str]) -> dict:
    """Returns what the document says of the form, each model's name being one of `models`."""
    settings = Settings.model_json_schema()["properties"]
    for each in settings.values():
        each.update(each.pop("anyOf")[0])  # a form leaves a field out; it cannot hold a null
        del each["default"]
    settings["model"]["enum"] = list(models)
    schema = {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "not": {"required": ["min_lesion_px", "min_lesion_mm2"]},
        "properties": {"file": _FILE, **settings},
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
