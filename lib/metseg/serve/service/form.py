"""A multipart form is read into memory, within limits, and never touches the disk."""

import asyncio
import logging
from collections.abc import AsyncIterator

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from metseg.serve.upload import MAX_UPLOAD_BYTES, Refused, too_large

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it quotes what it cannot read
_EXAMPLE = "send it as the field 'file' of a multipart form, as in: curl -F file=@slice.tif"
_MOST_FIELDS, _MOST_FIELD_BYTES = 16, 1024
_MAX_BODY_BYTES = MAX_UPLOAD_BYTES + 2**16  # the file, the other fields and what separates them


class _InMemory(MultiPartParser):
    """Starlette's parser without its temporary files, which others could read; it misses a form's end."""

    spool_max_size = 2 * _MAX_BODY_BYTES
    ended = False

    def on_end(self) -> None:
        self.ended = True


async def read_form(request: Request, *, seconds: float) -> tuple[bytes, dict[str, str]]:
    """Reads a request's form.

    Args:
        request: The request.
        seconds: The longest that its sender may take.

    Returns:
        The content of the field `file`, and {name: text} of the others. What the sender calls the file, and
        which type he says it has, is dropped.

    Raises:
        Refused: It is too large (the rest is not read) or too slow, is no form, is malformed, has no file or
            several, or repeats a field.
        ClientDisconnect: The sender went away.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise Refused("no_file", f"There is no file in the request; {_EXAMPLE}")
    most = {"max_files": _MOST_FIELDS, "max_fields": _MOST_FIELDS, "max_part_size": _MOST_FIELD_BYTES}
    parser = _InMemory(request.headers, _pieces(request), **most)
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
    fields: dict[str, str] = {}
    files: list[bytes] = []
    for name, value in form.multi_items():
        content = await value.read() if isinstance(value, UploadFile) else value
        if name == "file":
            if isinstance(content, str):
                raise Refused("no_file", f"The field 'file' holds a text; {_EXAMPLE}")
            files.append(content)
        elif name in fields:
            raise Refused("invalid_setting", f"The field {name!r:.60} is given twice; give it once")
        else:
            fields[name] = content if isinstance(content, str) else content.decode("utf-8", "replace")
    if len(files) > 1:
        raise Refused("several_files", f"The form has {len(files)} files; send one slice a request")
    if not files:
        raise Refused("no_file", f"There is no file in the form; {_EXAMPLE}")
    return files[0], fields


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    if int(request.headers.get("content-length", 0)) > _MAX_BODY_BYTES:
        raise too_large()
    received = 0
    async for piece in request.stream():
        received += len(piece)
        if received > _MAX_BODY_BYTES:
            raise too_large()
        yield piece
