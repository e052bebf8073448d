"""The cache is filled once, whole, and holds exactly what `preprocess` returns."""

import ast
import errno
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from volume_set import write_volumes

from metseg.base.errors import MetsegError
from metseg.data.cases import find_cases, load_case
from metseg.data.content import slice_hash
from metseg.preprocessing import pipeline
from metseg.preprocessing.pipeline import Preprocessing, network_input, preprocess, preprocess_mask, view_of
from metseg.training import cache
from metseg.training import network_slices as reading
from metseg.training.cache import cache_key, fingerprint, open_cache
from metseg.training.network_slices import network_slices

CONFIG = Preprocessing(image_size=16)


def homes(folder: Path) -> list[str]:
    """The caches in a folder, half-filled ones too; lock files and notes, which stay, are left out."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock" and path.name != ".known")


@pytest.fixture
def filled(monkeypatch) -> list[str]:
    """The scans that were decoded, once a filling."""
    names = []
    monkeypatch.setattr(reading, "load_case", lambda files: names.append(files.case_id) or load_case(files))
    return names


@pytest.fixture
def scans(tmp_path, write_set):
    return find_cases(write_set(tmp_path / "scans"))


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("intensity", ["slice", "volume", "tissue", "stored"])
def test_the_cache_holds_what_preprocess_returns_bit_for_bit(tmp_path, scans, intensity, crop):
    config = Preprocessing(image_size=16, intensity=intensity, crop=crop)
    opened = open_cache(scans, config, folder=tmp_path / "cache")
    row = 0
    for files in scans:
        case = load_case(files)
        view = view_of(case.volume, config)
        for image, mask in zip(case.image, case.mask, strict=True):
            expected = preprocess(image, config, view)
            assert (opened.images[row].astype(np.float32) / 255 == expected).all()
            assert (opened.masks[row] == preprocess_mask(mask, config, view)).all()
            row += 1
    assert opened.images.shape == (5, 16, 16, 3) and opened.images.dtype == np.uint8
    assert opened.masks.shape == (5, 16, 16) and opened.masks.dtype == bool
    assert isinstance(opened.images, np.memmap) and not opened.images.flags.writeable
    assert row == 5 and opened.masks.any()


@pytest.mark.parametrize("neighbours", [0, 1, 2])
def test_network_input_is_that_of_prediction(tmp_path, scans, neighbours):
    config = Preprocessing(image_size=16, neighbours=neighbours)
    opened = open_cache(scans, config, folder=tmp_path / "cache")
    expected = np.concatenate([network_input(load_case(files).volume, config) for files in scans])
    rows = np.array([4, 0, 2])
    np.testing.assert_array_equal(opened.network_input(rows), expected[rows])
    np.testing.assert_array_equal(opened.network_input(np.arange(5)), expected)


def test_neighbours_need_no_cache_of_their_own(tmp_path, scans):
    keys = {cache_key(scans, Preprocessing(image_size=16, neighbours=count), "") for count in (0, 2)}
    assert len(keys) == 1


def test_other_targets_and_other_sequences_have_caches_of_their_own(tmp_path):
    folder = write_volumes(tmp_path)
    targets = ("", "TC", "1,3", "ET", "TC+ET", "ET+TC", "TC+ET+WT")
    cases = {target: find_cases(folder, target=target) for target in targets}
    key = {target: cache_key(found, CONFIG, "") for target, found in cases.items()}
    assert key[""] == key["TC"] == key["1,3"] != key["ET"]
    assert len(set(key.values())) == 5
    assert fingerprint(cases[""]) == fingerprint(cases["ET"])
    names = {"t1": "t1n", "t1c": "t1c", "flair": "t2f"}
    for sequences in (names, {**names, "t1": "t2f", "flair": "t1n"}):
        lines = [f'  {name}: "{{case}}/{{case}}-{kind}.nii.gz"' for name, kind in sequences.items()]
        reference = 'reference: "{case}/{case}-seg.nii.gz"'
        (folder / "layout.yml").write_text("\n".join(["sequences:", *lines, reference]))
        cases[sequences["t1"]] = find_cases(folder)
    assert fingerprint(cases["t1n"]) != fingerprint(cases["t2f"])


def test_several_regions_are_kept_side_by_side_and_the_main_one_is_counted(tmp_path):
    folder = write_volumes(tmp_path / "scans")
    opened = {
        target: open_cache(find_cases(folder, target=target), CONFIG, folder=tmp_path / "cache")
        for target in ("TC", "ET", "TC+ET")
    }
    both = opened["TC+ET"]
    assert both.masks.shape == (*opened["TC"].masks.shape, 2) and both.masks.dtype == bool
    np.testing.assert_array_equal(both.masks[..., 0], opened["TC"].masks)
    np.testing.assert_array_equal(both.masks[..., 1], opened["ET"].masks)
    pd.testing.assert_frame_equal(both.slices, opened["TC"].slices)


def test_a_slice_alone_equals_the_slice_within_its_volume(scans):
    images, masks, lesion_px, *_ = network_slices(scans[1], CONFIG)
    case = load_case(scans[1])
    assert (np.rint(preprocess(case.image[2], CONFIG) * 255) == images[2]).all()
    assert (preprocess_mask(case.mask[2], CONFIG) == masks[2]).all()
    assert lesion_px.tolist() == [0, 16, 25]


def test_the_table_tells_whose_slice_each_row_is(tmp_path, scans):
    table = open_cache(scans, CONFIG, folder=tmp_path / "cache").slices
    assert table.case_id.tolist() == ["TCGA_CS_0001_19990101"] * 2 + ["TCGA_CS_0002_19990102"] * 3
    assert table.patient_id.tolist() == ["TCGA_CS_0001"] * 2 + ["TCGA_CS_0002"] * 3
    assert table.slice_index.tolist() == [1, 2, 1, 2, 3]
    assert (table.lesion_px > 0).tolist() == [False, True, False, True, True]
    assert table.scan_lesion_px.tolist() == [0, 9, 0, 16, 25]


def test_rows_of_patients_with_and_without_empty_slices(tmp_path, scans):
    opened = open_cache(scans, CONFIG, folder=tmp_path / "cache")
    assert opened.rows(("TCGA_CS_0002",)).tolist() == [2, 3, 4]
    assert opened.rows(("TCGA_CS_0002", "TCGA_CS_0001"), exclude_empty=True).tolist() == [1, 3, 4]
    assert opened.rows(()).tolist() == []


def test_lesion_px_counts_the_masks_of_the_cache(tmp_path, scans):
    opened = open_cache(scans, CONFIG, folder=tmp_path / "cache")
    assert opened.slices.lesion_px.tolist() == opened.masks.sum(axis=(1, 2)).tolist()


@pytest.mark.parametrize("name", ["NA", "null", "0012", "1e5"])
def test_any_name_survives_the_table(tmp_path, write_slice, noise, square, name):
    write_slice(tmp_path / "scans", f"{name}_1", noise(1), square(3))
    opened = open_cache(find_cases(tmp_path / "scans"), CONFIG, folder=tmp_path / "cache")
    assert opened.slices.patient_id.tolist() == [name]
    assert opened.rows((name,)).tolist() == [0]


def test_a_second_run_decodes_nothing(tmp_path, scans, monkeypatch):
    first = open_cache(scans, CONFIG, folder=tmp_path / "cache")
    monkeypatch.setattr(reading, "load_case", lambda files: pytest.fail("decoded again"))
    read_bytes = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: pytest.fail("read") if path.suffix == ".tif" else read_bytes(path)
    )
    second = open_cache(scans, CONFIG, folder=tmp_path / "cache")
    assert (first.images == second.images).all() and (first.masks == second.masks).all()
    assert first.slices.equals(second.slices) and first.fingerprint == second.fingerprint


def test_other_parameters_and_changed_files_get_a_cache_of_their_own(tmp_path, scans):
    folder = tmp_path / "cache"
    before = open_cache(scans, CONFIG, folder=folder)
    open_cache(scans, Preprocessing(image_size=16, clip_limit=3), folder=folder)
    assert len(homes(folder)) == 2
    mask = scans[0].slices[0].mask
    mask.write_bytes(scans[1].slices[2].mask.read_bytes())
    after = open_cache(scans, CONFIG, folder=folder)
    assert len(homes(folder)) == 3
    assert (before.slices.lesion_px[0], after.slices.lesion_px[0] > 0) == (0, True)
    assert before.fingerprint != after.fingerprint


def test_a_corrected_mask_of_the_same_size_and_time_meets_no_old_cache(tmp_path, scans, filled):
    before = open_cache(scans, CONFIG, folder=tmp_path / "cache")
    path = scans[0].slices[1].mask
    stat, content = path.stat(), path.read_bytes()
    (tmp_path / "corrected.tif").write_bytes(content.replace(b"\xff" * 3, bytes(3)))
    path.write_bytes((tmp_path / "corrected.tif").read_bytes())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    after = open_cache(scans, CONFIG, folder=tmp_path / "cache")
    assert after.fingerprint != before.fingerprint
    assert not np.array_equal(after.masks, before.masks)
    # The same by a file that takes the other's place, with its time.
    (tmp_path / "again.tif").write_bytes(content)
    os.utime(tmp_path / "again.tif", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.replace(tmp_path / "again.tif", path)
    again = open_cache(scans, CONFIG, folder=tmp_path / "cache")
    assert again.fingerprint == before.fingerprint and np.array_equal(again.masks, before.masks)
    assert len(filled) == 4  # the first cache was still there


def test_files_that_were_touched_or_copied_need_no_new_cache(tmp_path, scans, filled):
    folder = tmp_path / "cache"
    before = open_cache(scans, CONFIG, folder=folder)
    os.utime(scans[0].slices[0].image, ns=(1, 1))
    scans[0].slices[0].mask.chmod(0o600)
    copy = shutil.copytree(tmp_path / "scans", tmp_path / "copy")
    for cases in (scans, find_cases(copy)):
        after = open_cache(cases, CONFIG, folder=folder)
        assert before.fingerprint == after.fingerprint and np.array_equal(before.images, after.images)
    assert len(homes(folder)) == 1 and len(filled) == 2


def test_who_is_in_a_file_is_part_of_the_key(tmp_path, scans):
    """The same files as scans of others, as where a list of patients says so."""
    open_cache(scans, CONFIG, folder=tmp_path / "cache")
    others = [replace(case, patient_id=f"other {k}") for k, case in enumerate(scans)]
    found = open_cache(others, CONFIG, folder=tmp_path / "cache").slices
    assert found.patient_id.tolist() == ["other 0"] * 2 + ["other 1"] * 3


@pytest.mark.parametrize("what", ["code", "OpenCV", "NumPy"])
def test_another_computation_gets_a_cache_of_its_own(tmp_path, scans, monkeypatch, what):
    before = cache_key(scans, CONFIG, "")
    if what == "code":
        read_bytes, changed = Path.read_bytes, Path(pipeline.__file__)
        monkeypatch.setattr(
            Path, "read_bytes", lambda path: read_bytes(path) + (b"x = 1" if path.samefile(changed) else b"")
        )
    else:
        monkeypatch.setattr({"OpenCV": cv2, "NumPy": np}[what], "__version__", "0.0")
    cache._code_version.cache_clear()
    after = cache_key(scans, CONFIG, "")
    monkeypatch.undo()
    cache._code_version.cache_clear()
    assert before != after and cache_key(scans, CONFIG, "") == before


def test_all_code_that_computes_network_input_is_part_of_the_key():
    """Of metseg's modules that these import there is none outside; those left out compute no pixel."""
    package = Path(cache.__file__).parents[1]
    listed = {path for pattern in cache.COMPUTED_BY for path in package.glob(pattern)}
    no_pixels = {
        "base/errors.py",
        "base/files.py",
        "base/paths.py",
        "data/kept.py",  # by its own code's version
        "data/layouts/dicom.py",  # which series, and which of a mask's numbers, stands in the key
        "data/layouts/slices.py",
        "data/own_results.py",  # which file is a reference stands in the key
        "data/missing_sequences.py",  # who is left out; what stands in is by data/scan.py
        "data/patients.py",
        "data/volume_files.py",  # which files, and which of their numbers, stands in the key
    }
    found = set()
    for path in listed:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("metseg"):
                home = package.parent / node.module.replace(".", "/")
                modules = {home / f"{each.name}.py" for each in node.names}
                found |= {path for path in modules if path.is_file()} or {home.with_suffix(".py")}
    assert {package / "preprocessing" / "intensity.py", package / "data" / "volume.py"} <= found
    assert found <= listed | {package / name for name in no_pixels}


def test_scans_that_change_while_they_are_read_make_no_cache(tmp_path, scans, monkeypatch):
    def changed_meanwhile(files):
        case = load_case(files)
        files.slices[0].mask.write_bytes(files.slices[1].mask.read_bytes())
        return case

    monkeypatch.setattr(reading, "load_case", changed_meanwhile)
    with pytest.raises(MetsegError, match="the scans changed while they were read"):
        open_cache(scans, CONFIG, folder=tmp_path / "cache")
    assert homes(tmp_path / "cache") == []


def test_a_data_set_reached_through_a_link_has_the_same_cache(tmp_path, scans):
    first = open_cache(scans, CONFIG, folder=tmp_path / "cache")
    (tmp_path / "link").symlink_to(scans[0].slices[0].image.parents[1])
    second = open_cache(find_cases(tmp_path / "link"), CONFIG, folder=tmp_path / "cache")
    assert len(homes(tmp_path / "cache")) == 1
    assert first.slices.equals(second.slices)


def test_the_fingerprint_does_not_depend_on_where_the_files_lie(tmp_path, write_set):
    one = write_set(tmp_path / "one")
    flat = write_set(tmp_path / "flat", flat=True)
    assert fingerprint(find_cases(one)) == fingerprint(find_cases(flat))
    shutil.copytree(one, tmp_path / "copy")
    assert fingerprint(find_cases(one)) == fingerprint(find_cases(tmp_path / "copy"))


def test_the_fingerprint_tells_one_changed_byte_and_one_changed_name(tmp_path, write_set):
    folder = write_set(tmp_path, flat=True)
    before = fingerprint(find_cases(folder))
    path = folder / "TCGA_CS_0001_19990101_1.tif"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    changed = fingerprint(find_cases(folder))
    for each in sorted(folder.glob("TCGA_CS_0002*")):
        each.rename(each.with_name(each.name.replace("0002", "0003")))
    renamed = fingerprint(find_cases(folder))
    assert len({before, changed, renamed}) == 3


def test_a_cache_that_was_killed_while_filling_is_filled_again(tmp_path, scans):
    folder = tmp_path / "cache"
    whole = np.array(open_cache(scans, CONFIG, folder=folder).images)
    (home,) = homes(folder)
    (folder / home).rename(folder / f".{home}.part")
    (folder / f".{home}.part" / "images.npy").write_bytes(b"half")
    assert (open_cache(scans, CONFIG, folder=folder).images == whole).all()
    assert homes(folder) == [home]


def zero_a_quarter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    start = len(content) // 2
    content[start : start + len(content) // 4] = bytes(len(content) // 4)
    path.write_bytes(content)


def swap_patients(path: Path) -> None:
    text = path.read_text()
    swapped = text.replace("TCGA_CS_0001,", "#,").replace("TCGA_CS_0002,", "TCGA_CS_0001,")
    path.write_text(swapped.replace("#,", "TCGA_CS_0002,"))
    assert path.read_text() != text


def lose_a_row(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("images.npy", zero_a_quarter),
        ("masks.npy", zero_a_quarter),
        ("slices.csv", swap_patients),
        ("slices.csv", lose_a_row),
        (
            "meta.json",
            lambda path: path.write_text(path.read_text().replace('"fingerprint": "', '"fingerprint": "f')),
        ),
        *((name, Path.unlink) for name in ("images.npy", "masks.npy", "slices.csv", "meta.json")),
        *((name, lambda path: path.write_bytes(b"")) for name in ("images.npy", "slices.csv", "meta.json")),
        ("images.npy", lambda path: path.write_bytes(path.read_bytes()[:-1])),
    ],
)
def test_a_damaged_cache_is_made_again_and_said(tmp_path, scans, filled, name, damage):
    before = open_cache(scans, CONFIG, folder=tmp_path / "cache")
    images, masks, slices = np.array(before.images), np.array(before.masks), before.slices
    (home,) = homes(tmp_path / "cache")
    path = tmp_path / "cache" / home / name
    stat = path.stat()
    damage(path)
    if path.exists():
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as if nobody had been there
    with pytest.warns(UserWarning, match=f"the cache .*{home} is damaged and is made again"):
        after = open_cache(scans, CONFIG, folder=tmp_path / "cache")
    assert np.array_equal(after.images, images) and np.array_equal(after.masks, masks)
    assert after.slices.equals(slices) and after.fingerprint == before.fingerprint
    assert len(filled) == 4 and homes(tmp_path / "cache") == [home]


def test_the_cache_of_other_scans_under_this_name_is_not_taken(tmp_path, scans, write_set, filled):
    """Nor is one that was filled for other parameters, whoever renamed it."""
    folder = tmp_path / "cache"
    before = np.array(open_cache(scans, CONFIG, folder=folder).images)
    (home,) = homes(folder)
    open_cache(scans, Preprocessing(image_size=16, clip_limit=9), folder=folder)
    (other,) = set(homes(folder)) - {home}
    shutil.rmtree(folder / home)
    (folder / other).rename(folder / home)
    with pytest.warns(UserWarning, match="is damaged and is made again"):
        assert np.array_equal(open_cache(scans, CONFIG, folder=folder).images, before)


def test_a_copied_cache_is_whole(tmp_path, scans, filled):
    open_cache(scans, CONFIG, folder=tmp_path / "cache")
    shutil.copytree(tmp_path / "cache", tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / ".known")
    open_cache(scans, CONFIG, folder=tmp_path / "copy")
    assert len(filled) == 2


def test_what_a_killed_filling_left_goes_with_the_next_filling(tmp_path, scans):
    folder = tmp_path / "cache"
    for name in ("0123456789abcdef", "1123456789abcdef"):
        (folder / f".{name}.part").mkdir(parents=True)
    with FileLock(folder / ".1123456789abcdef.lock"):  # that one is being filled
        open_cache(scans, CONFIG, folder=folder)
    assert [name for name in homes(folder) if name.endswith(".part")] == [".1123456789abcdef.part"]


def test_slices_are_known_again_whatever_their_file(tmp_path, scans):
    hashes = open_cache(scans, CONFIG, folder=tmp_path / "cache").slices.image_hash
    expected = [slice_hash(image) for files in scans for image in load_case(files).image]
    assert hashes.tolist() == expected and len(set(expected)) == 5


def test_two_processes_at_once_fill_it_once(tmp_path, scans, monkeypatch):
    decoded, opened = [], []
    monkeypatch.setattr(reading, "load_case", lambda files: decoded.append(files.case_id) or load_case(files))
    threads = [
        threading.Thread(target=lambda: opened.append(open_cache(scans, CONFIG, folder=tmp_path / "cache")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(decoded) == [case.case_id for case in scans]
    assert len(opened) == 4 and all((each.images == opened[0].images).all() for each in opened)


def test_who_is_interrupted_while_waiting_leaves_the_work_of_another_alone(tmp_path, scans, monkeypatch):
    class Interrupted:
        def __init__(self, path): ...

        def __enter__(self):
            raise KeyboardInterrupt

        def __exit__(self, *error): ...

    folder = tmp_path / "cache"
    open_cache(scans, CONFIG, folder=folder)
    (home,) = homes(folder)
    (folder / home).rename(folder / f".{home}.part")  # as if another process were filling it
    monkeypatch.setattr(cache, "FileLock", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_cache(scans, CONFIG, folder=folder)
    assert (folder / f".{home}.part" / "images.npy").exists()


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(tmp_path, scans, monkeypatch):
    class FullDisk:
        def __init__(self, file):
            self._file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self._file.close()

        def write(self, content):
            if self._file.tell() + len(content) > 1000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self._file.write(content)

    folder = tmp_path / "cache"
    monkeypatch.setattr(cache, "open", lambda *args, **how: FullDisk(open(*args, **how)), raising=False)  # noqa: SIM115
    with pytest.raises(
        MetsegError, match=r"^cannot write the cache .*No space left.*; free disk space or .*$"
    ):
        open_cache(scans, CONFIG, folder=folder)
    assert homes(folder) == []
    monkeypatch.undo()
    assert open_cache(scans, CONFIG, folder=folder).images.any()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, scans):
    (tmp_path / "file").write_text("")
    with pytest.raises(MetsegError, match="cannot write the cache .*set cache_dir to another folder"):
        open_cache(scans, CONFIG, folder=tmp_path / "file" / "cache")


def test_a_bad_file_is_named_and_nothing_is_left(tmp_path, scans):
    path = scans[1].slices[1].image
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MetsegError, match=f"^{path} is truncated or damaged; copy it again"):
        open_cache(scans, CONFIG, folder=tmp_path / "cache")
    assert homes(tmp_path / "cache") == []


def test_an_unreadable_scan_is_not_blamed_on_the_cache_folder(tmp_path, scans, monkeypatch):
    path = scans[0].slices[0].image
    read_bytes = Path.read_bytes

    def deny(self):
        if self == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", deny)
    with pytest.raises(MetsegError, match=f"^{path} cannot be opened .Permission denied."):
        open_cache(scans, CONFIG, folder=tmp_path / "cache")


def test_more_cases_than_are_read_at_once_keep_their_order(tmp_path, write_slice, noise, square):
    for k in range(35):  # they are read sixteen at a time
        write_slice(tmp_path / "scans", f"P{k:02}_1", noise(k, (16, 16)), square(2, (16, 16)))
    config = Preprocessing(image_size=16, clip_limit=0, intensity="stored")
    opened = open_cache(find_cases(tmp_path / "scans"), config, folder=tmp_path / "cache")
    assert opened.slices.patient_id.tolist() == [f"P{k:02}" for k in range(35)]
    assert all((opened.images[k] == noise(k, (16, 16))).all() for k in range(35))


def test_another_table_of_who_is_who_meets_no_old_cache(tmp_path, write_set):
    folder = write_set(tmp_path / "scans")
    table = folder / "patients.csv"
    for names in (("anna", "bob"), ("anna", "anna")):
        cases = ("TCGA_CS_0001_19990101", "TCGA_CS_0002_19990102")
        lines = [f"{case},{name}" for case, name in zip(cases, names, strict=True)]
        table.write_text("\n".join(["case_id,patient_id", *lines]))
        opened = open_cache(find_cases(folder), CONFIG, folder=tmp_path / "cache")
        assert set(opened.slices.patient_id) == set(names)
