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


def test_settings_of_the_users_own_change_no_training_and_nothing_else_is_printed(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps(USERS))
    done = run(SETTINGS, tmp_path, KERAS_MAX_EPOCHS="1", KERAS_MAX_STEPS_PER_EPOCH="1")
    assert done.stdout == OWN
    warning, *_, last = done.stderr.splitlines()  # and the line of code that it is about
    assert "on tensorflow, not on jax" in warning and "keras.json" in warning
    assert last == "after" and len(done.stderr.splitlines()) <= 3  # stderr is open again


def test_settings_that_keras_refuses_are_named(tmp_path):
    (tmp_path / "keras.json").write_text('{"floatx": "float12"}')
    done = run(SETTINGS, tmp_path)
    assert done.returncode == 1
    assert "MetsegError: Keras refuses its settings in" in done.stderr.splitlines()[-1]
    assert str(tmp_path / "keras.json") in done.stderr.splitlines()[-1]
