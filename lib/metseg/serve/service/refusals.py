"""Every answer but a good one: a status, a code for programs and one sentence for people."""

import logging
import traceback
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from metseg.base.errors import MetsegError

_log = logging.getLogger("metseg.serve")


class Refusal(BaseModel):
    """The body of every answer with a status of 400 or more."""

    code: str = Field(description="For programs; it stays the same.", examples=["truncated"])
    message: str = Field(
        description="For people: one sentence that names the fault and the remedy.",
        examples=["The file is truncated; copy it again from its source"],
    )


class RequestError(MetsegError):
    """A request that is answered with a `Refusal`.

    Attributes:
        status: HTTP status.
        code: As in `Refusal`.
        headers: What the answer's header says besides.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})


def try_again(code: str, message: str) -> RequestError:
    """Returns the error of a service that cannot answer now but soon."""
    return RequestError(503, code, message, {"Retry-After": "1"})


def answer(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Returns a refusal as an HTTP response."""
    return JSONResponse(Refusal(code=code, message=message).model_dump(), status, headers)


def internal_error(error: Exception) -> JSONResponse:
    """Answers for a fault of our own and logs where it was, without its text, which may quote an upload."""
    _log.error("%s at\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
    return answer(500, "internal_error", "The service failed; its log says where, so tell who runs it")


_DESCRIPTIONS = {
    400: "The file is truncated or damaged (`truncated`), or the form around it is (`malformed_form`).",
    406: "Neither JSON nor PNG would be accepted (`not_acceptable`).",
    408: "The upload took too long (`too_slow`).",
    413: "The upload is too large (`too_large`).",
    415: "The content is no TIFF, PNG or JPEG, whatever its name says (`not_an_image`).",
    422: "The pixels are no slice (`unusable_pixels`); there is no file or more than one (`no_file`, "
    "`several_files`); a field is unknown or out of range (`invalid_setting`, `unknown_model`).",
    500: "The service failed (`internal_error`).",
    503: "There is no room now (`busy`), or the models are still loading (`not_ready`).",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns what the OpenAPI document says of refusals with these statuses."""
    answers: dict[int | str, dict[str, Any]] = {
        status: {"model": Refusal, "description": _DESCRIPTIONS[status]} for status in statuses
    }
    if 503 in answers:
        wait = {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}
        answers[503]["headers"] = {"Retry-After": wait}
    return answers
