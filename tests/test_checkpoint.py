"""The checkpoint alone, on a network of one layer."""

import json
import re

import keras
import numpy as np
import pytest

from metseg import files
from metseg.averaging import AveragedWeights
from metseg.checkpoint import Checkpoint
from metseg.errors import MetsegError

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


def test_only_the_last_and_the_best_epoch_are_kept(tmp_path):
    model = compiled()
    checkpoint, dice = checkpoint_of(tmp_path, model), []
    for value, kept in ((0.1, {1}), (0.5, {2}), (0.4, {2, 3}), (0.5, {2, 4}), (0.6, {5})):
        train_steps(model, 1)
        dice.append(value)
        checkpoint.save(history(*dice), best=int(np.argmax(dice)))
        assert [path.name for path in tmp_path.glob("*.h5")] == [f"epoch-{len(dice)}.weights.h5"]
        assert {path.name for path in tmp_path.glob("*.npz")} == {f"epoch-{k}.npz" for k in kept}


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


def test_a_state_without_serving_weights_is_one_sentence(tmp_path):
    model = train_steps(compiled(), 1)
    checkpoint_of(tmp_path, model).save(history(0.1), best=0)
    state = json.loads((tmp_path / "state.json").read_text())
    del state["last_serving"]
    (tmp_path / "state.json").write_text(json.dumps(state))
    with pytest.raises(MetsegError, match="begun by an older metseg; choose another run name"):
        checkpoint_of(tmp_path, model).restore()


def test_history_comes_back_to_the_last_digit(tmp_path):
    rows = [{"epoch": 1, "val_dice": 1 / 3, "loss": float(np.float32(0.1)), "seconds": 2**-40}]
    checkpoint_of(tmp_path, train_steps(compiled(), 1)).save(rows, best=0)
    assert checkpoint_of(tmp_path, compiled()).restore() == rows


@pytest.mark.parametrize("last_write", ["epoch-2.weights.h5", "state.json"])
def test_a_save_that_fails_leaves_the_epoch_before(tmp_path, monkeypatch, last_write):
    model = train_steps(compiled(), 1)
    checkpoint = checkpoint_of(tmp_path, model)
    checkpoint.save(history(0.1), best=0)
    saved = state_of(model)
    train_steps(model, 1)

    replace = files.os.replace

    def die(source, target):
        if target.name == last_write:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(history(0.1, 0.2), best=1)
    monkeypatch.undo()
    other = compiled(seed=1)
    assert checkpoint_of(tmp_path, other).restore() == history(0.1)
    assert_same(state_of(other), saved)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_stray_files_are_not_looked_at(tmp_path):
    model = train_steps(compiled(), 1)
    checkpoint_of(tmp_path, model).save(history(0.1), best=0)
    for name in ("epoch-7.weights.h5", ".12.epoch-2.weights.h5", ".12.state.json"):
        (tmp_path / name).write_bytes(b"torn")
    other = compiled(seed=1)
    checkpoint = checkpoint_of(tmp_path, other)
    assert checkpoint.restore() == history(0.1)
    assert_same(state_of(other), state_of(model))
    train_steps(other, 1)
    checkpoint.save(history(0.1, 0.2), best=1)
    assert json.loads((tmp_path / "state.json").read_text())["last"] == "epoch-2.weights.h5"
    assert not (tmp_path / "epoch-7.weights.h5").exists()
