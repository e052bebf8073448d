"""Gates and heads, taken out of a network."""

import keras
import numpy as np
import pytest

from metseg.models import build_model
from metseg.models.inspect import (
    concatenations,
    gate_names,
    graph_of,
    inference_model,
)


def gate_model(model: keras.Model) -> keras.Model:
    return keras.Model(model.input, {name: model.get_layer(name).output for name in gate_names(model)})


@pytest.fixture
def deep(randomised) -> keras.Model:
    return randomised(build_model("nested_unet", filters=(4, 8, 16, 32), deep_supervision=True))


def test_gates_from_coarse_to_fine(batch, randomised):
    model = randomised(build_model("attention_unet", filters=(4, 8, 16, 32)))
    gates = gate_model(model)
    assert gate_names(model) == list(gates.output) == ["gate_2", "gate_1"]
    images = batch[0][:2, :, :8]  # (2, 16, 8, 3)
    maps = {name: np.asarray(value) for name, value in gates(images).items()}
    assert [maps[name].shape for name in gate_names(model)] == [(2, 2, 1, 1), (2, 4, 2, 1)]
    for value in maps.values():
        assert value.min() >= 0 and value.max() <= 1 and np.ptp(value) > 0


def test_gates_are_those_that_the_network_uses(batch, randomised):
    model = randomised(build_model("attention_unet", filters=(4, 8, 16)))
    name = "gate_1"
    look = keras.Model(
        model.input,
        {
            "skip": model.get_layer("x10_1_activation").output,
            "gated": model.get_layer("gate_1_gated").output,
            "alpha": model.get_layer("gate_1_up").output,
        },
    )
    seen = {key: np.asarray(value) for key, value in look(batch[0]).items()}
    np.testing.assert_allclose(seen["gated"], seen["skip"] * seen["alpha"], rtol=1e-5, atol=1e-6)
    alpha = np.asarray(gate_model(model)(batch[0])[name])  # of half the side
    np.testing.assert_allclose(seen["alpha"].mean(axis=(1, 2)), alpha.mean(axis=(1, 2)), rtol=1e-5)


def test_the_heads_are_averaged(deep, batch):
    heads = deep.predict_on_batch(batch[0])
    assert heads.shape[-1] == 3 and np.ptp(heads, axis=-1).max() > 1e-3  # else a mean would prove nothing
    mean = (heads[..., 0] + heads[..., 1] + heads[..., 2]) / 3
    model = inference_model(deep)
    assert model.output_shape == (None, None, None, 1) and model.name == "nested_unet"
    np.testing.assert_allclose(model.predict_on_batch(batch[0])[..., 0], mean, atol=1e-6)
    assert model.count_params() == deep.count_params()


def test_heads_of_several_regions_are_averaged_and_pruned_region_by_region(batch, randomised):
    network = build_model("nested_unet", filters=(4, 8, 16), deep_supervision=True, targets=3)
    heads = randomised(network).predict_on_batch(batch[0])
    first, second = heads[..., :3], heads[..., 3:]
    mean = inference_model(network).predict_on_batch(batch[0])
    np.testing.assert_allclose(mean, (first + second) / 2, atol=1e-6)
    for k, head in ((1, first), (2, second)):
        pruned = inference_model(network, prune=k)
        np.testing.assert_allclose(pruned.predict_on_batch(batch[0]), head, atol=1e-6)


def test_pruning_keeps_one_head_and_what_it_needs(deep, batch):
    heads = deep.predict_on_batch(batch[0])
    parameters = []
    for k in (1, 2, 3):
        model = inference_model(deep, prune=k)
        np.testing.assert_allclose(model.predict_on_batch(batch[0])[..., 0], heads[..., k - 1], atol=1e-6)
        parameters.append(model.count_params())
    assert parameters[0] < parameters[1] < parameters[2] < deep.count_params()
    # L1: X(0,0), X(1,0), X(0,1) and a head; L2 is the network of one level less.
    assert parameters[0] == 284 + 928 + 608 + 5
    assert parameters[1] == 8529
    assert not [layer.name for layer in inference_model(deep, prune=1).layers if layer.name.startswith("x2")]


def test_a_network_with_one_head_is_returned_as_it_is():
    for name in ("unet", "attention_unet", "nested_unet"):
        model = build_model(name, filters=(4, 8, 16))
        assert inference_model(model) is model and bool(gate_names(model)) == (name == "attention_unet")


def test_every_skip_connection_is_a_concatenation():
    counts = {"nested_unet": 3, "attention_unet": 2, "unet": 2}
    assert {name: concatenations(build_model(name, filters=(4, 8, 16))) for name in counts} == counts


@pytest.mark.parametrize("prune", [0, 4])
def test_a_head_that_is_not_there(deep, prune):
    with pytest.raises(ValueError, match=rf"prune={prune}.*\[1, 2, 3\]"):
        inference_model(deep, prune=prune)


def test_a_network_without_heads_says_so():
    plain = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(1, 1)], name="unet")
    with pytest.raises(ValueError, match="prune=1; unet has one output and no heads"):
        inference_model(plain, prune=1)


def test_a_pretrained_encoder_has_no_features_of_the_whole_size_to_join():
    lite = {"filters": (4, 8, 8), "encoder": "efficientnet_lite0"}
    graph = graph_of(build_model("nested_unet", **lite))
    assert graph.nodes == {
        **{(1, 0): 16, (2, 0): 24, (3, 0): 40},  # the encoder's own widths
        **{(1, 1): 8, (2, 1): 8, (1, 2): 8, (0, 3): 4},
    }
    assert [start for start, end, kind in graph.arrows if end == (0, 3)] == [(1, 2)]
    assert len(gate_names(build_model("attention_unet", **lite))) == 2


def test_heads_of_a_network_with_a_pretrained_encoder(randomised, rng):
    lite = {"filters": (4, 8, 8), "encoder": "efficientnet_lite0"}
    deep = randomised(build_model("nested_unet", **lite, deep_supervision=True))
    images = rng.random((1, 16, 16, 3), np.float32)
    heads = deep.predict_on_batch(images)
    assert heads.shape == (1, 16, 16, 3)
    single = inference_model(deep, prune=2).predict_on_batch(images)
    np.testing.assert_allclose(single[..., 0], heads[..., 1], atol=1e-6)


def test_the_graph_of_unet_is_one_diagonal():
    graph = graph_of(build_model("unet", filters=(4, 8, 16)))
    assert graph.nodes == {(0, 0): 4, (1, 0): 8, (2, 0): 16, (1, 1): 8, (0, 2): 4}
    assert sorted(graph.arrows) == [
        ((0, 0), (0, 2), "skip"),
        ((0, 0), (1, 0), "down"),
        ((1, 0), (1, 1), "skip"),
        ((1, 0), (2, 0), "down"),
        ((1, 1), (0, 2), "up"),
        ((2, 0), (1, 1), "up"),
    ]
    assert graph.heads == [(0, 2)]


def test_the_graphs_of_the_others_differ_in_gates_and_dense_skips():
    shape = {"filters": (4, 8, 16), "encoder": "efficientnet_lite0"}
    unet = graph_of(build_model("unet", **shape))
    gated = graph_of(build_model("attention_unet", **shape))
    assert gated.nodes == unet.nodes
    assert [(a, b, kind.replace("gated", "skip")) for a, b, kind in gated.arrows] == unet.arrows
    assert sum(kind == "gated" for *_, kind in gated.arrows) == 2
    nested = graph_of(build_model("nested_unet", **shape, deep_supervision=True))
    assert unet.nodes.items() <= nested.nodes.items() and set(unet.arrows) <= set(nested.arrows)
    assert nested.heads == [(0, 1), (0, 2), (0, 3)]
