"""The checkpoint alone, on a network of one layer."""

import errno
import os
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from metseg.base.errors import MetsegError
from metseg.training import checkpoint as checkpoint_module
from metseg.training.checkpoint import Checkpoint, keep_epochs
from metseg.training.ema import AveragedWeights

RNG = np.random.default_rng(0)
X, Y = RNG.random((8, 3), np.float32), RNG.random((8, 1), np.float32)


def compiled(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.05), "mse", run_eagerly=True)
    return model


def checkpoint_of(folder, model: keras.Model) -> Checkpoint:
    """A checkpoint whose serving weights are the model's own, as without averaging."""
    averaged = AveragedWeights(model, 0)
    averaged.set_model(model)
    averaged.on_epoch_end(0)
    return Checkpoint(folder, model, averaged)


def train_steps(model: keras.Model, steps: int) -> keras.Model:
    for _ in range(steps):
        model.train_on_batch(X, Y)
    return model


def state_of(model: keras.Model) -> dict[str, np.ndarray]:
    variables = [*model.weights, *model.optimizer.variables]
    names = [re.sub(r"_\d+", "", variable.path) for variable in variables]  # Keras counts models
    return {f"{k} {names[k]}": np.asarray(variable) for k, variable in enumerate(variables)}


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert list(a) == list(b)
    for path, value in a.items():
        np.testing.assert_array_equal(value, b[path], err_msg=path)


def history(*dice: float) -> list[dict]:
    return [{"epoch": k, "val_dice": value} for k, value in enumerate(dice, start=1)]


def test_nothing_to_restore(tmp_path):
    model = compiled()
    before = model.get_weights()
    assert checkpoint_of(tmp_path / "checkpoint", model).restore() == []
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_and_optimizer_come_back(tmp_path):
    model = train_steps(compiled(), 5)
    checkpoint_of(tmp_path, model).save(history(0.1), best=0)
    saved = state_of(model)
    assert int(model.optimizer.iterations) == 5
    moments = [path for path in saved if "momentum" in path or "velocity" in path]
    assert len(moments) == 2 * 4 and all(saved[path].any() for path in moments)

    other = compiled(seed=1)
    assert checkpoint_of(tmp_path, other).restore() == history(0.1)
    assert_same(state_of(other), saved)


def test_steps_after_restoring_are_those_of_an_undisturbed_training(tmp_path):
    model = train_steps(compiled(), 5)
    checkpoint_of(tmp_path, model).save(history(0.1), best=0)
    other = compiled(seed=1)
    checkpoint_of(tmp_path, other).restore()
    assert_same(state_of(train_steps(other, 3)), state_of(train_steps(model, 3)))

    # The optimizer's state matters: weights alone lead elsewhere.
    weights_only = compiled(seed=1)
    weights_only.set_weights(train_steps(compiled(), 5).get_weights())
    train_steps(weights_only, 3)
    assert np.abs(weights_only.get_weights()[0] - model.get_weights()[0]).max() > 1e-4


def test_the_last_two_epochs_are_kept(tmp_path):
    model = compiled()
    checkpoint, dice = checkpoint_of(tmp_path, model), []
    for value, kept in ((0.1, {1}), (0.5, {1, 2}), (0.4, {2, 3}), (0.5, {3, 4}), (0.6, {4, 5})):
        train_steps(model, 1)
        dice.append(value)
        checkpoint.save(history(*dice), best=int(np.argmax(dice)))
        assert {path.name for path in tmp_path.iterdir()} == {f"epoch-{k}" for k in kept}


def test_best_weights_are_not_the_last(tmp_path):
    model = compiled()
    averaged = AveragedWeights(model, 0)
    averaged.set_model(model)
    checkpoint, weights = Checkpoint(tmp_path, model, averaged), []
    for k in range(1, 4):
        train_steps(model, 1)
        averaged.on_epoch_end(k)
        weights.append(model.get_weights())
        checkpoint.save(history(0.1, 0.5, 0.4)[:k], best=min(k, 2) - 1)
    for a, b, last in zip(checkpoint.best_weights(), weights[1], weights[2], strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, last)


def test_the_average_comes_back_beside_the_weights(tmp_path):
    model = train_steps(compiled(), 1)
    averaged = AveragedWeights(model, 0.5)
    averaged.set_model(model)
    averaged.on_epoch_end(0)
    train_steps(model, 1)
    Checkpoint(tmp_path, model, averaged).save(history(0.1), best=0)
    other = compiled(seed=1)
    found = AveragedWeights(other, 0.5)
    Checkpoint(tmp_path, other, found).restore()
    for a, b, now in zip(found.weights, averaged.weights, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, now)


def test_the_best_weights_come_back_after_a_restart(tmp_path):
    model = compiled()
    averaged = AveragedWeights(model, 0)
    averaged.set_model(model)
    checkpoint = Checkpoint(tmp_path, model, averaged)
    weights = []
    for k in (1, 2):
        train_steps(model, 1)
        averaged.on_epoch_end(k)
        weights.append(model.get_weights())
        checkpoint.save(history(0.5, 0.1)[:k], best=0)
    again = checkpoint_of(tmp_path, compiled(seed=1))
    again.restore()
    for a, b in zip(again.best_weights(), weights[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_history_comes_back_to_the_last_digit(tmp_path):
    rows = [{"epoch": 1, "val_dice": 1 / 3, "loss": float(np.float32(0.1)), "seconds": 2**-40}]
    checkpoint_of(tmp_path, train_steps(compiled(), 1)).save(rows, best=0)
    assert checkpoint_of(tmp_path, compiled()).restore() == rows


def two_epochs(folder) -> list[dict[str, np.ndarray]]:
    """Saves two epochs, the first the best; returns the state of the model after each."""
    model, states = compiled(), []
    averaged = AveragedWeights(model, 0)
    averaged.set_model(model)
    checkpoint = Checkpoint(folder, model, averaged)
    for k in (1, 2):
        train_steps(model, 2)
        averaged.on_epoch_end(k)
        checkpoint.save(history(0.5, 0.1)[:k], best=0)
        states.append(state_of(model))
    return states


class Killed(BaseException):
    """In the place of `kill -9`: nothing catches it, and no step after it is made."""


STEPS = ["h5", "second npz", "rename", "folder fsync", "former epoch"]


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_of_saving_leaves_a_whole_epoch(tmp_path, monkeypatch, step):
    states = two_epochs(tmp_path)
    model = compiled(seed=1)
    checkpoint = checkpoint_of(tmp_path, model)
    checkpoint.restore()
    train_steps(model, 1)
    states.append(state_of(model))
    calls = []

    def dies(original, at=0):
        def die(*args, **options):
            calls.append(args)
            if len(calls) > at:
                raise Killed
            return original(*args, **options)

        return die

    module = checkpoint_module
    remove = shutil.rmtree
    target, name, at = {
        "h5": (keras.Model, "save_weights", 0),
        "second npz": (np, "savez", 1),
        "rename": (module.os, "rename", 0),
        "folder fsync": (module, "sync_folder", 0),
        "former epoch": (module.shutil, "rmtree", 0),
    }[step]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        if step == "former epoch":
            patch.setattr(target, name, lambda path, **_: dies(remove)() if path.name == "epoch-1" else None)
        else:
            patch.setattr(target, name, dies(getattr(target, name), at))
            patch.setattr(module.shutil, "rmtree", lambda path, **options: None)  # nobody cleans up
        checkpoint.save(history(0.5, 0.1, 0.4), best=0)
    other = compiled(seed=2)
    saved = 3 if step in ("folder fsync", "former epoch") else 2
    assert checkpoint_of(tmp_path, other).restore() == history(0.5, 0.1, 0.4)[:saved]
    assert_same(state_of(other), states[saved - 1])
    train_steps(other, 1)
    again = checkpoint_of(tmp_path, other)
    again.restore()
    again.save(history(0.5, 0.1, 0.4, 0.3)[: saved + 1], best=0)
    assert {path.name for path in tmp_path.iterdir()} == {f"epoch-{k}" for k in (saved, saved + 1)}


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change_a_score(path: Path) -> None:
    path.write_text(path.read_text().replace("0.1", "0.9"))


DAMAGES = [
    *((name, flip_a_bit) for name in ("network.weights.h5", "serving.npz", "best.npz", "state.json")),
    ("network.weights.h5", lambda path: path.write_bytes(path.read_bytes()[:-100])),
    ("serving.npz", Path.unlink),
    ("best.npz", lambda path: path.write_bytes(b"")),
    ("state.json", change_a_score),
    ("state.json", lambda path: path.write_text("{}")),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_where_the_last_epoch_is_damaged_the_one_before_is_used(tmp_path, name, damage):
    states = two_epochs(tmp_path)
    damage(tmp_path / "epoch-2" / name)
    model = compiled(seed=1)
    with pytest.warns(UserWarning, match=rf"epoch 2 .* is damaged \({name}\); .* the epoch before"):
        assert checkpoint_of(tmp_path, model).restore() == history(0.5)
    assert_same(state_of(model), states[0])
    assert {path.name for path in tmp_path.iterdir()} == {"epoch-1"}


def test_two_damaged_epochs_are_one_sentence_and_change_nothing(tmp_path):
    two_epochs(tmp_path)
    for number in (1, 2):
        flip_a_bit(tmp_path / f"epoch-{number}" / "serving.npz")
    model = compiled(seed=1)
    before = model.get_weights()
    with (
        pytest.warns(UserWarning, match="epoch 2"),
        pytest.raises(MetsegError, match=r"epoch 1 .* is damaged .*; remove that folder to train from the"),
    ):
        checkpoint_of(tmp_path, model).restore()
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert {path.name for path in tmp_path.iterdir()} == {"epoch-1", "epoch-2"}


def test_stray_files_are_not_looked_at(tmp_path):
    model = train_steps(compiled(), 1)
    checkpoint_of(tmp_path, model).save(history(0.1), best=0)
    (tmp_path / ".epoch-2.part").mkdir()
    (tmp_path / ".epoch-2.part" / "state.json").write_bytes(b"torn")
    (tmp_path / "epoch-of-mine").write_bytes(b"torn")
    other = compiled(seed=1)
    checkpoint = checkpoint_of(tmp_path, other)
    assert checkpoint.restore() == history(0.1)
    assert_same(state_of(other), state_of(model))
    train_steps(other, 1)
    checkpoint.save(history(0.1, 0.2), best=1)
    assert {path.name for path in tmp_path.iterdir()} == {"epoch-1", "epoch-2", "epoch-of-mine"}
    keep_epochs(tmp_path, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"epoch-2", "epoch-of-mine"}


def test_a_full_disk_is_one_sentence_and_keeps_the_epochs_before(tmp_path, monkeypatch):
    two_epochs(tmp_path)
    checkpoint = checkpoint_of(tmp_path, compiled(seed=1))
    checkpoint.restore()

    def full(path, *weights):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(MetsegError, match=r"cannot write .*epoch-3 \(No space left.*; free disk space"):
        checkpoint.save(history(0.5, 0.1, 0.4), best=0)
    assert {path.name for path in tmp_path.iterdir()} == {"epoch-1", "epoch-2"}
