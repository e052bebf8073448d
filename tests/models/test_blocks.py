"""The networks differ in gates and in dense skips alone; their gate is the paper's, or the package's."""

import keras
import numpy as np
import pytest
from keras_unet_collection.layer_utils import attention_gate as their_gate

from metseg.models import build_model
from metseg.models.blocks import attention_gate

PLAIN = {"filters": (4, 8, 16, 32)}
LITE = {"filters": (4, 8, 16), "encoder": "efficientnet_lite0"}


def layers(name: str, options: dict) -> dict[str, int]:
    """Each layer of a network and how many parameters it has; its one head goes by one name."""
    model = build_model(name, **options)
    return {layer.name.replace("head_3", "head"): layer.count_params() for layer in model.layers}


@pytest.mark.parametrize("options", [PLAIN, LITE], ids=["plain", "lite"])
def test_attention_unet_is_unet_and_gates(options):
    unet, attention = layers("unet", options), layers("attention_unet", options)
    assert unet.items() <= attention.items()
    assert all(name.startswith("gate_") for name in attention.keys() - unet.keys())


@pytest.mark.parametrize("options", [PLAIN, LITE], ids=["plain", "lite"])
def test_nested_unet_is_unet_and_dense_skips(options):
    unet, nested = layers("unet", options), layers("nested_unet", options)
    assert unet.keys() <= nested.keys()
    inner = {name[:3] for name in nested.keys() - unet.keys()}
    lowest = 1 if "encoder" in options else 0
    # The nodes between encoder and decoder: X(i,j) with j > 0 and i + j < 3.
    assert inner == {f"x{i}{j}" for i in range(lowest, 3) for j in range(1, 3 - i)}
    # What both have differs only where a decoder's node reads more skips: in its first convolution.
    wider = {name for name in unet if unet[name] != nested[name]}
    assert wider == {f"x{i}{3 - i}_0" for i in range(lowest, 2)}


def test_plain_parameters_by_hand():
    def stack(inputs: int, width: int) -> int:
        """Two 3×3 convolutions without bias, each with batch normalisation (4 a filter)."""
        return 9 * inputs * width + 9 * width * width + 8 * width

    encoder = stack(3, 4) + stack(4, 8) + stack(8, 16)
    unet = encoder + stack(16 + 8, 8) + stack(8 + 4, 4) + (4 + 1)
    gate = 2 * 2 * 8 * 4 + (16 * 4 + 4) + (4 + 1)  # Wₓ 2×2, W_g and b_g, ψ and b_ψ; 4 = 8 / 2 channels
    dense = stack(8 + 4, 4) + 9 * 4 * 4  # X(0,1), and X(0,2) reads it
    filters = {"filters": (4, 8, 16)}
    assert build_model("unet", **filters).count_params() == unet
    assert build_model("attention_unet", **filters).count_params() == unet + gate
    assert build_model("nested_unet", **filters).count_params() == unet + dense


def test_a_plain_networks_gates_stand_where_the_paper_has_them(sources):
    model = build_model("attention_unet", **PLAIN)
    gated = [layer.name for layer in model.layers if layer.name.endswith("_gated")]
    assert sorted(gated) == ["gate_1_gated", "gate_2_gated"]  # not in the skip of the whole size
    for level in (1, 2):
        gate, skip = f"gate_{level}", f"x{level}0_1_activation"
        below = f"x{level + 1}{3 - level - 1}_1_activation"
        assert sources(model.get_layer(f"{gate}_x")) == [skip] and sources(model.get_layer(f"{gate}_g")) == [
            below
        ]
        assert sources(model.get_layer(f"{gate}_add")) == [f"{gate}_x", f"{gate}_g"]
        assert sources(model.get_layer(f"{gate}_gated")) == [skip, f"{gate}_up"]
        # Nothing of the skip goes round its gate.
        joined = sources(model.get_layer(f"x{level}{3 - level}_concat"))
        assert joined == [f"{gate}_gated", f"x{level}{3 - level}_up_unpool"]
    assert sources(model.get_layer("x03_concat"))[0] == "x00_1_activation"


def test_a_pretrained_encoders_skips_are_all_gated_as_fine_as_they_are():
    model = build_model("attention_unet", **LITE)
    image = np.zeros((1, 32, 32, 3), np.float32)
    shown = keras.Model(model.input, [model.get_layer(f"gate_{level}").output for level in (1, 2)])
    assert [alpha.shape[1:3] for alpha in shown(image)] == [(16, 16), (8, 8)]
    assert "gate_0" not in {layer.name for layer in model.layers}


def test_two_levels_leave_nothing_to_gate():
    with pytest.raises(ValueError, match="three levels"):
        build_model("attention_unet", filters=(4, 8))


def test_gate_by_hand():
    """x = 2 in both channels, g = (1, 3): q = ReLU(2·1 + 2·1 + 1 + 3 − 4) = 4, α = σ(4/2 − 2) = 1/2."""
    skip, gating = keras.Input((4, 4, 2)), keras.Input((2, 2, 2))
    model = keras.Model([skip, gating], attention_gate(skip, gating, 1, 2, level=1))
    model.get_layer("gate_1_x").set_weights([np.full((2, 2, 2, 1), 1 / 4, np.float32)])
    model.get_layer("gate_1_g").set_weights([np.ones((1, 1, 2, 1), np.float32), np.float32([-4])])
    model.get_layer("gate_1_psi").set_weights([np.full((1, 1, 1, 1), 0.5, np.float32), np.float32([-2])])
    x, g = np.full((1, 4, 4, 2), 2, np.float32), np.tile(np.float32([1, 3]), (1, 2, 2, 1))
    np.testing.assert_allclose(model([x, g]), np.ones((1, 4, 4, 2)), rtol=1e-6)


def test_with_stride_1_the_gate_is_keras_unet_collections(rng):
    skip, gating = keras.Input((4, 6, 5)), keras.Input((4, 6, 7))
    ours = keras.Model([skip, gating], attention_gate(skip, gating, 3, 1, level=1))
    theirs = keras.Model([skip, gating], their_gate(skip, gating, 3, name="att"))
    for own, other in (("x", "theta_x"), ("g", "phi_g"), ("psi", "psi_f")):
        weights = [rng.normal(size=w.shape) for w in theirs.get_layer(f"att_{other}").get_weights()]
        if own == "x":
            weights[1][:] = 0  # of two biases that are added one is enough
        theirs.get_layer(f"att_{other}").set_weights(weights)
        ours.get_layer(f"gate_1_{own}").set_weights(weights[: 1 if own == "x" else 2])
    x, g = rng.normal(size=(2, 4, 6, 5)), rng.normal(size=(2, 4, 6, 7))
    np.testing.assert_allclose(ours([x, g]), theirs([x, g]), rtol=1e-5, atol=1e-6)
