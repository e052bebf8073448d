"""ZIP files give their files, within limits."""

import io
import zipfile

import pytest

from metseg.data.readers.image_errors import DamagedImage
from metseg.masks.encode import archive
from metseg.serve import unpacking
from metseg.serve.unpacking import is_zip, unpacked
from metseg.serve.upload import Refused


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_files_come_as_they_are_and_out_of_zip_files():
    inner = zipped({"a/b.dcm": b"1", ".DS_Store": b"x", "__MACOSX/b": b"x", "c/": b"", "../../d": b"2"})
    files = [("x.nii", b"0"), ("y.zip", inner)]
    assert list(unpacked(files)) == [("x.nii", b"0"), ("a/b.dcm", b"1"), ("../../d", b"2")]
    assert list(unpacked([("empty.zip", archive({}))])) == []
    assert is_zip(inner) and is_zip(archive({})) and not is_zip(b"PK")


def test_more_than_the_limit_is_not_unpacked(monkeypatch):
    bomb = zipped({"zeros": bytes(10**6)})
    assert len(bomb) < 2000
    monkeypatch.setattr(unpacking, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(Refused, match=r"bomb\.zip") as caught:
        list(unpacked([("bomb.zip", bomb)]))
    assert caught.value.code == "too_large"
    assert len(list(unpacked([("a.zip", zipped({"zeros": bytes(1000)}))]))) == 1
    with pytest.raises(Refused):  # together
        list(unpacked([("a.zip", zipped({"zeros": bytes(600)})), ("b.nii", bytes(600))]))


def test_too_many_files_are_refused(monkeypatch):
    many = zipped({str(k): b"" for k in range(9)})
    monkeypatch.setattr(unpacking, "MAX_FILES", 8)
    with pytest.raises(Refused):
        list(unpacked([("many.zip", many)]))
    monkeypatch.setattr(unpacking, "_MAX_LISTING", 100)  # the list is not even read
    with pytest.raises(Refused, match="lists"):
        list(unpacked([("many.zip", many)]))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_a_limit_are_refused(method):
    with pytest.raises(Refused, match="packed"):
        list(unpacked([("a.zip", zipped({"a": b"1"}, method))]))


def test_an_encrypted_file_is_refused():
    content = bytearray(zipped({"a": b"1"}))
    content[content.rfind(b"PK\1\2") + 8] |= 1
    with pytest.raises(Refused, match="encrypted"):
        list(unpacked([("a.zip", bytes(content))]))


def test_a_damaged_zip_file_is_refused():
    whole = zipped({"a": bytes(range(256)) * 9})
    flipped = bytearray(whole)
    flipped[60] ^= 255
    for content in (whole[:-30], whole[:4], bytes(flipped)):
        with pytest.raises(DamagedImage):
            list(unpacked([("a.zip", content)]))
