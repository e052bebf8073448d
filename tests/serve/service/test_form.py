"""A form gives its file and its fields, or one sentence."""

import pytest

from metseg.serve.service.form import parse_form
from metseg.serve.service.refusals import RequestError

KIND = "multipart/form-data; boundary=B"
FILE = ('name="file"; filename="a.tif"', b"II*\0")


def form(*fields: tuple[str, bytes], end: bytes = b"--B--\r\n") -> bytearray:
    """Writes a form of (disposition, content)."""
    parts = [f"--B\r\nContent-Disposition: form-data; {how}\r\n\r\n".encode() + what for how, what in fields]
    return bytearray(b"\r\n".join([*parts, end]))


@pytest.mark.parametrize(
    "content", [b"", b"II*\0", b"\r\n", b"\r\n--", b"--B", b"\r\n--C--\r\n", bytes(range(256)) * 4000]
)
def test_the_file_is_what_was_sent(content):
    assert parse_form(KIND, form((FILE[0], content))) == (content, {})


@pytest.mark.parametrize(
    "how", ['name="file"', 'name="file"; filename=""', 'filename="../../x"; name="file"']
)
def test_a_file_needs_no_name_of_its_own(how):
    assert parse_form(KIND, form((how, b"x"))) == (b"x", {})


def test_other_fields_are_text_wherever_they_stand():
    fields = form(('name="model"', "ü".encode()), FILE, ('name="threshold"', b"0.5"))
    assert parse_form(KIND, fields) == (b"II*\0", {"model": "ü", "threshold": "0.5"})


def test_headers_of_a_part_are_read_in_any_case_and_others_dropped():
    headers = b'X: y\r\ncontent-DISPOSITION: form-data; name="file"\r\nContent-Type: a/b'
    body = bytearray(b"--B\r\n" + headers + b"\r\n\r\nx\r\n--B--\r\n")
    assert parse_form(KIND, body) == (b"x", {})


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        ("", b"x", 422, "no_file"),
        ("image/tiff", b"II*\0", 422, "no_file"),
        ("multipart/form-data", form(FILE), 422, "no_file"),
        ("application/x-www-form-urlencoded; boundary=B", form(FILE), 422, "no_file"),
        (KIND, form(), 422, "no_file"),
        (KIND, form(('name="image"', b"x" * 9999)), 422, "no_file"),
        (KIND, form(("", b"x")), 422, "no_file"),
        (KIND, form(FILE, FILE), 422, "several_files"),
        (KIND, form(FILE, *[('name="model"', b"x")] * 2), 422, "invalid_setting"),
        (KIND, form(FILE, ('name="model"', b"x" * 1025)), 422, "invalid_setting"),
        (KIND, form(FILE, *[(f'name="{k}"', b"") for k in range(16)]), 422, "invalid_setting"),
        (KIND, b"", 400, "malformed_form"),
        (KIND, form(FILE, end=b""), 400, "malformed_form"),
        (KIND, form(FILE, end=b"--B"), 400, "malformed_form"),
        ("multipart/form-data; boundary=C", form(FILE), 400, "malformed_form"),
        (f"multipart/form-data; boundary={'B' * 999}", form(FILE), 400, "malformed_form"),
        (KIND, b"--B\r\n" + b"X: y\r\n" * 999 + form(FILE)[5:], 400, "malformed_form"),
        (KIND, b"--B\r\nX: " + b"y" * 99999 + b"\r\n" + form(FILE)[5:], 400, "malformed_form"),
    ],
)
def test_what_is_no_form_with_one_file_is_one_sentence(kind, body, status, code):
    with pytest.raises(RequestError) as caught:
        parse_form(kind, bytearray(body))
    assert (caught.value.status, caught.value.code) == (status, code)
    assert "\n" not in str(caught.value)
