"""The service takes volumes: what is wrong is told at once, the mask is fetched later."""

import gzip
import io
import json
import re
import time
import zipfile
from pathlib import Path
from urllib.parse import unquote

import httpx
import nibabel
import numpy as np
import pydicom
import pytest
from phantom_upload import dicom_zip, nifti_files, visit
from running_service import BRIGHT_CORNER, as_png, running, write_models
from tiny_runs import POINTED, pointed_without, write_both_kinds, write_bright_model

from metseg.data.scan_inputs import ScanInput, open_scan
from metseg.inference.predictor import Predictor
from metseg.reports.results import segment
from metseg.serve.service.api import create_app
from metseg.serve.service.gate import Access
from metseg.serve.tokens import Keys

NIFTI = [("file", (name, content)) for name, content in nifti_files().items()]
LIE = nibabel.Nifti1Header()
LIE.set_data_shape((500, 500, 100))
LIE["magic"], LIE["vox_offset"] = b"n+1", 352


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where jobs lie; empty in the end."""
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def client(models, folder):
    with running(create_app(models, jobs_folder=folder)) as client:
        yield client
    assert list(folder.iterdir()) == []


def fetch(client: httpx.Client, begun: httpx.Response) -> httpx.Response:
    assert begun.status_code == 202, begun.text
    address, deadline = begun.headers["location"], time.monotonic() + 30
    while (answer := client.get(address)).status_code == 202:
        assert answer.json()["status"] in ("queued", "running") and time.monotonic() < deadline
        time.sleep(0.02)
    assert client.get(address).status_code == 404
    return answer


def expected_mask(models) -> np.ndarray:
    """The mask on the files' grid, (x, y, z), which for the phantom is the axial one."""
    sequences = {"t1": "P7-t1n.nii.gz", "t1c": "P7-t1c.nii.gz", "flair": "P7-t2f.nii.gz"}
    given = ScanInput("P7", {sequence: nifti_files()[name] for sequence, name in sequences.items()})
    return segment(open_scan(given), Predictor(models["nested_unet"])).mask.T


def test_nifti_files_give_a_mask_on_their_grid(client, models):
    begun = client.post("/predict/", files=NIFTI)
    told = begun.json()
    assert any("P7-t1c.nii.gz" in note for note in told["notes"]) and "Research use" in told["caution"]
    answer = fetch(client, begun)
    assert answer.headers["content-type"] == "application/gzip"
    assert "P7_mask.nii.gz" in answer.headers["content-disposition"]
    assert set(json.loads(unquote(answer.headers["metseg-notes"]))) == set(told["notes"])
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.content))
    assert np.allclose(image.affine, visit().volume.affine, atol=1e-3)
    mask = np.asarray(image.dataobj)
    assert mask.any() and np.array_equal(mask, expected_mask(models))


def test_behind_a_proxy_that_strips_a_prefix(models):
    def stripped(address: str) -> str:
        assert address.startswith("/api/")
        return address.removeprefix("/api")

    access = Access(Keys({"ward": "a token of sixteen"}))
    with running(create_app(models, access=access), root_path="/api") as client:
        page = client.get("/docs").text
        for part in re.findall(r'(?:src|href)="([^"]+)"', page):
            assert client.get(stripped(part)).status_code == 200
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/api"}]
        client.headers["Authorization"] = "Bearer a token of sixteen"
        begun = client.post("/predict/", files=NIFTI)
        address, deadline = stripped(begun.headers["location"]), time.monotonic() + 30
        assert begun.json()["url"] == begun.headers["location"]
        assert client.head(address).status_code == 405  # else the mask would be sent to nobody
        while (answer := client.get(address)).status_code == 202:
            assert stripped(answer.json()["url"]) == address and time.monotonic() < deadline
        assert answer.status_code == 200


def test_the_kind_of_scan_decides_which_model_is_taken(tmp_path):
    def taken(client, answer: httpx.Response) -> str:
        if answer.status_code == 202:
            assert fetch(client, answer).status_code == 200
        return answer.json()["model"]

    with running(create_app(write_both_kinds(tmp_path))) as client:
        cards = client.get("/models").json()
        assert {card["name"]: card["default_for"] for card in cards if card["default_for"]} == {
            "lgg-attention_unet": ["slice"],
            "mets-attention_unet": ["volume"],
        }
        assert {card["label"] for card in cards} >= {"Glioma (FLAIR) · Attention U-Net", "Metastases · U-Net"}
        for asked, slice_, volume in (
            ({}, "lgg-attention_unet", "mets-attention_unet"),
            ({"model": "unet"}, "lgg-unet", "mets-unet"),
            ({"model": "lgg-unet"}, "lgg-unet", "lgg-unet"),
        ):
            slices = {"file": as_png(BRIGHT_CORNER)}
            assert taken(client, client.post("/predict", files=slices, data=asked)) == slice_
            assert taken(client, client.post("/predict", files=NIFTI, data=asked)) == volume
        form = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
        names = form["multipart/form-data"]["schema"]["properties"]["model"]["enum"]
        assert names == [card["name"] for card in cards]
        refused = client.post("/predict", files=NIFTI, data={"model": "nested_unet"})
        assert refused.json()["code"] == "unknown_model"


def test_what_prediction_says_of_a_mask_is_passed_on(models, monkeypatch):
    def doubting(scan, predictor, **how):
        return segment(scan, predictor, **how)._replace(notes=("Unlike what the network knows.", "x" * 5000))

    monkeypatch.setattr("metseg.serve.volume_results.segment", doubting)
    with running(create_app(models)) as client:
        answer = fetch(client, client.post("/predict", files=NIFTI))
        assert json.loads(unquote(answer.headers["metseg-notes"])) == ["Unlike what the network knows."]
        with_report = fetch(client, client.post("/predict", files=NIFTI, data={"also": "probabilities"}))
    with zipfile.ZipFile(io.BytesIO(with_report.content)) as archive:
        assert "Unlike what the network knows." in archive.read("notes.txt").decode()


def test_a_field_names_the_sequence_and_a_threshold_counts(client, models):
    fields = zip(("t1", "t1c", "flair"), nifti_files().values(), strict=True)
    files = {sequence: (f"{k}Ж.nii.gz", content) for k, (sequence, content) in enumerate(fields)}
    begun = client.post("/predict", files=files, data={"threshold": "0.99", "tta_flip": "true"})
    notes = begun.json()["notes"]
    assert "t1c is 1Ж.nii.gz: as you say." in notes and any("tta_flip" in note for note in notes)
    answer = fetch(client, begun)
    assert "filename*=UTF-8''0%D0%96_mask.nii.gz" in answer.headers["content-disposition"]
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.content))
    assert 0 < np.asarray(image.dataobj).sum() <= expected_mask(models).sum()


def test_a_zip_of_dicom_gives_all_that_is_asked_for(client):
    files = {"file": ("case.zip", dicom_zip())}
    answer = fetch(client, client.post("/predict/", files=files, data={"also": "report,seg"}))
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        seg = pydicom.dcmread(io.BytesIO(archive.read("PHANTOM_1_20240115_seg.dcm")))
        notes = archive.read("notes.txt").decode()
    report = [f"PHANTOM_1_20240115_report/report.{kind}" for kind in ("html", "pdf", "json")]
    assert {"PHANTOM_1_20240115_mask.nii.gz", *report} <= set(names)
    assert seg.Modality == "SEG" and "t1c is series" in notes and "Research use" in notes


def test_a_network_takes_what_it_learned_to_do_without(tmp_path, models):
    measured = {"scans": 3, "complete": 0.81, "without": {"t1+flair": 0.7}}
    known = {"never_missing": "t1c", "incomplete_dice": measured}
    folder = write_bright_model(tmp_path / "unet", name="unet", **known)
    with running(create_app({"unet": folder, **models})) as client:

        def post(*endings: str, **fields):
            files = [each for each in NIFTI if each[1][0].split("-")[1].split(".")[0] in endings]
            return client.post("/predict", files=files, data={"allow_missing": "true", **fields})

        answer = fetch(client, post("t1c"))
        notes = json.loads(unquote(answer.headers["metseg-notes"]))
        assert "0.81 to 0.70" in notes[0] and any("t1c stands in" in note for note in notes)
        for told in (post("t1n", "t2f"), post("t1c", model="nested_unet")):
            assert (told.status_code, told.json()["code"]) == (422, "unusable_volume")
            assert "choose another network" in told.json()["message"]


def test_what_to_expect_of_a_scan_without_sequences(tmp_path):
    folder = write_bright_model(tmp_path, name="nested_unet", **pointed_without("t1+flair", 0.3, 2.0))
    with running(create_app({"nested_unet": folder})) as client:
        (card,) = client.get("/models").json()
        assert card["without_sequences"]["t1+flair"]["postprocessing"]["lesion_threshold"] == 0.3
        alone = [each for each in NIFTI if "t1c" in each[1][0]]
        begun = client.post("/predict", files=alone, data={"allow_missing": "true", "also": "report"})
        assert begun.json()["expected"]["false_positives_per_scan"] == 2.0
        answer = fetch(client, begun)
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            report = json.loads(archive.read("P7_report/report.json"))
        assert "2 false positives" in report["origin"]["operating_point"]
        assert not any("As asked for" in each for each in json.loads(unquote(answer.headers["metseg-notes"])))


def test_what_to_expect_at_an_operating_point(tmp_path):
    folder = write_bright_model(tmp_path, name="nested_unet", **POINTED)
    with running(create_app({"nested_unet": folder})) as client:
        (card,) = client.get("/models").json()
        assert card["operating_points"]["points"][1]["false_positives_per_scan"] == 0.5
        assert card["lesion_calibration"]["candidates"] == 40
        asked = {"also": "report", "lesion_threshold": "0.45"}
        begun = client.post("/predict", files=NIFTI, data=asked)
        assert begun.json()["expected"]["false_positives_per_scan"] == 3.5
        with zipfile.ZipFile(io.BytesIO(fetch(client, begun).content)) as archive:
            report = json.loads(archive.read("P7_report/report.json"))
            notes = archive.read("notes.txt").decode()
        assert "3.5 false positives" in report["origin"]["operating_point"] and "3.5 false positives" in notes
        assert "lesion_threshold was 0.45" in notes and "n = 40" in report["lesion_probability"]
        own = client.post("/predict", files=NIFTI).json()
        assert own["expected"]["found"]["all"] == 3 and any(
            "0.5 false positives" in each for each in own["notes"]
        )
        other = client.post("/predict", files=NIFTI, data={"threshold": "0.4"}).json()
        assert other["expected"] is None and not any("false positives" in each for each in other["notes"])


@pytest.fixture(scope="module")
def wary(tmp_path_factory):
    """A service whose network has seen nothing but darker corners and more contrast."""
    unlike = {"corners": (-0.9, -0.8), "contrast": (90, 99)}
    trust = {"patients": 9, "volume": unlike, "slice": {"head": (0.99, 1)}}
    folder = write_bright_model(tmp_path_factory.mktemp("wary"), name="nested_unet", trust=trust)
    with running(create_app({"nested_unet": folder})) as client:
        yield client


def test_a_volume_unlike_the_training_is_refused_unless_somebody_insists(wary):
    refused = fetch(wary, wary.post("/predict", files=NIFTI))
    assert (refused.status_code, refused.json()["code"]) == (422, "unlike_training")
    assert "trust_anyway" in refused.json()["message"] and "--" not in refused.json()["message"]
    answer = fetch(wary, wary.post("/predict", files=NIFTI, data={"trust_anyway": "true"}))
    notes = json.loads(unquote(answer.headers["metseg-notes"]))
    assert "may mean nothing" in notes[0] and any("contrast" in note for note in notes)
    with_report = wary.post("/predict", files=NIFTI, data={"trust_anyway": "true", "also": "report"})
    with zipfile.ZipFile(io.BytesIO(fetch(wary, with_report).content)) as archive:
        report = json.loads(archive.read("P7_report/report.json"))
        assert notes[0] in archive.read("notes.txt").decode() and notes[0] in report["notes"]


def bad(content: bytes, name: str = "P7-t1c.nii.gz") -> list:
    return [("file", (name, content)), *[each for each in NIFTI if each[1][0] != "P7-t1c.nii.gz"]]


@pytest.mark.parametrize(
    ("files", "data", "status", "code"),
    [
        (bad(gzip.compress(LIE.binaryblock + bytes(10**6))), {}, 400, "truncated"),
        (bad(gzip.compress(b"no header" * 99)), {}, 415, "not_an_image"),
        (bad(LIE.binaryblock + bytes(99)), {}, 400, "truncated"),
        (NIFTI[:1], {}, 422, "unusable_volume"),
        (NIFTI, {"t1c": "other.nii.gz"}, 422, "invalid_setting"),
        (NIFTI, {"also": "report,all"}, 422, "invalid_setting"),
        (NIFTI, {"also": "seg"}, 422, "invalid_setting"),
        (NIFTI, {"model": "x"}, 422, "unknown_model"),
        ([("file", ("a.zip", dicom_zip()[:-40]))], {}, 400, "truncated"),
        ([*NIFTI, ("file", ("a.zip", dicom_zip()))], {}, 422, "unusable_volume"),
        ([("file", ("a.png", as_png(BRIGHT_CORNER)))] * 2, {}, 422, "several_files"),
    ],
)
def test_what_is_no_scan_is_refused_at_once(client, folder, files, data, status, code):
    answer = client.post("/predict/", files=files, data=data)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert str(folder) not in answer.text and list(folder.iterdir()) == []


def test_volumes_are_bounded_and_slices_are_not_held_up(models):
    with running(create_app(models, volumes=1)) as client:
        begun = client.post("/predict", files=NIFTI)
        full = client.post("/predict", files=NIFTI)
        assert (full.status_code, full.json()["code"]) == (503, "jobs_full")
        assert int(full.headers["retry-after"]) > 1
        assert client.post("/predict", files={"file": as_png(BRIGHT_CORNER)}).status_code == 200
        assert fetch(client, begun).status_code == 200
        assert client.post("/predict", files=NIFTI).status_code == 202
