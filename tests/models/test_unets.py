"""U-Net and Attention U-Net: their skips, their gates and their size."""

import pytest
from keras import layers

from metseg.models.inspect import gate_names
from metseg.models.unets import build_attention_unet, build_unet

FILTERS = {1: (4, 8), 2: (4, 8, 16), 4: (4, 6, 8, 10, 12)}
ENCODER = 284 + 928 + 3584  # two 3×3 convolutions with batch normalisation each, for 3 → 4 → 8 → 16


def stack(channels: int, filters: int, *, convolutions: int = 2) -> int:
    """Parameters of 3×3 convolutions without bias, each with batch normalisation (4 a filter)."""
    later = (convolutions - 1) * (9 * filters * filters + 4 * filters)
    return 9 * channels * filters + 4 * filters + later


def skip(name: str, level: int) -> str:
    """The encoder's last layer at a level."""
    return f"{name}_down{level}_{'conv_' if level else ''}1_activation"


@pytest.mark.parametrize("depth", FILTERS)
def test_unet_has_one_skip_at_each_level(depth, sources):
    filters = FILTERS[depth]
    model = build_unet(filters=filters)
    joins = [layer for layer in model.layers if isinstance(layer, layers.Concatenate)]
    assert len(joins) == depth
    for k in range(depth):
        level = depth - 1 - k
        join = model.get_layer(f"unet_up{k}_concat")
        assert sources(join) == [f"unet_up{k}_conv_before_concat_0_activation", skip("unet", level)]
        assert [tensor.shape[-1] for tensor in join.input] == [filters[level]] * 2


def test_unet_parameters_by_hand():
    up0 = stack(16, 8, convolutions=1) + stack(8 + 8, 8)  # 1184 + 1792
    up1 = stack(8, 4, convolutions=1) + stack(4 + 4, 4)  # 304 + 464
    assert build_unet(filters=(4, 8, 16)).count_params() == ENCODER + up0 + up1 + 5 == 8545


@pytest.mark.parametrize("depth", FILTERS)
def test_attention_unet_gates_every_skip(depth, sources):
    filters = FILTERS[depth]
    model = build_attention_unet(filters=filters)
    masking = [layer for layer in model.layers if isinstance(layer, layers.Multiply)]
    assert len(masking) == len(gate_names(model)) == depth
    for k in range(depth):
        level, gate = depth - 1 - k, f"attunet_up{k}_att"
        x, g = skip("attunet", level), f"attunet_up{k}_decode_unpool"
        # α weighs the skip, and nothing of the skip goes round the gate.
        assert sources(model.get_layer(f"{gate}_masking")) == [x, f"{gate}_sigmoid"]
        assert sources(model.get_layer(f"attunet_up{k}_concat")) == [g, f"{gate}_masking"]
        # α = σ(ψ ReLU(W_x x + W_g g)): additive.
        assert sources(model.get_layer(f"{gate}_sigmoid")) == [f"{gate}_psi_f"]
        assert sources(model.get_layer(f"{gate}_psi_f")) == [f"{gate}_activation"]
        assert sources(model.get_layer(f"{gate}_activation")) == [f"{gate}_add"]
        add = model.get_layer(f"{gate}_add")
        assert isinstance(add, layers.Add) and sources(add) == [f"{gate}_theta_x", f"{gate}_phi_g"]
        assert sources(model.get_layer(f"{gate}_theta_x")) == [x]
        assert sources(model.get_layer(f"{gate}_phi_g")) == [g]
        assert add.output.shape[-1] == filters[level] // 2
        assert model.get_layer(f"{gate}_sigmoid").output.shape[-1] == 1


def test_attention_unet_parameters_by_hand():
    gate0 = (8 * 4 + 4) + (16 * 4 + 4) + (4 + 1)  # W_x, W_g, ψ with bias and 4 = 8 // 2 channels between
    gate1 = (4 * 2 + 2) + (8 * 2 + 2) + (2 + 1)
    expected = ENCODER + gate0 + gate1 + stack(16 + 8, 8) + stack(8 + 4, 4) + 5  # ups 2368 + 608, head 5
    assert build_attention_unet(filters=(4, 8, 16)).count_params() == expected == 7917
