"""TensorFlow's kernels are chosen as metseg is imported, and a user may choose others."""

import os
import subprocess
import sys

import pytest

CODE = """
import metseg, os, platform, sys
print(os.environ.get("TF_ENABLE_ONEDNN_OPTS", platform.machine()), {"tensorflow", "keras"} & {*sys.modules})
"""


@pytest.mark.parametrize(("told", "found"), [({}, "1"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "0")])
def test_chosen_before_anybody_imports_tensorflow(told, found):
    clean = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    done = subprocess.run([sys.executable, "-c", CODE], env=clean | told, capture_output=True, text=True)
    assert done.stdout in {f"{each} set()\n" for each in (found, "arm64", "aarch64")}
