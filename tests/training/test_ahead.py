"""Batches made ahead: the same ones in order, and gone when nobody has them."""

import gc
import weakref

import keras
import numpy as np
import pytest

from metseg.training.ahead import prepared_ahead


class Counted(keras.utils.PyDataset):
    """Three batches of their own number."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        return np.full((1, 2), k, np.float32), np.full((1,), -k, np.float32)


def ahead():
    return prepared_ahead(Counted(), [(None, 2), (None,)])


def test_all_in_order_though_nobody_else_has_them():
    assert [(a.numpy().tolist(), b.numpy().tolist()) for a, b in ahead()] == [
        ([[k, k]], [-k]) for k in range(3)
    ]
    assert len(ahead()) == 3


@pytest.mark.parametrize("most", [1, 3])
def test_nothing_is_kept_of_them(most):
    """Of an epoch that was gone through, or left early."""
    batches = Counted()
    known = weakref.ref(batches)
    for k, _ in enumerate(prepared_ahead(batches, [(None, 2), (None,)]), start=1):
        if k == most:
            break
    del batches, _
    gc.collect()
    assert known() is None
