"""Files appear whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metseg.base.errors import MetsegError
from metseg.base.files import (
    files_below,
    read_sealed,
    replacing,
    shown,
    sole_writer,
    taking_apart,
    whole_folder,
    write_json,
    write_sealed,
    write_text,
)


def test_a_file_appears_only_when_all_went_well(tmp_path):
    path = tmp_path / "new" / "deep" / "a.keras"
    with replacing(path) as partial:
        partial.write_bytes(b"1")
        assert partial.parent == path.parent and partial.suffix == ".keras"
        assert not path.exists()
    assert path.read_bytes() == b"1"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_keeps_what_was_there_and_is_passed_on(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), replacing(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_it_takes_its_name_and_its_name_before_the_call_ends(
    tmp_path, monkeypatch
):
    done, fsync, replace = [], os.fsync, os.replace
    inode = {}

    def recorded(handle):
        inode[os.fstat(handle).st_ino] = len(done)
        done.append("fsync")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", recorded)
    monkeypatch.setattr(os, "replace", lambda *paths: done.append("replace") or replace(*paths))
    write_text(tmp_path / "a.txt", "text")
    assert done == ["fsync", "replace", "fsync"]
    assert inode == {(tmp_path / "a.txt").stat().st_ino: 0, tmp_path.stat().st_ino: 2}
    done.clear()
    write_text(tmp_path / "a.txt", "more", durable=False)
    assert done == ["replace"]


def test_what_killed_processes_left_goes_as_the_next_one_starts(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    living = f".{os.getppid()}.model.keras"
    mine = [f".{dead.pid}.model.keras", f"figures/.{dead.pid}.a.png", f".{os.getpid()}.b.csv"]
    others = [".hidden", ".12", f"{dead.pid}.csv", living, "figures/a.png"]
    (tmp_path / "figures").mkdir()
    for name in mine + others:
        (tmp_path / name).write_text("left")
    elsewhere = tmp_path.parent / f".{dead.pid}.elsewhere"
    elsewhere.write_text("another folder's")
    (tmp_path / "link").symlink_to(tmp_path.parent)
    with replacing(tmp_path / "new.txt") as partial:
        partial.write_text("this process writes it now")
        with sole_writer(tmp_path):
            assert not [name for name in mine if (tmp_path / name).exists()]
            assert all((tmp_path / name).exists() for name in others)
    assert (tmp_path / "new.txt").exists() and elsewhere.exists()
    elsewhere.unlink()


def test_a_sealed_record_comes_back_and_any_change_is_found(tmp_path):
    record = {"epoch": 3, "dice": 1 / 3, "never": float("inf"), "who": ["Müller", None]}
    path = tmp_path / "a.json"
    write_sealed(path, record)
    assert read_sealed(path) == record
    text = path.read_text()
    for damage in (text.replace("3,", "4,", 1), text.replace("ller", "iler"), text[:-9], "{}", "[]", ""):
        assert damage != text
        path.write_text(damage)
        with pytest.raises(MetsegError, match=r"a\.json is .*damaged"):
            read_sealed(path)


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    expected = (
        f"cannot write {path} (No space left on device); free disk space or choose another output folder"
    )
    with pytest.raises(MetsegError) as caught, replacing(path) as partial:
        partial.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(caught.value) == expected
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_read_only_folder_is_one_sentence(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)  # nor can anything be removed there
    with pytest.raises(
        MetsegError, match=r"cannot write .*\(Read-only file system\); .*another output folder"
    ):
        write_text(tmp_path / "runs" / "a.txt", "text")


@pytest.mark.parametrize("parts", [("file", "deep", "a.txt"), ("x" * 300,), ("folder",)])
def test_an_impossible_path_is_one_sentence(tmp_path, parts):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    with pytest.raises(MetsegError, match=r"^cannot write .*choose another output folder$"):
        write_text(tmp_path.joinpath(*parts), "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_text_and_json_are_utf_8_whatever_the_locale(tmp_path):
    write_text(tmp_path / "a.txt", "Δ µm")
    write_json(tmp_path / "a.json", {"patient": "Müller"})
    assert (tmp_path / "a.txt").read_bytes() == "Δ µm".encode()
    assert '"patient": "Müller"' in (tmp_path / "a.json").read_bytes().decode("utf-8")


def test_paths_below_the_working_directory_are_shown_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "runs" / "a") == "runs/a"
    assert shown(Path("runs")) == "runs"
    assert shown(tmp_path.parent / "elsewhere") == str(tmp_path.parent / "elsewhere")


def test_files_below_a_folder_come_in_order_and_each_once(tmp_path):
    for name in ("b/2.tif", "b/10.tif", "b.tif", "a/deep/1.tif", ".hidden.tif", "a/.hidden/1.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "round").symlink_to(tmp_path)  # back to where it is seen from
    (tmp_path / "c").symlink_to(tmp_path / "b")
    (tmp_path / "gone.tif").symlink_to(tmp_path / "nothing.tif")
    (tmp_path / "itself.tif").symlink_to(tmp_path / "itself.tif")
    (tmp_path / "linked.tif").symlink_to(tmp_path / "b.tif")
    # A link that leads nowhere is not passed over: a patient would be missing without a word.
    found = ["a/deep/1.tif", "b/10.tif", "b/2.tif", "b.tif", "gone.tif", "itself.tif", "linked.tif"]
    assert files_below(tmp_path) == [tmp_path / name for name in found] == sorted(files_below(tmp_path))


def test_a_patient_does_not_hide_in_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "P_1").symlink_to(tmp_path / "unmounted")
    with pytest.raises(MetsegError, match="P_1 is a link that leads nowhere; mend it or remove it"):
        files_below(tmp_path)
    (tmp_path / "P_1").unlink()
    (tmp_path / "P_2").mkdir()
    scandir = os.scandir

    def denied(folder):
        if Path(folder).name == "P_2":
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(MetsegError, match=r"cannot read .*P_2 \(Permission denied\); make it readable"):
        files_below(tmp_path)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
@pytest.mark.parametrize(("name", "target"), [("P_1", "/proc/self/fd"), ("a.tif", "/proc/kmsg")])
def test_a_link_into_the_files_of_the_system_is_refused(tmp_path, name, target):
    (tmp_path / name).symlink_to(target)
    with pytest.raises(MetsegError, match=rf"^{tmp_path / name} leads into /proc"):
        files_below(tmp_path)
    with pytest.raises(MetsegError, match=rf"^{target} leads into /proc"):
        files_below(Path(target))


@pytest.mark.parametrize("parts", [(b"Ren\xe9_1.tif",), (b"Ren\xe9", b"P_1.tif")])
def test_a_name_that_is_no_utf_8_is_told_readably(tmp_path, parts):
    path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), *parts)))
    path.parent.mkdir(exist_ok=True)
    try:
        path.touch()
    except OSError:
        pytest.skip("this system has no such names")
    with pytest.raises(MetsegError) as caught:
        files_below(tmp_path)
    assert r"Ren\xe9" in str(caught.value) and "UTF-8" in str(caught.value)
    str(caught.value).encode()  # it can be printed
    if len(parts) == 2:
        with pytest.raises(MetsegError, match="UTF-8"):
            files_below(path.parent)


@pytest.mark.parametrize("record", [{}, {"config": None}, {"config": {"epochs": "many"}}])
def test_what_is_wrong_with_a_record_names_its_file(record):
    says = r"m\.json is damaged \((Key|Type|Value)Error.*\); train again"
    with pytest.raises(MetsegError, match=says), taking_apart(Path("m.json")):
        int(record["config"]["epochs"])


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    home = tmp_path / "set"
    with pytest.raises(ZeroDivisionError), whole_folder(home) as partial:
        (partial / "one.txt").write_text("1")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    home.mkdir()
    with whole_folder(home) as partial:
        (partial / "one.txt").write_text("1")
        assert list(home.iterdir()) == []
    assert [path.name for path in home.iterdir()] == ["one.txt"]
    with pytest.raises(MetsegError, match="choose another folder"), whole_folder(home):
        pass  # it holds something by now
    with whole_folder(home, is_there=home.exists) as partial:
        (partial / "two.txt").write_text("2")
    assert [path.name for path in home.rglob("*")] == ["one.txt"] and len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_process_left_of_a_folder_goes(tmp_path, monkeypatch):
    home, others = tmp_path / "set", tmp_path / f".{os.getpid()}.another.0.partial"
    others.mkdir()
    for pid in (2**22 + 1, os.getpid()):  # dead; in a container the next start has the same
        (tmp_path / f".{pid}.set.1234abcd.partial" / "deep").mkdir(parents=True)
        os.utime(tmp_path / f".{pid}.set.1234abcd.partial", (0, 0))
    others = {others, tmp_path / f".{2**22 + 1}.set.5678abcd.partial"}  # of now: of another machine's, maybe
    for each in others:
        each.mkdir(exist_ok=True)
    with whole_folder(home) as partial:
        with whole_folder(tmp_path / "set 2"):
            pass
        assert {*tmp_path.iterdir()} == {partial, *others, tmp_path / "set 2"}
    assert home.is_dir()
