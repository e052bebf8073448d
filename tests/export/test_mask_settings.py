"""How masks are made: which lesions of a volume are kept, and that validation patients say so."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import SIZE, write_bright_model
from tiny_scans import write_case

from metseg.base.errors import MetsegError
from metseg.data.cases import find_cases
from metseg.data.split import Split, write_split
from metseg.data.volume import Volume
from metseg.export.mask_settings import set_masks
from metseg.export.validation_dice import volume_dice
from metseg.inference.predictor import Predictor
from metseg.training.run_folder import RunFolder


def scan(lesion_side: int, speck_side: int) -> tuple[np.ndarray, np.ndarray]:
    """One slice with a bright lesion in the middle and a bright speck, which is none, in a corner."""
    image, mask = np.zeros((1, SIZE, SIZE, 3), np.uint8), np.zeros((1, SIZE, SIZE), bool)
    mask[0, 10 : 10 + lesion_side, 10 : 10 + lesion_side] = True
    image[mask] = 255
    image[0, 26 : 26 + speck_side, 26 : 26 + speck_side] = 255
    return image, mask


@pytest.fixture
def model_dir(tmp_path) -> RunFolder:
    """A model that marks what is bright, whose one validation patient is TEST_0002."""
    return write_model(tmp_path / "model", "TEST_0002")


def write_model(folder: Path, *validation: str) -> RunFolder:
    write_bright_model(folder)
    roles = {"train": ("TEST_0001",), "validation": validation, "test": ("TEST_0003",)}
    write_split(Split(**roles, seed=0, fingerprint=""), folder / "split.json")
    return RunFolder(folder)


def cases_of(folder: Path, **scans) -> list:
    for name, (image, mask) in scans.items():
        write_case(folder, f"{name}_20000101", image, mask)
    return find_cases(folder)


def chosen(model_dir: RunFolder) -> dict:
    return json.loads(model_dir.description.read_text())


def large_and_far() -> tuple[np.ndarray, np.ndarray]:
    """64 px of lesion in each of four slices; 70 px, which are none, lie in a slice behind an empty one."""
    image, mask = (np.concatenate([*4 * [each], 0 * each, 0 * each]) for each in scan(8, 0))
    image[5, 20:30, 20:27] = 255
    return image, mask


def test_a_false_lesion_far_from_the_large_one_goes(model_dir, tmp_path):
    image, mask = large_and_far()
    set_masks(model_dir, cases_of(tmp_path / "scans", TEST_0002=(image, mask)))
    record = chosen(model_dir)
    assert record["postprocessing"] == {"threshold": 0.5, "min_lesion_px": 0, "fill_holes": False}
    assert record["tta_flip"] is True and record["min_volume_share"] == 0.3
    assert record["validation_dice"] == 1.0 and record["validation_patients"] == 1
    assert record["validation_dice_of_patients"] == {"TEST_0002": 1.0}
    assert Predictor(model_dir.path).mask(Volume.of_slices(image))[5].sum() == 0
    alone = Predictor(model_dir.path).mask(Volume.of_slice(image[5]))
    assert alone.sum() == 70  # alone it has nothing to be small beside


def test_a_second_lesion_is_not_given_up_for_dice(tmp_path):
    """As before, but of the 70 px 4 are a lesion; of seven other patients each has one."""
    model_dir = write_model(tmp_path / "model", *(f"TEST_{k}" for k in range(10, 18)))
    image, mask = large_and_far()
    mask[5, 20:22, 20:22] = True
    others = {f"TEST_{k}": scan(8, 0) for k in range(11, 18)}
    set_masks(model_dir, cases_of(tmp_path / "scans", TEST_10=(image, mask), **others))
    assert chosen(model_dir)["min_volume_share"] == 0.1
    assert chosen(model_dir)["validation_dice"] == pytest.approx((520 / 586 + 7) / 8)


@pytest.mark.parametrize(("with_one", "share"), [(7, 0.3), (6, 0.0)])
def test_where_small_lesions_are_usual_none_is_dropped(model_dir, tmp_path, with_one, share):
    """A share of 0.3 would be as good as can be, but of the patients learned from one has a small lesion."""
    image, mask = large_and_far()
    small = np.zeros_like(mask)
    small[0, :20, :20] = small[5, 20:22, 20:22] = True  # 400 and 4 px
    scans = {"TEST_0002": (image, mask), "TEST_0001": (image, small)}
    one = {f"TEST_0001_2000010{k}": scan(8, 0) for k in range(2, 1 + with_one)}
    for name, each in one.items():
        write_case(tmp_path / "scans", name, *each)
    set_masks(model_dir, cases_of(tmp_path / "scans", **scans))
    assert chosen(model_dir)["min_volume_share"] == share


def test_slices_by_themselves(model_dir, tmp_path):
    """With its volume's percentiles a dim slice stays dark; by itself all of its tissue lights up.

    Volume: 64 px found of 64. Alone: 64 + 100 px marked, 64 of them right; Dice 128 / 228.
    """
    description = chosen(model_dir)
    description["preprocessing"]["intensity"] = "volume"
    description["postprocessing"]["threshold"] = 0.35  # of the training, which stays
    model_dir.description.write_text(json.dumps(description))
    bright, mask = scan(8, 0)
    bright[0, :2, :2] = 10
    dim = np.zeros_like(bright)
    dim[0, :10, :10] = 60
    dim[0, 20, 20:23] = 10
    volume = np.concatenate([bright, dim]), np.concatenate([mask, np.zeros_like(mask)])
    set_masks(model_dir, cases_of(tmp_path / "scans", TEST_0002=volume))
    assert chosen(model_dir)["validation_dice"] == 1.0
    assert chosen(model_dir)["validation_dice_single_slices"] == pytest.approx(128 / 228)
    assert chosen(model_dir)["postprocessing"]["threshold"] == 0.35


def test_without_validation_patients(model_dir, tmp_path):
    before = chosen(model_dir)
    with pytest.raises(MetsegError, match="no scan of TEST_0002, on whom .* was validated; give the scans"):
        set_masks(model_dir, cases_of(tmp_path / "scans", TEST_0001=scan(8, 2)))
    assert chosen(model_dir) == before


def healthy(speck_side: int) -> tuple[np.ndarray, np.ndarray]:
    image, mask = scan(8, speck_side)
    image[mask] = 0
    return image, np.zeros_like(mask)


def test_who_has_no_lesion_can_only_lower_the_dice(tmp_path):
    """Lesions of 64 px, all found; a speck of 16 px in one who has none is worth 16 / 80."""
    run = write_model(tmp_path / "model", "TEST_0002", "TEST_0004", "TEST_0005")
    scans = {"TEST_0002": scan(8, 0), "TEST_0004": healthy(4), "TEST_0005": healthy(0)}
    cases = cases_of(tmp_path / "scans", **scans)
    set_masks(run, cases)
    found = volume_dice(Predictor(run.path), cases)
    assert found.of_patient.to_dict() == {"TEST_0002": 1.0}
    assert found.false_alarm.to_dict() == pytest.approx({"TEST_0004": 0.2, "TEST_0005": 0.0})
    assert found.mean == pytest.approx(1 / 1.2) == chosen(run)["validation_dice"]


def test_without_a_lesion_nothing_is_settled(model_dir, tmp_path):
    before = chosen(model_dir)
    with pytest.raises(MetsegError, match="none of the patients .* has a lesion"):
        set_masks(model_dir, cases_of(tmp_path / "scans", TEST_0002=healthy(0)))
    assert chosen(model_dir) == before
