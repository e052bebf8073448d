"""Every answer but a good one: a status, a code for programs and one sentence for people."""

from collections.abc import Mapping

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

_STATUS = {
    "malformed_form": 400,
    "truncated": 400,
    "two_lengths": 400,
    "no_token": 401,
    "foreign_page": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "too_slow": 408,
    "too_large": 413,
    "not_an_image": 415,
    "unknown_host": 421,
    "unusable_pixels": 422,
    "unusable_volume": 422,
    "unlike_training": 422,
    "no_file": 422,
    "several_files": 422,
    "invalid_setting": 422,
    "unknown_model": 422,
    "guessing": 429,
    "internal_error": 500,
    "busy": 503,
    "jobs_full": 503,
    "unreadable_keys": 503,
    "no_room": 507,
}

_RETRY = {"busy": "1", "jobs_full": "60", "guessing": "60", "no_room": "60"}  # seconds


class Refusal(BaseModel):
    """The body of every answer with a status of 400 or more."""

    code: str = Field(description="For programs; it stays the same.", examples=["truncated"])
    message: str = Field(description="One sentence that names the fault and the remedy.")


def answer(code: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Returns a refusal as an HTTP response; of what passes soon, it says when to try again."""
    retry = {"Retry-After": _RETRY[code]} if code in _RETRY else {}
    body = Refusal(code=code, message=message).model_dump()
    return JSONResponse(body, _STATUS[code], {**(headers or {}), **retry})


def _documented(hundred: int) -> dict:
    codes = [f"{status} `{code}`" for code, status in _STATUS.items() if status // 100 == hundred]
    return {"model": Refusal, "description": ", ".join(codes)}


DOCUMENTED = {"4XX": _documented(4), "5XX": _documented(5)}  # for the OpenAPI document
