"""Keras starts in silence, and errors still come through."""

import subprocess
import sys

CODE = """
import sys
from metseg.backend import keras
keras.ops.ones(1) + 1
print("after", file=sys.stderr)
"""


def test_starting_keras_prints_nothing_and_stderr_is_open_again():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "after\n")
