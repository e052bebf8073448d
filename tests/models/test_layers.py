"""Rank 2 of our layers is keras-unet-collection's graph, and rank 3 the same graph with one axis more."""

import keras
import numpy as np
import pytest

from metseg.models import blocks, build_model, layers
from metseg.models.inspect import gate_names, graph_of, inference_model
from metseg.models.outputs import logits_model
from metseg.training.losses import bce_dice

FILTERS = {"filters": (4, 6, 8)}
OPTIONS = {"unet": {}, "attention_unet": {}, "nested_unet": {"deep_supervision": True}}
NETWORKS = pytest.mark.parametrize("name", OPTIONS)


def built(name: str, **options) -> keras.Model:
    return build_model(name, **FILTERS, **OPTIONS[name], **options)


@NETWORKS
def test_rank_2_of_our_layers_is_the_packages_graph(name, monkeypatch):
    theirs = built(name)
    ours = {
        "CONV_stack": lambda x, width, name, **_: layers.conv_stack(x, width, name=name),
        "encode_layer": lambda x, _, size, __, name: layers.pooled(x, size, name=name),
        "decode_layer": lambda x, _, size, __, name: layers.upsampled(x, size, name=f"{name}_unpool"),
    }
    for layer, own in ours.items():
        monkeypatch.setattr(blocks, layer, own)
    assert built(name).get_config() == theirs.get_config()


@NETWORKS
def test_rank_3_is_the_same_graph(name, sources):
    flat, deep = built(name), built(name, rank=3)
    names = [layer.name for layer in flat.layers]
    assert [layer.name for layer in deep.layers] == names
    for one in names[1:]:
        assert sources(deep.get_layer(one)) == sources(flat.get_layer(one))
        ours, theirs = (net.get_layer(one).get_weights() for net in (deep, flat))
        for weight, other in zip(ours, theirs, strict=True):  # a kernel has one axis more, of the same side
            assert weight.shape == ((other.shape[0], *other.shape) if other.ndim == 4 else other.shape)
    assert graph_of(deep) == graph_of(flat) and gate_names(deep) == gate_names(flat)


@NETWORKS
def test_any_volume_divisible_by_the_poolings_and_one_step_lowers_the_loss(name, rng):
    keras.utils.set_random_seed(0)
    model = built(name, rank=3)
    image = rng.random((1, 4, 8, 12, 3), np.float32)
    heads = 2 if OPTIONS[name] else 1
    output = np.asarray(model(image))
    assert output.shape == (1, 4, 8, 12, heads) and output.dtype == np.float32
    mask = (image[..., :1] > 0.7).astype(np.float32)
    learner = logits_model(model)
    learner.compile(keras.optimizers.SGD(0.05), bce_dice, run_eagerly=True)
    assert learner.train_on_batch(image, mask) > learner.train_on_batch(image, mask) + 1e-4


def test_a_head_is_kept_alone_as_in_slices(rng):
    model = built("nested_unet", rank=3)
    image = rng.random((1, 4, 4, 4, 3), np.float32)
    alone = inference_model(model, prune=1)
    assert not [layer.name for layer in alone.layers if layer.name.startswith("x02")]
    np.testing.assert_allclose(alone(image), np.asarray(model(image))[..., :1], atol=1e-6)
    assert inference_model(model).output_shape[-1] == 1


def test_flat_poolings_leave_z_as_it_is(rng):
    model = built("attention_unet", rank=3, flat_poolings=1)
    assert [model.get_layer(f"x{i}0_pool_maxpool").pool_size for i in (1, 2)] == [(1, 2, 2), (2, 2, 2)]
    shown = keras.Model(model.input, [model.output, model.get_layer("gate_1").output])
    output, alpha = shown(rng.random((1, 2, 8, 8, 3), np.float32))
    assert output.shape == (1, 2, 8, 8, 1) and alpha.shape == (1, 1, 2, 2, 1)


def test_what_is_repeated_by_hand():
    x = np.float32([[[[[1], [2]]]]])  # (1, 1, 1, 2, 1)
    up = np.asarray(layers.upsampled(keras.ops.convert_to_tensor(x), (2, 1, 2), name="up"))
    assert up[0, ..., 0].tolist() == [[[1, 1, 2, 2]], [[1, 1, 2, 2]]]


@NETWORKS
def test_pictures_taught_no_encoder_of_volumes(name):
    with pytest.raises(ValueError, match="efficientnet_lite0"):
        build_model(name, filters=(4, 8), encoder="efficientnet_lite0", rank=3)
