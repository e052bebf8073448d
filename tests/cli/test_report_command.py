"""metseg report, and the phantom as volumes."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from drawn_volumes import FIRST, OTHER, SECOND, phantom_volumes
from tiny_runs import POINTED, pointed_without, write_bright_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return phantom_volumes(tmp_path_factory)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_bright_model(tmp_path_factory.mktemp("bright") / "unet", channels=(0, 0, 1))


def visits(folder, *cases, masks=True):
    """--input of each, and --mask."""
    found = []
    for case in cases:
        found += ["--input", folder / case]
        found += ["--mask", folder / case / f"{case}-seg.nii.gz"] if masks else []
    return found


def test_two_visits_with_drawn_masks(metseg, folder, tmp_path):
    status, out, err = metseg("report", *visits(folder, FIRST, SECOND))
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"{FIRST}: ") and lines[1].startswith(f"{SECOND}: ")
    assert "RANO-BM, imaging part: " in lines[2]
    assert lines[3] == f"report: reports/{SECOND}_report/report.html"
    assert any("TC (1, 3)" in line for line in lines[4:])
    written = {path.name for path in (tmp_path / "reports" / f"{SECOND}_report").iterdir()}
    assert written == {"report.html", "report.pdf", "report.json", "lesions.csv"}
    assert [path.name for path in (tmp_path / "reports").iterdir()] == [f"{SECOND}_report"]


def test_one_visit_by_a_network(metseg, folder, model, tmp_path):
    network = ["--model", model, "--output", "out"]
    status, out, err = metseg("report", *visits(folder / "dicom", FIRST, masks=False), *network)
    assert (status, err) == (0, "") and out.startswith("network: ")
    case = "PHANTOM-MET-00001_20240115"
    assert nib.load(tmp_path / "out" / f"{case}_mask.nii.gz").shape == (56, 56, 12)
    record = json.loads((tmp_path / "out" / f"{case}_report" / "report.json").read_text())
    assert record["origin"]["data"] == "test scans" and record["follow_up"] is None


def test_false_positives_choose_the_operating_point(metseg, refused, folder, model, tmp_path):
    pointed = write_bright_model(tmp_path / "pointed" / "unet", channels=(0, 0, 1), **POINTED)
    network, few = ["--model", pointed, "--output", "out"], "--false-positives-per-scan"
    scan = visits(folder, FIRST, masks=False)
    status, out, err = metseg("report", *scan, *network, few, "4")
    assert (status, err) == (0, "") and "of 0.5 on" in out and "3.5 false positives" in out
    record = json.loads((tmp_path / "out" / f"{FIRST}_report" / "report.json").read_text())
    assert "3.5 false positives" in record["origin"]["operating_point"]
    status, out, _ = metseg("predict", *scan, *network)
    assert status == 0 and "0.5 false positives" in out
    assert "fewest in validation were 0.5" in refused("predict", *scan, *network, few, "0.1")
    assert "no operating points" in refused("predict", *scan, "--model", model, few, "1")
    assert few in refused("report", *visits(folder, FIRST), few, "1")


def test_what_is_expected_of_a_scan_without_a_sequence(metseg, folder, tmp_path):
    known = {"channels": (0, 0, 1), **pointed_without("flair", 0.3, 2.0)}
    network = ["--model", write_bright_model(tmp_path / "pointed" / "unet", **known), "--output", "out"]
    shutil.copytree(folder / FIRST, tmp_path / "some" / "P1", ignore=shutil.ignore_patterns("*t2f*", "*seg*"))
    shutil.copytree(folder / OTHER, tmp_path / "some" / "P2", ignore=shutil.ignore_patterns("*seg*"))
    for command in ("predict", "report"):
        scan = ["--input", tmp_path / "some" / "P1", "--allow-missing", *network]
        status, out, _ = metseg(command, *scan)
        (told,) = [line for line in out.splitlines() if "Expected" in line]
        assert status == 0 and told.startswith("Without flair: Lesions from a score of 0.3 on.")
        status, _, err = metseg(command, *scan, "--false-positives-per-scan", "1")
        assert status == 2 and FIRST in err and "without flair has no operating point" in err
    status, out, _ = metseg("predict", "--input", tmp_path / "some", "--allow-missing", *network)
    told = [line.split(": ")[0] for line in out.splitlines() if "Expected" in line]
    assert status == 0 and sorted(told) == ["With all sequences", "Without flair"]
    write_bright_model(tmp_path / "pointed" / "unet", **known | {"without_sequences": {}})
    status, out, _ = metseg("predict", *scan)
    assert status == 0 and "Expected" not in out and "was not measured" in out


def test_the_target_of_a_mask(metseg, folder):
    def volume_of(*more):
        _, out, _ = metseg("report", *visits(folder, FIRST), *more)
        return float(out.partition(" ml")[0].rpartition(" ")[2])

    assert volume_of("--target", "1") < volume_of() < volume_of("--target", "WT")


def test_one_sequence_is_enough_for_a_drawn_mask(metseg, refused, folder, model):
    one = ["--input", folder, "--sequence", f"t1c={FIRST}/{FIRST}-t1c.nii.gz"]
    status, out, err = metseg(
        "report", *one, "--mask", folder / FIRST / f"{FIRST}-seg.nii.gz", "--output", "o"
    )
    assert (status, err) == (0, "") and "lesions" in out
    assert "has no t1" in refused("report", *one, "--model", model)


def test_register(metseg, folder):
    status, out, _ = metseg("report", *visits(folder, FIRST, SECOND), "--register")
    assert status == 0 and "were registered" in out


def test_without_a_model_it_takes_what_knows_metastases(metseg, folder, both_kinds):
    status, out, _ = metseg("report", *visits(folder, FIRST, masks=False))
    assert status == 0 and out.startswith("network: mets-unet, released (outputs/released/mets-unet), taken")


def test_refuses(refused, metseg, folder, model):
    one = visits(folder, FIRST)
    assert "--model" in refused("report", *one, "--model", model)
    assert "2 --input and 1 --mask" in refused("report", *one, "--input", folder / SECOND)
    assert "in time order" in refused("report", *visits(folder, SECOND, FIRST))
    two = visits(folder, FIRST, OTHER)
    assert "2 patients" in refused("report", *two)
    assert "--target" in refused(
        "report", *visits(folder, FIRST, masks=False), "--model", model, "--target", "ET"
    )
    assert "absent" in refused("report", "--input", "absent", "--model", model)
    grid = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4))
    nib.save(grid, folder.parent / "small.nii.gz")
    line = refused("report", "--input", folder / FIRST, "--mask", folder.parent / "small.nii.gz")
    assert "small.nii.gz" in line and "grid" in line
    status, out, _ = metseg("report", *two, "--same-patient")
    assert status == 0 and "as you say" in out


def test_phantom_of_volumes(metseg, tmp_path):
    status, out, err = metseg("phantom", "set", "--volumes", "--patients", "1", "--dicom")
    assert (status, err) == (0, "")
    assert out == "1 synthetic patients, 2 scans: set\nas DICOM: set/dicom\n"
    assert len(list((tmp_path / "set").rglob("*.nii.gz"))) == 10
    assert len(list((tmp_path / "set" / "dicom").rglob("*.dcm"))) == 2 * (4 * 20 + 1)
    assert metseg("check-data", "set")[0] == 0  # DICOM beside it is no part of the data set


def test_dicom_is_of_volumes(refused):
    assert "--volumes" in refused("phantom", "set", "--dicom")
