"""Keras starts in silence, with its own defaults, and errors still come through."""

import json
import os
import subprocess
import sys

SETTINGS = """
import sys
from metseg.base.backend import keras
keras.ops.ones(1) + 1
layer = keras.layers.Conv2D(1, 3)
print(keras.config.backend(), keras.config.floatx(), keras.config.epsilon(), layer.data_format, end=" ")
print(layer.compute_dtype, keras.config.max_epochs(), keras.config.max_steps_per_epoch())
print("after", file=sys.stderr)
"""
OWN = "tensorflow float32 1e-07 channels_last float32 None None\n"
USERS = {"backend": "jax", "floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}


def run(code: str, keras_home, **environment: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "KERAS_BACKEND": "", "KERAS_HOME": str(keras_home), **environment}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def test_settings_of_the_users_own_change_no_training(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps(USERS))
    done = run(SETTINGS, tmp_path, KERAS_MAX_EPOCHS="1", KERAS_MAX_STEPS_PER_EPOCH="1")
    assert done.stdout == OWN
    assert "on tensorflow, not on jax" in done.stderr and "keras.json" in done.stderr


def test_starting_keras_prints_nothing_else_and_stderr_is_open_again(tmp_path):
    done = run(SETTINGS, tmp_path, KERAS_BACKEND="torch")
    assert done.stdout == OWN
    warning, *_, last = done.stderr.splitlines()  # and the line of code that it is about
    assert "on tensorflow, not on torch as KERAS_BACKEND says" in warning
    assert last == "after" and len(done.stderr.splitlines()) <= 3


def test_settings_that_keras_refuses_are_named(tmp_path):
    (tmp_path / "keras.json").write_text('{"floatx": "float12"}')
    done = run(SETTINGS, tmp_path)
    assert done.returncode == 1
    assert "MetsegError: Keras refuses its settings in" in done.stderr.splitlines()[-1]
    assert str(tmp_path / "keras.json") in done.stderr.splitlines()[-1]


def test_without_tensorflow_the_users_backend_is_kept(tmp_path):
    """OpenVINO's stands in for one that trains: it is always there."""
    code = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "tensorflow" else find(name, *rest)
from metseg.base.backend import keras
print(keras.config.backend(), keras.config.floatx())
"""
    done = run(code, tmp_path, KERAS_BACKEND="openvino")
    assert (done.stdout, done.stderr) == ("openvino float32\n", "")
