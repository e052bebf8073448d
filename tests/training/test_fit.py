"""Training: what it leaves behind, what it refuses, and that an interruption changes nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from tiny_scans import finished_training, tiny_config, write_case, write_scans

from metseg.base.errors import MetsegError
from metseg.data.split import read_split
from metseg.models import build_model
from metseg.models.encoders import efficientnet_lite
from metseg.models.encoders.efficientnet_lite import load_imagenet
from metseg.training import fit as train_module
from metseg.training.batches import EpochBatches
from metseg.training.config import TrainConfig
from metseg.training.dataset import prepare_data
from metseg.training.fit import train
from metseg.training.validation import Validation, validate

# All columns but seconds.
COMPARED = ["epoch", "image_size", "loss", "val_loss", "val_dice", "predicts_nothing", "learning_rate"]


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    return write_scans(tmp_path_factory.mktemp("scans"))


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def config(scans) -> TrainConfig:
    return tiny_config(scans, precision="mixed_bfloat16")


@pytest.fixture(scope="module")
def finished(config, cache_dir, tmp_path_factory) -> Path:
    model_dir = tmp_path_factory.mktemp("finished") / "unet"
    train(config, model_dir, cache_dir=cache_dir)
    return model_dir


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A finished training that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "unet"))


def history_of(model_dir: Path) -> pd.DataFrame:
    return pd.read_csv(model_dir / "history.csv")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def fake_validation(monkeypatch, *dice: float) -> list[list[np.ndarray]]:
    """Replaces the validation Dice of each epoch; returns the list that will hold each epoch's weights."""
    weights = []

    def validate(model, cache, rows, config, **options):
        weights.append(model.get_weights())
        return Validation(0.0, dice[len(weights) - 1])

    monkeypatch.setattr(train_module, "validate", validate)
    return weights


# what a training leaves behind


def test_files_of_a_finished_training(finished):
    names = {path.name for path in finished.iterdir()} - {".lock"}
    assert names == {
        "config.json",
        "split.json",
        "history.csv",
        "progress.json",
        "model.keras",
        "manifest.json",
        "checkpoint",  # more epochs go on from there
    }  # no partial file is left
    table = history_of(finished)
    assert list(table.columns) == [*COMPARED, "seconds"]
    assert list(table.epoch) == [1, 2]
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["epochs_trained"] == 2 and manifest["precision"] == "mixed_bfloat16"
    assert manifest["validation_dice"] == table.val_dice.max()
    assert manifest["best_epoch"] == 1 + table.val_dice.argmax()
    assert manifest["data"]["patients"] == 7 and manifest["data"]["slices"] == 21
    assert manifest["config"] == json.loads((finished / "config.json").read_text())
    assert manifest["data"]["fingerprint"] == read_split(finished / "split.json").fingerprint
    progress = json.loads((finished / "progress.json").read_text())
    assert progress["done"] and progress["epoch"] == progress["epochs"] == 2
    assert progress["step"] == progress["steps"] and progress["seconds_left"] == 0


def test_the_model_is_plain_keras_in_float32(finished, config):
    assert config.learning.precision == "mixed_bfloat16"
    model = keras.saving.load_model(finished / "model.keras")
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    kinds = {type(layer) for layer in model.layers}
    assert keras.layers.BatchNormalization in kinds
    assert {kind.__module__.split(".")[0] for kind in kinds} == {"keras"}
    assert not model.compiled and model.output_shape == (None, None, None, 1)


def test_a_network_learns_the_blobs(tmp_path_factory):
    table = history_of(finished_training(tmp_path_factory))
    assert table.loss.iloc[-1] < 0.7 * table.loss.iloc[0]
    assert table.val_dice.max() > 0.5


def test_a_second_call_returns_the_model_without_training(finished, config, cache_dir, monkeypatch):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    monkeypatch.setattr(train_module, "_train_epochs", lambda *_: pytest.fail("trained again"))
    model = train(config, finished, cache_dir=cache_dir)
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
    saved = keras.saving.load_model(finished / "model.keras")
    images = np.random.default_rng(3).random((2, 32, 32, 3), np.float32)
    np.testing.assert_array_equal(model.predict_on_batch(images), saved.predict_on_batch(images))


def test_training_leaves_keras_as_it_was(finished):
    assert keras.config.dtype_policy().name == "float32"


# what it refuses


def test_another_configuration_is_refused_by_name(finished, config, cache_dir):
    changed = config.changed(**{"learning_rate": 0.02, "loss": "dice"})
    with pytest.raises(MetsegError, match=r"loss bce_dice → dice, learning_rate 0\.01 → 0\.02\)") as error:
        train(changed, finished, cache_dir=cache_dir)
    assert "epochs" not in str(error.value)
    assert json.loads((finished / "config.json").read_text())["loss"] == "bce_dice"


def test_a_training_older_than_a_parameter_goes_on(copy, config, cache_dir):
    """What its config.json does not name had its default then."""
    older = json.loads((copy / "config.json").read_text())
    del older["devices"]
    (copy / "config.json").write_text(json.dumps(older))
    before = (copy / "history.csv").read_bytes()
    assert train(config, copy, cache_dir=cache_dir).name == "unet"
    assert (copy / "history.csv").read_bytes() == before
    with pytest.raises(MetsegError, match=r"other settings \(devices 1 → 2\)"):
        train(config.changed(devices=2), copy, cache_dir=cache_dir)


@pytest.mark.parametrize("was_finished", [True, False])
def test_other_data_under_the_same_name_is_refused(copy, config, cache_dir, was_finished):
    """Another file in the folder of scans changes their fingerprint, and who is in which set."""
    split = json.loads((copy / "split.json").read_text())
    split["fingerprint"] = "0123456789abcdef"
    (copy / "split.json").write_text(json.dumps(split))
    if not was_finished:
        (copy / "manifest.json").unlink()
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(MetsegError, match="other data; .*restart = True.*another run_name"):
        train(config, copy, cache_dir=cache_dir)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_the_split_follows_the_data(scans, cache_dir, tmp_path):
    more = Path(shutil.copytree(scans, tmp_path / "scans"))
    first = prepare_data(tiny_config(scans), cache_dir=cache_dir).split
    assert prepare_data(tiny_config(more), cache_dir=cache_dir).split == first  # wherever they lie
    image, mask = np.full((3, 32, 32, 3), 50, np.uint8), np.zeros((3, 32, 32), bool)
    write_case(more, "TEST_0099_20000101", image, mask)
    assert prepare_data(tiny_config(more), cache_dir=cache_dir).split != first


def test_people_whose_names_leave_it_open_are_refused_until_a_table_says_so(cache_dir, tmp_path):
    scans = write_scans(tmp_path / "scans")
    for path in sorted(scans.glob("TEST_*")):
        number = int(path.name[5:9])
        for each in sorted(path.iterdir()):
            each.rename(each.with_name(each.name.replace(path.name, f"P{number // 2}_{'ab'[number % 2]}")))
        path.rename(path.with_name(f"P{number // 2}_{'ab'[number % 2]}"))
    config = tiny_config(scans)
    with pytest.raises(MetsegError, match="P1_a and P1_b.*patients.csv"):
        prepare_data(config, cache_dir=cache_dir)
    names = [path.name for path in scans.iterdir()]
    rows = [f"{name},{name.partition('_')[0]}" for name in names]
    (scans / "patients.csv").write_text("\n".join(["case_id,patient_id", *rows]))
    split = prepare_data(config, cache_dir=cache_dir).split
    assert sorted(split.train + split.validation + split.test) == ["P0", "P1", "P2", "P3"]


@pytest.mark.parametrize("folds", [0, 3])
def test_another_seed_trains_on_the_same_patients(scans, cache_dir, folds):
    def split(**changes):
        return prepare_data(tiny_config(scans, folds=folds, **changes), cache_dir=cache_dir).split

    assert split(seed=1) == split()
    assert split(split_seed=1).test != split().test


def test_a_folder_in_use_is_refused(scans, cache_dir, tmp_path):
    script = """
        import sys, filelock

        with filelock.FileLock(sys.argv[1]):
            print("held", flush=True)
            input()
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), tmp_path / ".lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(MetsegError, match="written by another process"):
            train(tiny_config(scans), tmp_path, cache_dir=cache_dir)
        assert not (tmp_path / "history.csv").exists()
    finally:
        holder.communicate("\n")


def test_a_folder_that_cannot_be_written(scans, cache_dir, tmp_path):
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(MetsegError, match="cannot write"):
        train(tiny_config(scans), tmp_path / "taken" / "unet", cache_dir=cache_dir)


def test_no_lesion_to_learn_from(cache_dir, tmp_path):
    for patient in range(1, 5):
        image, mask = np.full((1, 32, 32, 3), 50, np.uint8), np.zeros((1, 32, 32), bool)
        write_case(tmp_path / "scans", f"TEST_{patient:04d}_20000101", image, mask)
    for changes in ({"exclude_empty": True}, {"exclude_empty": False}, {"folds": 3}, {"test_fraction": 0}):
        config = tiny_config(tmp_path / "scans", **changes)
        with pytest.raises(MetsegError, match="^0 of 4 patients have a lesion"):
            train(config, tmp_path / "unet", cache_dir=cache_dir)
        assert not (tmp_path / "unet" / "history.csv").exists()


def healthy(folder: Path, *numbers: int) -> Path:
    """Adds patients without a lesion to a data set."""
    for patient in numbers:
        image = np.random.default_rng(patient).integers(30, 80, (3, 32, 32, 3), dtype=np.uint8)
        write_case(folder, f"TEST_{patient:04d}_20000101", image, np.zeros((3, 32, 32), bool))
    return folder


def test_every_set_has_a_lesion_or_nothing_is_trained(scans, cache_dir, tmp_path):
    mixed = healthy(write_scans(tmp_path / "three", patients=3), *range(11, 18))
    with_lesion = {"TEST_0001", "TEST_0002", "TEST_0003"}
    for changes in ({}, {"folds": 3, "fold": 2}, {"split_seed": 4}):
        split = prepare_data(tiny_config(mixed, **changes), cache_dir=cache_dir).split
        assert [len(with_lesion & set(role)) for role in (split.train, split.validation, split.test)] == [
            1,
            1,
            1,
        ]
    few = healthy(write_scans(tmp_path / "one", patients=1), *range(11, 16))
    with pytest.raises(MetsegError, match="^1 of 6 patients have a lesion"):
        train(tiny_config(few), tmp_path / "unet", cache_dir=cache_dir)


def lesions_of(folder: Path, *sides: int) -> Path:
    """Writes a patient with one slice of 64 px for each side of a square lesion; one of 0 has none."""
    for patient, side in enumerate(sides, start=1):
        mask = np.zeros((1, 64, 64), bool)
        mask[0, 8 : 8 + side, 8 : 8 + side] = True
        image = np.random.default_rng(patient).integers(30, 80, (1, 64, 64, 3), dtype=np.uint8)
        write_case(folder, f"TEST_{patient:04d}_20000101", image, mask)
    return folder


def test_the_split_does_not_depend_on_what_the_network_sees(cache_dir, tmp_path):
    """A lesion of one pixel is gone where four become one: the patient has it all the same."""
    scans = lesions_of(tmp_path / "scans", 8, 8, 8, 8, 8, 1, 1, 0, 0)
    for seed in range(8):
        changes = {"split_seed": seed, "validation_fraction": 0.4}
        fine, coarse = (
            prepare_data(tiny_config(scans, image_size=size, **changes), cache_dir=cache_dir).split
            for size in (64, 32)
        )
        assert fine == coarse


def test_lesions_that_the_network_cannot_see(cache_dir, tmp_path):
    scans = lesions_of(tmp_path / "scans", 1, 1, 1, 0)
    assert prepare_data(tiny_config(scans, image_size=64), cache_dir=cache_dir).split.test
    with pytest.raises(MetsegError, match="image_size=32 no lesion of the training patients is left"):
        prepare_data(tiny_config(scans, image_size=32), cache_dir=cache_dir)


# whose slices are used for what


def test_no_test_patient_is_learned_from_or_validated_on(scans, cache_dir, tmp_path, monkeypatch):
    config = tiny_config(scans, epochs=1, exclude_empty=True, folds=3, fold=1)
    trained, validated = set(), set()

    class Recorded(EpochBatches):
        def __init__(self, cache, rows, **options):
            trained.update(rows.tolist())
            super().__init__(cache, rows, **options)

    def validate(model, cache, rows, config, **options):
        validated.update(rows.tolist())
        return Validation(0.0, 0.0)

    monkeypatch.setattr(train_module, "EpochBatches", Recorded)
    monkeypatch.setattr(train_module, "validate", validate)
    train(config, tmp_path / "unet", cache_dir=cache_dir)
    data = prepare_data(config, cache_dir=cache_dir)
    split, slices = read_split(tmp_path / "unet" / "split.json"), data.cache.slices
    assert split == data.split
    assert set(slices.patient_id[list(trained)]) == set(split.train)
    assert set(slices.patient_id[list(validated)]) == set(split.validation)
    everyone = {*split.train, *split.validation, *split.test}
    assert len(everyone) == len(split.train) + len(split.validation) + len(split.test) == 7 and split.test
    # Each patient has three slices, the third without lesion; validation keeps it whatever training does.
    assert len(trained) == len(split.train) * 2
    assert len(validated) == len(split.validation) * 3


# early stopping, and which epoch is kept


def test_coarse_epochs_learn_on_half_the_side_and_the_best_of_the_others_is_kept(
    scans, cache_dir, tmp_path, monkeypatch
):
    weights, seen = fake_validation(monkeypatch, 0.9, 0.3, 0.5, 0.5, 0.4), []

    class Recorded(EpochBatches):
        def __init__(self, cache, rows, **options):
            super().__init__(cache, rows, **options)
            self._learned_from = "devices" in options  # not only looked at for statistics

        def __getitem__(self, k):
            images, masks = super().__getitem__(k)
            if self._learned_from:
                seen.append((self._seed[1], images.shape[1:3], masks.shape[1:3]))
            return images, masks

    monkeypatch.setattr(train_module, "EpochBatches", Recorded)
    config = tiny_config(scans, epochs=8, patience=2, progressive_resizing=1)
    model = train(config, tmp_path, cache_dir=cache_dir)
    assert set(seen) == {(0, (16, 16), (16, 16)), *((k, (32, 32), (32, 32)) for k in (1, 2, 3, 4))}
    table = history_of(tmp_path)
    assert list(table.image_size) == [16, 32, 32, 32, 32]
    # An equal Dice is no gain, so that 4 and 5 are the two epochs without one; but of equal ones the last,
    # epoch 4, has learned for longer.
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["best_epoch"], manifest["epochs_trained"], manifest["validation_dice"]) == (4, 5, 0.5)
    assert json.loads((tmp_path / "progress.json").read_text())["done"]
    for kept, best, last in zip(model.get_weights(), weights[3], weights[4], strict=True):
        np.testing.assert_array_equal(kept, best)
        assert not np.array_equal(kept, last)


def test_a_network_that_predicts_nothing_is_said_to(scans, cache_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train_module, "validate", lambda *_, **__: Validation(0.5, 0.0, True))
    for _ in range(2):  # said again when it is there already
        train(tiny_config(scans), tmp_path, cache_dir=cache_dir)
        assert "predicts nothing on validation patients" in capsys.readouterr().out
    assert json.loads((tmp_path / "manifest.json").read_text())["predicts_nothing"]
    assert json.loads((tmp_path / "progress.json").read_text())["note"]


def test_the_schedule_reaches_the_optimizer(finished):
    assert list(history_of(finished).learning_rate) == pytest.approx([0.01, 0.005])  # cosine of two epochs


# interruptions


def same_result(resumed: Path, undisturbed: Path) -> None:
    """Equal to the last bit: every number of the history but the seconds, and every weight."""
    tables = [history_of(path)[COMPARED] for path in (resumed, undisturbed)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    models = [keras.saving.load_model(path / "model.keras") for path in (resumed, undisturbed)]
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(a, b)


KILLED = """
import sys, time
from pathlib import Path
from metseg.training import fit
from metseg.training.config import TrainConfig

validate, epochs = fit.validate, []

def validate_one_epoch(*arguments, **options):
    epochs.append(1)
    if len(epochs) == 2:
        Path(sys.argv[2], "in epoch 2").touch()
        time.sleep(600)
    return validate(*arguments, **options)

fit.validate = validate_one_epoch
fit.train(TrainConfig.model_validate_json(sys.argv[1]), Path(sys.argv[2]), cache_dir=Path(sys.argv[3]))
"""


@pytest.mark.slow
def test_a_kill_at_any_time_changes_nothing(scans, cache_dir, tmp_path, monkeypatch, capsys):
    """`kill -9` as far from the checkpoint as can be; between two writes; and then the checkpoint damaged."""
    options = {"model": "nested_unet", "deep_supervision": True, "noise": 0.02, "precision": "mixed_bfloat16"}
    config = tiny_config(scans, epochs=3, progressive_resizing=1, ema_momentum=0.7, **options)
    prepare_data(config, cache_dir=cache_dir)
    undisturbed, killed, states = tmp_path / "undisturbed", tmp_path / "killed", []
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, config.model_dump_json(), killed, cache_dir],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    def kept_before(rename):
        def call(source, target):
            if Path(target).name != "progress.json":
                states.append(Path(target).name)
                shutil.copytree(undisturbed, tmp_path / f"before write {len(states)}")
            rename(source, target)

        return call

    try:
        with monkeypatch.context() as patch:
            for name in ("replace", "rename"):
                patch.setattr(os, name, kept_before(getattr(os, name)))
            train(config, undisturbed, cache_dir=cache_dir)
        deadline = time.monotonic() + 300
        while not (killed / "in epoch 2").exists():
            assert child.poll() is None, "the training ended by itself"
            assert time.monotonic() < deadline, "the training never came to its second epoch"
            time.sleep(0.05)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    epoch = ["history.csv", "state.json", "epoch-{}"]
    assert states == [
        *("config.json", "split.json"),
        *(name.format(k) for k in (1, 2, 3) for name in epoch),
        *("model.keras", "manifest.json"),
    ]

    before = history_of(killed)
    assert list(before.epoch) == [1] and not (killed / "manifest.json").exists()
    capsys.readouterr()
    train(config, killed, cache_dir=cache_dir)
    assert "resumed at epoch 2" in capsys.readouterr().out
    same_result(killed, undisturbed)
    # One epoch was not trained again: the seconds that the killed process took still stand there.
    pd.testing.assert_frame_equal(history_of(killed)[:1], before)

    # history.csv tells of an epoch that the checkpoint has not, and the epoch before that one is damaged.
    damaged = tmp_path / "before write 11"
    assert list(history_of(damaged).epoch) == [1, 2, 3]
    flip_a_bit(damaged / "checkpoint" / "epoch-2" / "network.weights.h5")
    with pytest.warns(UserWarning, match="epoch 2 .* damaged .* the epoch before"):
        train(config, damaged, cache_dir=cache_dir)
    same_result(damaged, undisturbed)

    unnamed = tmp_path / "before write 13"  # all but the manifest
    for name in (f".{child.pid}.model.keras", f"checkpoint/.{child.pid}.state.json"):
        (unnamed / name).write_bytes(b"half of a file")
    train(config, unnamed, cache_dir=cache_dir)
    same_result(unnamed, undisturbed)
    assert {path.name for path in unnamed.iterdir()} == {path.name for path in undisturbed.iterdir()}


@pytest.mark.slow
def test_a_pretrained_encoder_is_where_a_training_starts_and_is_needed_once(
    scans, cache_dir, tmp_path, monkeypatch
):
    config = tiny_config(scans, encoder="efficientnet_lite0", learning_rate=1e-9)
    epochs = []

    def validate_once(*arguments, **options):
        epochs.append(1)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return validate(*arguments, **options)

    imagenet = build_model("unet", filters=(4, 8), encoder="efficientnet_lite0")
    load_imagenet(imagenet)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_module, "validate", validate_once)
        train(config, tmp_path, cache_dir=cache_dir)
    monkeypatch.setattr(efficientnet_lite, "_PACKAGE", "no_such_package")
    network = train(config, tmp_path, cache_dir=cache_dir)
    for layer in imagenet.layers:
        if layer.name.startswith("encoder_"):
            learned = network.get_layer(layer.name).trainable_variables
            for start, now in zip(layer.trainable_variables, learned, strict=True):
                np.testing.assert_allclose(now, start, atol=1e-6)


def test_what_a_kill_left_of_a_finished_training_goes(copy, config, cache_dir):
    for name in ("epoch-1", ".epoch-3.part"):
        (copy / "checkpoint" / name).mkdir()
        (copy / "checkpoint" / name / "serving.npz").write_bytes(b"left")
    train(config, copy, cache_dir=cache_dir)
    assert [path.name for path in (copy / "checkpoint").iterdir()] == ["epoch-2"]


def test_a_finished_network_with_one_flipped_bit_is_one_sentence(copy, config, cache_dir):
    flip_a_bit(copy / "model.keras")
    with pytest.raises(MetsegError, match=r"model\.keras is damaged, or was replaced"):
        train(config, copy, cache_dir=cache_dir)
