"""Keras, without what TensorFlow prints when it starts.

Before its logging is set up, TensorFlow writes to the process's stderr, past every setting; in a notebook
that is a red box above each training. What is wrong is still raised as an exception.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from metseg.memory import keep_freed_memory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # and on a machine without an NVIDIA card, errors


@contextmanager
def _stderr_closed() -> Iterator[None]:
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


keep_freed_memory()  # before TensorFlow starts its threads
with _stderr_closed():
    import keras

__all__ = ["keras"]
