"""A form gives its file and its fields, or one sentence."""

import asyncio

import pytest
from starlette.requests import Request

from metseg.serve.service.form import SentFiles, read_form
from metseg.serve.upload import Refused

KIND = "multipart/form-data; boundary=B"
FILE = ('name="file"; filename="a.tif"', b"II*\0")


def form(*fields: tuple[str, bytes], end: bytes = b"--B--\r\n") -> bytes:
    """Writes a form of (disposition, content)."""
    parts = [f"--B\r\nContent-Disposition: form-data; {how}\r\n\r\n".encode() + what for how, what in fields]
    return b"\r\n".join([*parts, end])


def read(kind: str, body: bytes, piece: int = 1000) -> SentFiles:
    """Reads a form that arrives in pieces."""
    messages = [
        {"type": "http.request", "body": body[k : k + piece], "more_body": True}
        for k in range(0, len(body), piece)
    ]
    messages = iter([*messages, {"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict:
        return next(messages)

    request = Request({"type": "http", "headers": [(b"content-type", kind.encode())]}, receive)
    return asyncio.run(read_form(request, seconds=30))


@pytest.mark.parametrize(
    "content", [b"", b"II*\0", b"\r\n", b"\r\n--", b"--B", b"\r\n--C--\r\n", bytes(range(256)) * 400]
)
@pytest.mark.parametrize("piece", [7, 100_000])
def test_the_file_is_what_was_sent(content, piece):
    assert read(KIND, form((FILE[0], content)), piece) == ([("a.tif", content)], {})


def test_several_files_come_with_their_names_and_some_as_sequences():
    parts = [FILE, ('name="t1c"; filename="../x.nii"', b"1"), ('name="file"; filename=""', b"2")]
    sent = read(KIND, form(*parts))
    assert sent.files == [("a.tif", b"II*\0"), ("../x.nii", b"1"), ("file", b"2")]
    assert sent.fields == {"t1c": "../x.nii"}


def test_other_fields_are_text_wherever_they_stand_and_other_headers_are_dropped():
    fields = form(('name="model"', "ü".encode()), FILE, ('name="threshold"', b"0.5"))
    assert read(KIND, fields) == ([("a.tif", b"II*\0")], {"model": "ü", "threshold": "0.5"})
    headers = b'X: y\r\ncontent-DISPOSITION: form-data; name="file"; filename="x"\r\nContent-Type: a/b'
    assert read(KIND, b"--B\r\n" + headers + b"\r\n\r\nx\r\n--B--\r\n") == ([("x", b"x")], {})


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("", b"x", "no_file"),
        ("multipart/form-data", form(FILE), "no_file"),
        ("application/x-www-form-urlencoded; boundary=B", form(FILE), "no_file"),
        (KIND, form(), "no_file"),
        (KIND, form(('name="image"; filename="a.tif"', b"x" * 9999)), "no_file"),
        (KIND, form(('name="file"', b"x")), "no_file"),
        (KIND, form(FILE, *[('name="t1"; filename="a"', b"x")] * 2), "invalid_setting"),
        (KIND, form(FILE, *[('name="model"', b"x")] * 2), "invalid_setting"),
        (KIND, form(FILE, ('name="model"', b"x" * 1025)), "malformed_form"),
        (KIND, form(FILE, *[(f'name="{k}"', b"") for k in range(17)]), "malformed_form"),
        (KIND, form(FILE, *[(f'name="{k}"; filename="x"', b"") for k in range(16)]), "malformed_form"),
        (KIND, b"", "malformed_form"),
        (KIND, form(("", b"x")), "malformed_form"),
        (KIND, form(FILE, end=b""), "malformed_form"),
        (KIND, form(FILE, end=b"--B"), "malformed_form"),
        ("multipart/form-data; boundary=C", form(FILE), "malformed_form"),
        (f"{KIND}; charset=utf-7", form(FILE), "malformed_form"),
        (f"multipart/form-data; boundary={'B' * 999}", form(FILE), "malformed_form"),
        (KIND, b"--B\r\n" + b"X: y\r\n" * 999 + form(FILE)[5:], "malformed_form"),
        (KIND, b"--B\r\nX: " + b"y" * 99999 + b"\r\n" + form(FILE)[5:], "malformed_form"),
    ],
)
def test_what_is_no_form_with_one_file_is_refused(kind, body, code):
    with pytest.raises(Refused) as caught:
        read(kind, body)
    assert caught.value.code == code
