"""Keras as metseg needs it: on TensorFlow, with its own defaults, and without what TensorFlow prints.

What a user has set for other programs, in keras.json or in the environment, changes no training.
"""

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from metseg.base.errors import MetsegError
from metseg.base.memory import keep_freed_memory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # and on a machine without an NVIDIA card, errors


@contextmanager
def _stderr_closed() -> Iterator[None]:
    """TensorFlow writes there before its logging is set up: in a notebook a red box above each training."""
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


_SETTINGS = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras.json"


def _choose_tensorflow() -> None:
    asked, where = os.environ.get("KERAS_BACKEND"), "KERAS_BACKEND"
    if not asked:
        with suppress(OSError, ValueError, AttributeError):
            asked, where = json.loads(_SETTINGS.read_text(encoding="utf-8")).get("backend"), _SETTINGS
    if asked not in (None, "", "tensorflow"):
        warnings.warn(f"metseg runs Keras on tensorflow, not on {asked} as {where} says", stacklevel=3)
    os.environ["KERAS_BACKEND"] = "tensorflow"


if "keras" not in sys.modules:
    _choose_tensorflow()
keep_freed_memory()  # before TensorFlow starts its threads
try:
    with _stderr_closed():
        import keras
except (ValueError, AttributeError) as error:  # what Keras makes of values that it does not know
    if not _SETTINGS.is_file():
        raise
    raise MetsegError(f"Keras refuses its settings in {_SETTINGS} ({error}); mend or remove it") from error

keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")
keras.config.set_max_epochs(None)
keras.config.set_max_steps_per_epoch(None)

__all__ = ["keras"]
