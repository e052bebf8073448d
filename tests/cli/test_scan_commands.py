"""Commands on scans: predict, check-data, phantom; and which network a name stands for."""

import json
import shutil
from dataclasses import asdict

import cv2
import numpy as np
import pytest
import tifffile
from cli_words import grey, half_bright, written
from phantom_upload import nifti_files
from tiny_runs import write_bright_model

from metseg.data.provenance import PHANTOM


def test_predict_one_file(metseg, model, tmp_path):
    tifffile.imwrite(tmp_path / "scan.tif", half_bright(), photometric="rgb")
    status, out, err = metseg("predict", "--model", model, "--input", "scan.tif", "--output", "masks")
    assert (status, err) == (0, "") and "1 masks by" in out
    told, read, done, _ = out.splitlines()  # before it works, and when it has
    assert read == "1 file: 1 single slice"
    assert told == f"network: {model}, trained on test scans. Test scans: nothing follows from them."
    assert done.startswith(f"1 masks by {model}: ")
    ((name, mask),) = written(tmp_path / "masks").items()
    assert name == "scan_mask.tif" and mask.shape == (37, 53)
    # the network sees 32 px for 53, so the edge at column 24 is sharp to two pixels
    assert (mask[:, :22] == 0).all() and (mask[:, 26:] == 255).all()


def test_predict_a_tree(metseg, model, tmp_path):
    source = tmp_path / "in"
    (source / "a" / "deep").mkdir(parents=True)
    tifffile.imwrite(source / "white.tif", grey(37, 53, value=255), photometric="rgb")
    tifffile.imwrite(source / "white_mask.tif", grey(37, 53)[..., 0])
    cv2.imwrite(str(source / "a" / "x.png"), half_bright(40, 48)[..., ::-1])
    cv2.imwrite(str(source / "a" / "deep" / "y.jpg"), grey(20, 64, value=255))
    cv2.imwrite(str(source / "a" / "deep" / "black.jpeg"), grey(33, 31))
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}

    status, out, err = metseg("predict", "--model", model, "--input", source, "--output", tmp_path / "out")
    assert (status, err) == (0, "") and "4 masks by" in out
    masks = written(tmp_path / "out")
    assert {name: mask.shape for name, mask in masks.items()} == {
        "a/deep/black_mask.tif": (33, 31),
        "a/deep/y_mask.tif": (20, 64),
        "a/x_mask.tif": (40, 48),
        "white_mask.tif": (37, 53),
    }
    assert (masks["white_mask.tif"] == 255).all() and (masks["a/deep/y_mask.tif"] == 255).all()
    assert (masks["a/deep/black_mask.tif"] == 0).all()
    assert (masks["a/x_mask.tif"][:, :22] == 0).all() and (masks["a/x_mask.tif"][:, 26:] == 255).all()
    assert before == {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}


def test_predict_refuses_what_is_unlike_the_training(metseg, tmp_path):
    trust = {"patients": 9, "volume": {}, "slice": {"head": (0, 0.1), "corners": (0, 0.1)}}
    wary = write_bright_model(tmp_path / "wary", trust=trust)
    (tmp_path / "in").mkdir()
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / "in" / name, grey(40, 40, value=255), photometric="rgb")
    asked = ("predict", "--model", wary, "--input", "in", "--output", "out")
    status, _, err = metseg(*asked)
    assert status == 2 and all(text in err for text in ("a.tif", "b.tif", "--trust-anyway"))
    assert written(tmp_path / "out") == {}
    status, out, err = metseg(*asked, "--trust-anyway")
    assert (status, err, len(written(tmp_path / "out"))) == (0, "", 2)
    assert "note: " in out and "may mean nothing" in out and "1 more" in out


def test_predict_names_every_bad_file(metseg, model, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no image")
    tifffile.imwrite(tmp_path / "in" / "b.tif", np.zeros((9, 9, 2), np.uint8), photometric="minisblack")
    status, _, err = metseg("predict", "--model", model, "--input", "in", "--output", "out")
    lines = err.splitlines()
    assert status == 2 and len(lines) == 2
    assert all(line.startswith("metseg: in/") for line in lines)
    assert "a.png is no image" in lines[0] and "b.tif has " in lines[1]


def test_a_damaged_slice_is_never_left_out_of_a_volume(metseg, model, tmp_path):
    """Its neighbours would be taken for each other's."""
    (tmp_path / "in" / "P1").mkdir(parents=True)
    for name in ("P1/P1_1.tif", "P1/P1_2.tif", "P1/P1_3.tif", "alone.tif"):
        tifffile.imwrite(tmp_path / "in" / name, grey(8, 8), photometric="rgb")
    (tmp_path / "in" / "P1" / "P1_2.tif").write_bytes(b"")
    status, _, err = metseg("predict", "--model", model, "--input", "in", "--output", "out")
    assert status == 2 and "P1_2.tif" in err and "scan" in err
    assert list(written(tmp_path / "out")) == ["alone_mask.tif"]


def test_predict_takes_strangers_one_by_one_unless_told(metseg, model, tmp_path):
    (tmp_path / "in").mkdir()
    for n in (1, 2, 3):
        tifffile.imwrite(tmp_path / "in" / f"image_{n}.tif", grey(8, 8), photometric="rgb")
    call = ("predict", "--model", model, "--input", "in", "--output", "out")
    assert "3 files: 3 single slices" in metseg(*call)[1].splitlines()
    assert "3 files: 1 scan of 3 slices" in metseg(*call, "--volume")[1].splitlines()


def test_predict_refuses(refused, model, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", grey(8, 8), photometric="rgb")
    (tmp_path / "empty").mkdir()
    where = ["--output-dir", tmp_path / "runs", "--input"]
    line = refused("predict", "--model", "resnet", *where, "a.tif")
    assert "no network 'resnet'" in line and "nested_unet, attention_unet or unet" in line
    assert "absent does not exist" in refused("predict", "--model", model, *where, "absent")
    assert "empty holds no image" in refused("predict", "--model", model, *where, "empty")
    tifffile.imwrite(tmp_path / "a_mask.tif", grey(8, 8)[..., 0])
    line = refused("predict", "--model", model, "--output", ".", *where, "a.tif")
    assert "a_mask.tif lies there already" in line


def test_predict_refuses_a_changed_model(refused, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", grey(8, 8), photometric="rgb")
    folder = write_bright_model(tmp_path / "unet")
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    assert "model.onnx is not the file" in refused("predict", "--model", folder, "--input", "a.tif")
    (folder / "model.json").write_text("{")
    assert "model.json is damaged" in refused("predict", "--model", folder, "--input", "a.tif")


@pytest.mark.parametrize(
    ("name", "told", "white"),
    [
        ("unet", "unet, released (outputs/released/unet), trained on test scans, 2 patients seen", 255),
        ("mine/unet", "mine/unet (outputs/runs/mine/unet), trained on test scans", 0),
        ("mine", "mine/unet (outputs/runs/mine/unet)", 0),
        ("outputs/runs/mine/unet/model.onnx", "mine/unet (outputs/runs/mine/unet)", 0),
    ],
)
def test_a_bare_name_is_the_released_network(metseg, two_networks, name, told, white):
    status, out, _ = metseg("predict", "--model", name, "--input", "a.tif")
    assert status == 0 and out.startswith(f"network: {told}")
    assert (written(two_networks / "predictions")["a_mask.tif"] == white).all()


def of_volumes_and_slices(tmp_path) -> tuple:
    """Names of a volume and of a slice, to be segmented."""
    for name, content in nifti_files().items():
        (tmp_path / name).write_bytes(content)
    tifffile.imwrite(tmp_path / "a.tif", half_bright(), photometric="rgb")
    return "P7-t1c.nii.gz", "a.tif"


@pytest.mark.parametrize(
    ("name", "volume", "slice_"),
    [
        (None, "mets-unet", "lgg-attention_unet"),
        ("unet", "mets-unet", "lgg-unet"),
        ("lgg-unet", "lgg-unet", "lgg-unet"),
        ("mets-unet", "mets-unet", "mets-unet"),
    ],
)
def test_the_kind_of_scan_decides_what_is_not_said(metseg, both_kinds, tmp_path, name, volume, slice_):
    for scan, taken in zip(of_volumes_and_slices(tmp_path), (volume, slice_), strict=True):
        status, out, _ = metseg("predict", *(["--model", name] if name else []), "--input", scan)
        told = out.splitlines()[0]
        assert status == 0 and told.startswith(f"network: {taken}, released (outputs/released/{taken}), ")
        assert ("taken for" in told) == (name != taken)
        knows = "Metastases drawn by metseg" if taken.startswith("mets-") else "not metastasis."
        assert knows in told


def test_a_volume_goes_to_glioma_where_nothing_knows_metastases(metseg, both_kinds, tmp_path):
    for name in ("mets-unet", "mets-attention_unet"):
        shutil.rmtree(both_kinds[name])
    volume, _ = of_volumes_and_slices(tmp_path)
    told = metseg("predict", "--input", volume)[1].splitlines()[0]
    assert told.startswith("network: lgg-attention_unet, ") and "no mets network" in told
    assert told.endswith("not metastasis.")


def test_a_network_of_the_phantom_refuses_other_scans(metseg, refused, tmp_path, scans):
    phantom = asdict(PHANTOM)
    folder = write_bright_model(tmp_path / "run" / "unet", data=phantom)
    (tmp_path / "in").mkdir()
    for name in ("PHANTOM_0001_20000101_1.tif", "TCGA_CS_0001_20000101_1.tif"):
        tifffile.imwrite(tmp_path / "in" / name, half_bright(), photometric="rgb")
    predict = ["predict", "--model", folder, "--input"]
    assert "--phantom-network" in refused(*predict, "in")  # one of them is enough
    assert "--phantom-network" in refused("evaluate", "--model", folder, "--data-dir", scans)
    assert metseg(*predict, "in/PHANTOM_0001_20000101_1.tif")[0] == 0
    assert metseg(*predict, "in", "--phantom-network")[0] == 0
    assert metseg("evaluate", "--model", folder, "--data-dir", scans, "--phantom-network")[0] == 0
    # of what a visitor will send nobody knows
    for command in ("serve", "dashboard"):
        assert "--phantom-network" in refused(command, "--model", folder, "--port", "0")


@pytest.mark.parametrize("command", ["serve", "dashboard"])
def test_what_is_served_has_the_same_names(metseg, refused, two_networks, monkeypatch, command):
    served = []
    monkeypatch.setattr("metseg.serve.service.server.serve", lambda models, **options: served.append(models))
    monkeypatch.setattr(
        "metseg.serve.dashboard.voila_server.serve_dashboard",
        lambda models, **options: served.append(models),
    )
    outputs = two_networks / "outputs"
    released, mine = outputs / "released" / "unet", outputs / "runs" / "mine" / "unet"
    _, out, _ = metseg(command, "--model", "mine", "--model", "unet")
    assert list(served[-1].items()) == [("mine/unet", mine), ("unet", released)]
    assert [line.split()[1] for line in out.splitlines()] == ["mine/unet", "unet,"]
    metseg(command)
    assert served[-1] == {"unet": released}
    assert "there is no network 'resnet'" in refused(command, "--model", "resnet")


@pytest.mark.parametrize("command", ["serve", "dashboard"])
def test_what_is_served_says_what_it_is_the_default_for(metseg, both_kinds, monkeypatch, command):
    served = []
    keep = lambda models, **options: served.append([*models])  # noqa: E731
    monkeypatch.setattr("metseg.serve.service.server.serve", keep)
    monkeypatch.setattr("metseg.serve.dashboard.voila_server.serve_dashboard", keep)
    told = metseg(command)[1].splitlines()
    assert sorted(served[-1]) == sorted(both_kinds)
    assert "the default for slices" in told[0] and told[0].startswith("network: lgg-attention_unet")
    assert [line.split()[1] for line in told if "the default for volumes" in line] == ["mets-unet,"]
    metseg(command, "--model", "unet", "--model", "mets-attention_unet")
    assert served[-1] == ["lgg-unet", "mets-unet", "mets-attention_unet"]


def test_check_data_shows_who_is_who_and_begins_a_table(metseg, scans):
    pattern = ["--patient-pattern", r"TEST_0*(?P<patient>[0-9]+)_(?P<visit>.+)"]
    status, out, err = metseg("check-data", "scans", *pattern, "--write-patients")
    assert (status, err) == (0, "")
    assert [line.split() for line in out.splitlines() if "pattern" in line][1] == [
        "1", "TEST_0001_20000101", "20000101", "pattern",
    ]  # fmt: skip
    table = (scans / "patients.csv").read_text().splitlines()
    assert table[:2] == ["case_id,patient_id,visit", "TEST_0001_20000101,1,20000101"]
    assert "told by patients.csv" in metseg("check-data", "scans")[1].splitlines()[0]
    assert metseg("check-data", "scans", "--write-patients")[0] == 2


def test_check_data_damaged(metseg, scans):
    paths = sorted(scans.rglob("*_1.tif"))
    paths[0].write_bytes(paths[0].read_bytes()[:200])
    paths[1].with_name(f"{paths[1].stem}_mask.tif").unlink()
    status, out, err = metseg("check-data", "scans")
    assert (status, err) == (1, "")
    errors = [line for line in out.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2 and paths[0].name in out and f"{paths[1].name} has no mask" in out
    assert out.endswith("2 errors: mend them before you train\n")


def test_phantom_inserts_into_volumes(metseg, refused, tmp_path):
    assert metseg("phantom", "heads", "--volumes", "--patients", "1")[0] == 0
    status, out, _ = metseg("phantom", "new", "--insert-into", "heads", "--patients", "1")
    assert status == 0 and "1 scans: new" in out
    assert "--volumes" in refused("phantom", "other", "--insert-into", "heads", "--volumes")
    status, out, _ = metseg("check-data", "new")
    assert status == 0 and "synthetic metastases in real brains" in out


def test_phantom(metseg, tmp_path):
    status, out, err = metseg("phantom", "new/set", "--patients", "1", "--seed", "3")
    assert (status, out, err) == (0, "1 synthetic patients: new/set\n", "")
    case = tmp_path / "new" / "set" / "PHANTOM_S3_0001_20000101"
    assert len(list(case.glob("*_mask.tif"))) == 16 and len(list(case.iterdir())) == 32
    assert json.loads((tmp_path / "new" / "set" / "phantom.json").read_text())["seed"] == 3
    status, out, _ = metseg("check-data", "new/set")
    assert status == 0 and "metseg phantom: 1 patients" in out
