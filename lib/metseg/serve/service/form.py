"""A multipart form is read into memory, within limits, and never touches the disk."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

from python_multipart.multipart import parse_options_header
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from metseg.data.volume import SEQUENCES
from metseg.serve.upload import MAX_UPLOAD_BYTES, Refused, too_large
from metseg.serve.volume_upload import MAX_VOLUME_BYTES, too_large_volume

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it quotes what it cannot read
_EXAMPLE = "send it as the field 'file' of a multipart form, as in: curl -F file=@slice.tif"
_MOST_FIELDS, _MOST_FIELD_BYTES = 16, 1024
_AROUND_BYTES = 2**16  # the other fields and what separates them
_MAX_BODY_BYTES = MAX_UPLOAD_BYTES + _AROUND_BYTES
_LARGER_SECONDS = 10  # times as long may a volume take
_SILENT_SECONDS, _LEAST_RATE = 10.0, 8192  # bytes a second
_TOO_SLOW = f"The upload comes at less than {_LEAST_RATE // 1024} kB/s; try again over a faster connection"


class _InMemory(MultiPartParser):
    """Starlette's parser without its temporary files, which others could read; it misses a form's end."""

    spool_max_size = 2 * MAX_VOLUME_BYTES
    ended = False

    def on_end(self) -> None:
        self.ended = True


class SentFiles(NamedTuple):
    """What a form holds.

    Attributes:
        files: The name and content of each file.
        fields: {name: text} of the other fields; of a file that was sent as the field of a sequence, `t1c`,
            its name.
    """

    files: list[tuple[str, bytes]]
    fields: dict[str, str]


def length_of(request: Request) -> int:
    """Returns how many bytes a request says it has; 0 if it does not."""
    return int(request.headers.get("content-length", 0))


def is_large(request: Request) -> bool:
    """Returns whether a request is longer than one with a slice may be."""
    return length_of(request) > _MAX_BODY_BYTES


async def read_form(request: Request, *, seconds: float) -> SentFiles:
    """Reads a request's form.

    Args:
        request: The request.
        seconds: The longest that its sender may take with a slice.

    Returns:
        The files in the fields `file` (there may be several), `t1`, `t1c` and `flair`, and the other fields.
        Which type the sender says that a file has is dropped.

    Raises:
        Refused: It is too large (the rest is not read) or too slow, is no form, is malformed, has no file,
            or repeats a field.
        ClientDisconnect: The sender went away.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise Refused("no_file", f"There is no file in the request; {_EXAMPLE}")
    if options.get(b"charset", b"utf-8").lower() not in (b"utf-8", b"us-ascii"):  # Python knows odd ones
        raise Refused("malformed_form", f"The form is in another character set than UTF-8; {_EXAMPLE}")
    most = {"max_files": _MOST_FIELDS, "max_fields": _MOST_FIELDS, "max_part_size": _MOST_FIELD_BYTES}
    parser = _InMemory(request.headers, _pieces(request), **most)
    seconds *= _LARGER_SECONDS if is_large(request) else 1
    try:
        async with asyncio.timeout(seconds):
            form = await parser.parse()
    except TimeoutError as error:
        message = f"The upload took more than {seconds:g} s; try again over a faster connection"
        raise Refused("too_slow", message) from error
    except MultiPartException:
        parser.ended = False
    if not parser.ended:
        told = "cut short, not what its header says, or holds more than a file and settings"
        raise Refused("malformed_form", f"The form is {told}; {_EXAMPLE}")
    sent = SentFiles([], {})
    for name, value in form.multi_items():
        if name == "file" and isinstance(value, str):
            raise Refused("no_file", f"The field 'file' holds a text; {_EXAMPLE}")
        if name in sent.fields:
            raise Refused("invalid_setting", f"The field {name!r:.60} is given twice; give it once")
        if isinstance(value, str):
            sent.fields[name] = value
        elif name == "file" or name in SEQUENCES:
            called = value.filename or name
            sent.files.append((called, await value.read()))
            if name != "file":
                sent.fields[name] = called
        else:
            sent.fields[name] = (await value.read()).decode("utf-8", "replace")
    if not sent.files:
        raise Refused("no_file", f"There is no file in the form; {_EXAMPLE}")
    return sent


def parameters(request: Request, sent: SentFiles) -> dict[str, str]:
    """Returns what address and form say beside the files; raises `Refused` where a name is said twice."""
    found = dict(sent.fields)
    for name, value in request.query_params.multi_items():
        if name in found:
            raise Refused("invalid_setting", f"The parameter {name!r:.60} is given twice; give it once")
        found[name] = value
    return found


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    if length_of(request) > MAX_VOLUME_BYTES + _AROUND_BYTES:
        raise too_large_volume()
    most = max(_MAX_BODY_BYTES, length_of(request))  # a longer one has to say so first
    received, started, stream = 0, time.monotonic(), request.stream()
    while piece := await _next(stream):
        received += len(piece)
        seconds = time.monotonic() - started
        if seconds > _SILENT_SECONDS and received < _LEAST_RATE * seconds:
            raise Refused("too_slow", _TOO_SLOW)
        if received > most:
            raise too_large()
        yield piece


async def _next(stream: AsyncIterator[bytes]) -> bytes:
    try:
        async with asyncio.timeout(_SILENT_SECONDS):
            return await anext(stream, b"")
    except TimeoutError as error:
        raise Refused("too_slow", _TOO_SLOW) from error
