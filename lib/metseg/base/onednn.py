"""TensorFlow's kernels of oneDNN, chosen before anybody imports TensorFlow: it asks the environment once."""

import os
import platform


def use_onednn() -> None:
    """Has TensorFlow use oneDNN on any x86 CPU, unless the user has told otherwise.

    By itself it leaves these kernels to CPUs with AVX512_VNNI. On two AVX2 cores a step of training took
    0.64 s with them and 1.34 s without. They round otherwise: a training that was interrupted has the same
    result only with the same kernels, whatever was imported first.
    """
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
