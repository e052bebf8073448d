"""Operations by their kind, and a real training step under the profiler."""

import pytest

from metseg.base.hardware import cores
from metseg.benchmark.plan import Measurement
from metseg.benchmark.process import working
from metseg.benchmark.with_profile import kind_of, self_times


@pytest.mark.parametrize(
    ("name", "operation", "kind"),
    [
        ("gradient_tape/unet/Conv2DBackpropFilter", "_MklNativeConv2DBackpropFilter", "convolution"),
        ("unet/bn/FusedBatchNormV3", "_MklNativeFusedBatchNormV3", "normalisation"),
        ("nested/x01_up/MatMul_1", "_MklBatchMatMulV2", "upsampling"),
        ("nested/x01_up/resize", "ResizeBilinearGrad", "upsampling"),
        ("unet/pool/MaxPool2d", "MaxPoolGrad", "pooling"),
        ("unet/relu/Relu", "ReluGrad", "activation"),
        ("unet/concat", "ConcatV2", "copies"),
        ("adam/mul_1", "Mul", "optimiser"),
        ("AssignAddVariableOp", "AssignAddVariableOp", "optimiser"),
        ("attunet/att_masking/Mul", "Mul", "arithmetic"),
    ],
)  # fmt: skip
def test_kinds(name, operation, kind):
    assert kind_of(name, operation) == kind


def test_an_operation_is_not_charged_with_those_inside_it():
    #      0         10        20
    # a    [--------------------]
    # b      [------]   [-----]
    # c       [--]
    # d                          [--]
    events = [("a", 0, 20), ("b", 2, 8), ("c", 3, 4), ("b", 12, 6), ("d", 25, 4)]
    assert sorted(self_times(events)) == [("a", 6), ("b", 4), ("b", 6), ("c", 4), ("d", 4)]
    assert list(self_times([])) == []


@pytest.mark.slow
def test_a_step_is_mostly_convolution():
    network = {"network": "attention_unet", "size": 64, "batch": 4, "filters": (16, 32)}
    with working([Measurement("metseg", "profile", **network)]) as (worker,):
        assert worker.ready()["flop"] > 0
        answer = worker.turn(0.3)
    parts = answer["parts"]
    assert {"convolution", "normalisation", "upsampling", "pooling", "activation", "optimiser"} <= set(parts)
    assert parts["convolution"] > max(seconds for kind, seconds in parts.items() if kind != "convolution")
    # As many operations run beside each other as there are cores, and none is longer than its step.
    assert 0 < sum(parts.values()) < max(2, cores()) * max(answer["seconds"])
