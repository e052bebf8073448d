"""Data-parallel training: each device takes its share of every batch."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache

from metseg.base.backend import keras
from metseg.base.errors import MetsegError
from metseg.training.losses import Loss


def data_parallel(count: int) -> AbstractContextManager:
    """Returns the context in which a model for `count` devices is built, compiled and trained.

    These are GPUs, or logical CPUs where there is none; one changes nothing. Gradients are averaged before
    each step; batch normalisation and the Dice of a batch see a device's own slices only.

    Raises:
        MetsegError: There are fewer devices.
    """
    if count == 1:
        return nullcontext()
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) < count:
        raise MetsegError(f"devices={count}, but TensorFlow sees {len(devices)}; lower it")
    return _strategy(tuple(device.name for device in devices[:count])).scope()


@cache
def _strategy(names: tuple[str, ...]):
    """One for all trainings of a process: a second one's exchanges would be taken for the first's."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(names)


def shared_out(loss: Loss) -> Loss:
    """Returns the same loss, shape (1,) and not (): what has no axis Keras does not average over devices."""

    def loss_of_one_device(mask_ref, logits):
        return keras.ops.reshape(loss(mask_ref, logits), (1,))

    return loss_of_one_device
