"""Every answer but a good one: a status, a code for programs and one sentence for people."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

# Of each code; what the OpenAPI document says of a status is made of them.
_CODES = {
    "malformed_request": (400, "It is no HTTP request."),
    "malformed_form": (400, "The form is cut short, or not what its header says."),
    "truncated": (400, "The file is truncated or damaged."),
    "not_found": (404, "There is nothing at this address."),
    "method_not_allowed": (405, "The address takes another method."),
    "not_acceptable": (406, "Neither JSON nor PNG would be accepted."),
    "too_slow": (408, "The upload took too long."),
    "too_large": (413, "The upload is too large."),
    "not_an_image": (415, "The content is no TIFF, PNG or JPEG, whatever its name says."),
    "unusable_pixels": (422, "The pixels are no slice."),
    "no_file": (422, "There is no file."),
    "several_files": (422, "There is more than one file."),
    "invalid_setting": (422, "A field is unknown or out of range."),
    "unknown_model": (422, "There is no model of this name."),
    "internal_error": (500, "The service failed."),
    "busy": (503, "There is no room now."),
    "not_ready": (503, "The models are still loading."),
}


class Refusal(BaseModel):
    """The body of every answer with a status of 400 or more."""

    code: str = Field(description="For programs; it stays the same.", examples=["truncated"])
    message: str = Field(
        description="For people: one sentence that names the fault and the remedy.",
        examples=["The file is truncated or damaged; copy it again from its source"],
    )


def answer(code: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Returns a refusal as an HTTP response; of what passes soon, it says when to try again."""
    status = _CODES[code][0]
    headers = {**(headers or {}), **({"Retry-After": "1"} if status == 503 else {})}
    return JSONResponse(Refusal(code=code, message=message).model_dump(), status, headers)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns what the OpenAPI document says of refusals with these statuses."""
    wait = {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}
    answers: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        texts = [f"`{code}`: {text}" for code, (of, text) in _CODES.items() if of == status]
        answers[status] = {"model": Refusal, "description": "\n".join(texts)}
        if status == 503:
            answers[status]["headers"] = {"Retry-After": wait}
    return answers
