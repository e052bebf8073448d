"""A volume in the dashboard, without a browser: files in, planes, lesions and an archive out."""

import gzip
import io
import zipfile

import nibabel
import numpy as np
import pytest
from dashboard_models import CountingPredictor, png, slice_with_lesions
from phantom_upload import dicom_zip, nifti_files, reference_file, visit
from tiny_runs import POINTED, change_description, pointed_without, write_both_kinds

from metseg.data.readers.nifti import read
from metseg.data.writers.nifti import write_mask
from metseg.reports import large_dropped
from metseg.serve.dashboard.view import Dashboard


def upload(dashboard: Dashboard, files: dict[str, bytes], *, role: str = "slice", number: int = 1) -> None:
    """Sends files in two pieces each, as a browser would."""
    total = sum(map(len, files.values()))
    for index, (name, data) in enumerate(files.items()):
        half = len(data) // 2
        for start, piece in ((0, data[:half]), (half, data[half:])):
            about = {"upload": number, "role": role, "name": name, "file": index, "files": len(files)}
            about |= {"start": start, "size": len(data), "total": total}
            dashboard._handle_custom_msg({"kind": "piece", **about}, [memoryview(piece)])


def archive_of(dashboard: Dashboard, sent: list) -> zipfile.ZipFile:
    sent.clear()
    dashboard._handle_custom_msg({"kind": "download"}, [])
    (content,) = [buffers[0] for message, buffers in sent if message["method"] == "custom" and buffers]
    return zipfile.ZipFile(io.BytesIO(content))


def test_a_volume_unlike_the_training_is_shown_with_a_note_of_the_network(dashboard, tmp_path):
    unlike = {"patients": 9, "volume": {"corners": [-0.9, -0.8]}, "slice": {}}
    change_description(tmp_path / "released" / "nested_unet", trust=unlike)
    upload(dashboard, nifti_files())
    assert "may mean nothing" in dashboard.volume["cautions"][0] and dashboard.viewer.lesions
    assert any("P7-t1c.nii.gz" in note for note in dashboard.volume["notes"])
    dashboard.set_state({"network": "attention_unet"})
    assert not any("may mean nothing" in note for note in dashboard.volume["notes"])


def test_a_network_that_needs_what_is_missing_shows_nothing(dashboard, tmp_path):
    change_description(tmp_path / "released" / "attention_unet", never_missing="t1c")
    files = {name: content for name, content in nifti_files().items() if "t2f" not in name}
    again = {"kind": "sequences", "told": {}, "missing": True}
    dashboard.set_state({"network": "attention_unet"})
    upload(dashboard, files)
    assert "let t1c stand in" in dashboard.message
    dashboard._handle_custom_msg(again, [])
    assert dashboard.message == "" and dashboard.viewer.lesions and dashboard.volume["details"]
    dashboard.set_state({"network": "nested_unet"})
    assert "P7 has no flair" in dashboard.message and "nested_unet" in dashboard.message
    assert dashboard.volume["details"] == "" and dashboard.volume["parts"]
    dashboard.set_state({"network": "attention_unet"})
    dashboard._handle_custom_msg(again, [])
    assert dashboard.message == "" and dashboard.volume["details"]


def test_nifti_files_are_shown_with_their_lesions(dashboard):
    upload(dashboard, nifti_files())
    assert dashboard.message == "" and CountingPredictor.runs == ["nested_unet"]
    volume, viewer = dashboard.volume, dashboard.viewer
    assert volume["name"] == "3 files" and volume["details"].startswith(
        "48 × 48 × 6 voxels, 3.5 × 3.5 × 16.7"
    )
    assert any("P7-t1c.nii.gz" in note for note in volume["notes"]) and not volume["dicom"]
    assert {each["key"]: each["sequence"] for each in volume["parts"]}["P7-t2f.nii.gz"] == "flair"
    assert viewer.lesions and viewer.threshold == 0.5
    before = sum(each["voxels"] for each in viewer.lesions)
    viewer.set_state({"threshold": 0.95})
    assert 0 < sum(each["voxels"] for each in viewer.lesions) < before
    dashboard.set_state({"network": "attention_unet"})
    assert CountingPredictor.runs[1:] == ["attention_unet"] and viewer.threshold == 0.25


@pytest.fixture
def of_both_kinds(tmp_path, monkeypatch, sent):
    """A dashboard with networks of glioma and of metastases."""
    monkeypatch.setattr(CountingPredictor, "runs", [])
    made = Dashboard(write_both_kinds(tmp_path), predictor=CountingPredictor)
    yield made
    made.close_volume()


def test_the_network_follows_the_kind_of_scan_until_a_visitor_chooses(of_both_kinds):
    dashboard, slice_ = of_both_kinds, {"a.png": png(slice_with_lesions())}
    best, volumes, other = "lgg-attention_unet", "mets-attention_unet", "mets-unet"
    labels = {each["name"]: each["label"] for each in dashboard.choices}
    assert labels[best] == "Glioma (FLAIR) · Attention U-Net" and labels[other] == "Metastases · U-Net"
    assert dashboard.network == best
    volume, slice_ = (nifti_files(), volumes), (slice_, best)
    for number, (files, taken) in enumerate((volume, volume, slice_, volume)):
        upload(dashboard, files, number=number)
        assert (dashboard.message, dashboard.network) == ("", taken)
        assert dashboard.about[0]["label"] == labels[taken]
    assert len(CountingPredictor.runs) == 4  # each once for what was opened, and none for what was closed
    upload(dashboard, slice_[0], number=7)
    dashboard.set_state({"network": other})
    for number, files in ((8, nifti_files()), (9, slice_[0])):
        upload(dashboard, files, number=number)
        assert dashboard.network == other
    assert dashboard.results[0].network == other


def test_a_slice_is_made_with_the_settings_of_its_own_network(of_both_kinds, tmp_path):
    change_description(tmp_path / "mets-attention_unet", **POINTED)
    again = Dashboard({path.name: path for path in sorted(tmp_path.iterdir())}, predictor=CountingPredictor)
    upload(again, nifti_files())
    assert again.threshold == POINTED["postprocessing"]["threshold"]
    upload(again, {"a.png": png(slice_with_lesions())}, number=2)
    assert again.network.startswith("lgg-") and again.threshold == 0.5 and not again.changed
    assert again.results[0].settings.threshold == 0.5 and again.volume == {}


def test_a_network_with_operating_points_is_cut_by_them(dashboard, sent, tmp_path):
    upload(dashboard, nifti_files())
    assert dashboard.viewer.points == [] and dashboard.viewer.rating == {}
    change_description(tmp_path / "released" / "attention_unet", **POINTED)
    dashboard.set_state({"network": "attention_unet"})
    viewer = dashboard.viewer
    assert viewer.threshold == 0.9 and [each["threshold"] for each in viewer.points] == [0.5, 0.9]
    assert "0.5 false positives" in viewer.points[1]["told"] and "n = 40" in viewer.rating["told"]
    assert viewer.rating["share"] and 0.25 < viewer.lesions[0]["rated"] < 1
    strict = [each["voxels"] for each in viewer.lesions]
    viewer.set_state({"threshold": 0.5})
    assert {*strict} <= {each["voxels"] for each in viewer.lesions}  # a lesion is there whole, or not at all
    with archive_of(dashboard, sent) as archive:
        notes = archive.read("notes.txt").decode()
    assert "3.5 false positives" in notes and "lesion_threshold was 0.5" in notes


def test_a_scan_without_a_sequence_begins_at_an_operating_point_of_its_own(dashboard, sent, tmp_path):
    change_description(tmp_path / "released" / "attention_unet", **pointed_without("flair", 0.3, 2.0))
    dashboard.set_state({"network": "attention_unet"})
    upload(dashboard, {name: content for name, content in nifti_files().items() if "t2f" not in name})
    dashboard._handle_custom_msg({"kind": "sequences", "told": {}, "missing": True}, [])
    assert dashboard.viewer.threshold == 0.3 and len(dashboard.viewer.points) == 1
    with archive_of(dashboard, sent) as archive:
        notes = archive.read("notes.txt").decode()
    assert "2 false positives" in notes and "As asked for" not in notes
    upload(dashboard, nifti_files(), number=2)
    assert dashboard.viewer.threshold == 0.9 and len(dashboard.viewer.points) == 2


def test_what_the_chosen_threshold_drops_is_told_if_large(dashboard, tmp_path, monkeypatch):
    monkeypatch.setattr(large_dropped, "LARGE_MM3", 0.0)  # all is
    change_description(tmp_path / "released" / "attention_unet", **POINTED)
    dashboard.set_state({"network": "attention_unet"})
    upload(dashboard, nifti_files())
    for threshold, has_lesion in ((0.999, False), (0.5, True), (0.999, False)):
        dashboard.viewer.set_state({"threshold": threshold})
        assert bool(dashboard.viewer.lesions) == has_lesion
        assert any(" ml is not in the mask" in each for each in dashboard.volume["cautions"]) != has_lesion


def test_where_nothing_was_measured_the_threshold_is_still_that_of_lesions(dashboard, tmp_path):
    change_description(tmp_path / "released" / "attention_unet", **POINTED, never_missing="t1c")
    dashboard.set_state({"network": "attention_unet"})
    upload(dashboard, {name: content for name, content in nifti_files().items() if "t2f" not in name})
    dashboard._handle_custom_msg({"kind": "sequences", "told": {}, "missing": True}, [])
    viewer = dashboard.viewer
    assert viewer.threshold == 0.9 and viewer.points == []
    assert any("without flair was not measured" in each for each in dashboard.volume["cautions"])
    before = sum(each["voxels"] for each in viewer.lesions)
    viewer.set_state({"threshold": 0.3})
    assert viewer.lesions and sum(each["voxels"] for each in viewer.lesions) >= before > 0


def test_a_reference_is_compared_at_the_threshold_chosen(dashboard):
    upload(dashboard, nifti_files())
    upload(dashboard, {"ref.nii.gz": reference_file()}, role="reference", number=2)
    found, viewer = dashboard.volume_reference, dashboard.viewer
    marked, reference = sum(each["voxels"] for each in viewer.lesions), int((visit().labels > 0).sum())
    assert found["hit"] + found["extra"] == marked and found["hit"] + found["missed"] == reference
    assert found["dice"] == pytest.approx(2 * found["hit"] / (marked + reference)) and viewer.reference
    viewer.set_state({"threshold": 0.95})
    assert dashboard.volume_reference["extra"] < found["extra"]
    dashboard._handle_custom_msg({"kind": "drop_reference"}, [])
    assert dashboard.volume_reference == {} and viewer.reference == b""


def test_a_mask_of_metseg_s_own_is_no_reference(dashboard, tmp_path_factory):
    path, drawn = tmp_path_factory.mktemp("own") / "mask.nii.gz", read(reference_file())[0]
    write_mask(drawn.array[0], drawn, path, is_result=True)
    own = path.read_bytes()
    upload(dashboard, {**nifti_files(), "P7_mask.nii.gz": own})
    assert dashboard.volume_reference == {} and "P7_mask" in dashboard.message
    assert dashboard.volume["details"]
    upload(dashboard, {"P7_mask.nii.gz": own}, role="reference", number=2)
    assert dashboard.volume_reference == {} and "P7_mask" in dashboard.message


def test_a_reference_among_the_files_is_compared_at_once(dashboard):
    upload(dashboard, {**nifti_files(), "P7-seg.nii.gz": reference_file()})
    assert dashboard.message == "" and dashboard.volume_reference["name"] == "P7-seg.nii.gz"
    files = {**nifti_files(), "P7-seg.nii.gz": nifti_files()["P7-t1c.nii.gz"]}
    upload(dashboard, files, number=2)
    assert "P7-seg.nii.gz" in dashboard.message  # which is no mask; the scan is there all the same
    assert dashboard.volume["details"] and dashboard.volume_reference == {}


def test_the_archive_holds_the_mask_that_is_seen(dashboard, sent):
    upload(dashboard, {"case.zip": dicom_zip()})
    assert dashboard.volume["dicom"]
    dashboard.viewer.set_state({"threshold": 0.95})
    with archive_of(dashboard, sent) as archive:
        names, notes = set(archive.namelist()), archive.read("notes.txt").decode()
        mask = archive.read("PHANTOM_1_20240115_mask.nii.gz")
    ends = ("mask.nii.gz", "seg.dcm", "sr.dcm", "rtstruct.dcm", "report/report.html", "report/report.pdf")
    assert {f"PHANTOM_1_20240115_{end}" for end in ends} <= names
    assert "threshold was 0.95" in notes and "t1c is series" in notes
    voxels = np.asarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(mask)).dataobj).sum()
    assert voxels == sum(each["voxels"] for each in dashboard.viewer.lesions)


def test_who_says_which_file_is_which_has_the_scan_read_again(dashboard):
    t1, t1c, flair = nifti_files().values()
    upload(dashboard, {"a.nii.gz": t1, "b.nii.gz": t1c, "c_flair.nii.gz": flair})
    assert "t1" in dashboard.message and dashboard.volume["details"] == "" and dashboard.viewer is None
    told = {"t1": "a.nii.gz", "t1c": "b.nii.gz"}
    dashboard._handle_custom_msg({"kind": "sequences", "told": told, "missing": False}, [])
    assert dashboard.message == "" and dashboard.volume["details"] and dashboard.viewer.lesions
    assert "t1c is b.nii.gz: as you say." in dashboard.volume["notes"]
    dashboard._handle_custom_msg({"kind": "sequences", "told": {"t1": "../x"}, "missing": True}, [])
    assert "../x" in dashboard.message and dashboard.volume["details"] == ""


def test_a_slice_takes_the_place_of_a_volume_and_a_volume_that_of_a_slice(dashboard):
    one = {"slice.png": png(slice_with_lesions())}
    upload(dashboard, one)
    upload(dashboard, nifti_files(), number=2)
    assert dashboard.upload is None and dashboard.tables == [] and dashboard.volume["details"]
    upload(dashboard, {"broken.zip": dicom_zip()[:-50]}, number=3)
    assert "broken.zip" in dashboard.message and dashboard.volume["name"] == "3 files"
    upload(dashboard, one, number=4)
    assert dashboard.volume == {} and dashboard.file_name == "slice.png" and dashboard.message == ""
    upload(dashboard, {"1.png": b"x", "2.png": b"y"}, number=5)
    assert dashboard.message.startswith("One slice at a time")
    upload(dashboard, {"ref.nii.gz": reference_file()}, role="reference", number=6)
    assert "ref.nii.gz" in dashboard.message


def test_a_piece_that_comes_twice_is_taken_once(dashboard):
    files = nifti_files()
    (name, data), *_ = files.items()
    about = {"upload": 1, "role": "slice", "name": name, "file": 0, "files": 3, "size": len(data), "total": 9}
    for _ in range(2):
        dashboard._handle_custom_msg({"kind": "piece", **about, "start": 0}, [memoryview(data[:100])])
    assert dashboard.message == "" and dashboard.volume == {}
    upload(dashboard, files, number=2)
    assert dashboard.volume["details"]
