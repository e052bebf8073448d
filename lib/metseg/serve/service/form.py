"""A multipart form is read into memory, within limits, and never touches the disk.

Starlette's own parser writes files above one megabyte to a temporary file, and there it would be readable to
others; what is uploaded here may be a patient's.
"""

import asyncio
import logging
from collections.abc import Callable

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from metseg.serve.service.refusals import RequestError
from metseg.serve.upload import MAX_UPLOAD_BYTES, too_large

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it quotes what it cannot read
_EXAMPLE = "send it as the field 'file' of a multipart form, as in: curl -F file=@slice.tif"
_MAX_PARTS = 16
_MAX_FIELD_BYTES = 1024
MAX_BODY_BYTES = (
    MAX_UPLOAD_BYTES + 2**16
)  # bytes received: the file, the other fields and what separates them


async def read_body(request: Request, *, seconds: float, hold: Callable[[int], None]) -> bytearray:
    """Reads a request's body.

    Args:
        request: The request.
        seconds: The longest that its sender may take.
        hold: Told the size of each piece that arrives; it may raise.

    Raises:
        UploadError: More than `MAX_BODY_BYTES` are announced or received; the rest is not read.
        RequestError: It takes too long.
        ClientDisconnect: The sender went away.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
        raise too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                if len(body) + len(chunk) > MAX_BODY_BYTES:
                    raise too_large()
                hold(len(chunk))
                body += chunk
    except TimeoutError as error:
        message = f"The upload took more than {seconds:g} s; try again over a faster connection"
        raise RequestError(408, "too_slow", message) from error
    return body


def parse_form(content_type: str, body: bytearray) -> tuple[bytes, dict[str, str]]:
    """Takes a multipart form apart.

    Args:
        content_type: The header of that name.
        body: The request's body.

    Returns:
        The content of the field `file`, and {name: text} of the others. What the sender calls the file, and
        which type he says it has, is dropped.

    Raises:
        RequestError: It is no multipart form, is malformed, has no file or several, or repeats a field.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise RequestError(422, "no_file", f"There is no file in the request; {_EXAMPLE}")
    parts = _parts(options[b"boundary"], body)
    files = [part.content for part in parts if part.name == "file"]
    if not files:
        raise RequestError(422, "no_file", f"There is no file in the form; {_EXAMPLE}")
    if len(files) > 1:
        raise RequestError(422, "several_files", f"The form has {len(files)} files; send one slice a request")
    fields: dict[str, str] = {}
    for part in parts:
        if part.name == "file":
            continue
        if part.name in fields or len(part.content) > _MAX_FIELD_BYTES:
            fault = "is given twice" if part.name in fields else f"has more than {_MAX_FIELD_BYTES} bytes"
            message = f"The field {part.name!r:.60} {fault}; give it once, as a short text"
            raise RequestError(422, "invalid_setting", message)
        fields[part.name] = part.content.decode("utf-8", "replace")
    return files[0], fields


class _Part:
    """One field of a form, as the parser tells of it."""

    def __init__(self) -> None:
        self.header, self.value = bytearray(), bytearray()
        self.name, self.content = "", b""

    def end_header(self) -> None:
        if self.header.lower() == b"content-disposition":
            self.name = (
                parse_options_header(bytes(self.value))[1].get(b"name", b"").decode("utf-8", "replace")
            )
        self.header.clear()
        self.value.clear()


def _parts(boundary: bytes, body: bytearray) -> list[_Part]:
    parts: list[_Part] = []
    complete = []

    def begin() -> None:
        if len(parts) == _MAX_PARTS:
            message = f"The form has more than {_MAX_PARTS} fields; send the file and settings alone"
            raise RequestError(422, "invalid_setting", message)
        parts.append(_Part())

    def take(data: bytearray, start: int, end: int) -> None:
        # The whole body is parsed at once, so this is called once a part, and nothing is copied twice.
        parts[-1].content += bytes(memoryview(data)[start:end])

    callbacks = {
        "on_part_begin": begin,
        "on_header_field": lambda data, start, end: parts[-1].header.extend(data[start:end]),
        "on_header_value": lambda data, start, end: parts[-1].value.extend(data[start:end]),
        "on_header_end": lambda: parts[-1].end_header(),
        "on_part_data": take,
        "on_end": lambda: complete.append(True),
    }
    try:
        parser = MultipartParser(boundary, callbacks)
        parser.write(body)
        parser.finalize()
    except FormParserError:
        complete.clear()
    if not complete:
        message = f"The form is cut short, or not what its header says; {_EXAMPLE}"
        raise RequestError(400, "malformed_form", message)
    return parts
