"""The grid of U-Net++, traced through the graph of Keras layers."""

import numpy as np
import pytest
from keras import layers

from metseg.models.nested_unet import build_nested_unet, upstream_unet_plus

FILTERS = {1: (4, 8), 2: (4, 8, 16), 4: (4, 6, 8, 10, 12)}


def stack(channels: int, filters: int) -> int:
    """Parameters of two 3×3 convolutions without bias, each with batch normalisation (4 a filter)."""
    return 9 * channels * filters + 4 * filters + 9 * filters * filters + 4 * filters


def node(i: int, j: int) -> str:
    """The layer whose output is X(i,j)."""
    return f"x{i}{j}_1_activation"


@pytest.mark.parametrize(("depth", "deep_supervision"), [(1, True), (2, False), (4, True)])
def test_every_node_joins_all_nodes_before_it(depth, deep_supervision, sources):
    filters = FILTERS[depth]
    model = build_nested_unet(filters=filters, deep_supervision=deep_supervision)
    joins = {layer.name: layer for layer in model.layers if isinstance(layer, layers.Concatenate)}
    joins.pop("heads", None)
    expected = {(i, j) for j in range(1, depth + 1) for i in range(depth + 1 - j)}
    assert set(joins) == {f"x{i}{j}_concat" for i, j in expected}
    assert len(expected) == depth * (depth + 1) // 2

    for i, j in expected:
        join, up = joins[f"x{i}{j}_concat"], model.get_layer(f"x{i}{j}_up_unpool")
        assert sources(join) == [*(node(i, k) for k in range(j)), up.name]
        assert sources(up) == [node(i + 1, j - 1)]
        assert [tensor.shape[-1] for tensor in join.input] == [filters[i]] * j + [filters[i + 1]]
        assert isinstance(up, layers.UpSampling2D) and up.size == (2, 2) and up.interpolation == "bilinear"
        # What was joined is what the node's first convolution reads.
        assert sources(model.get_layer(f"x{i}{j}_0")) == [join.name]


def test_the_encoder_is_column_0(sources):
    model = build_nested_unet(filters=FILTERS[2])
    assert sources(model.get_layer("x00_0")) == ["image"]
    for i in (1, 2):
        pool = model.get_layer(f"x{i}0_pool_maxpool")
        assert isinstance(pool, layers.MaxPooling2D)
        assert sources(pool) == [node(i - 1, 0)] and sources(model.get_layer(f"x{i}0_0")) == [pool.name]


@pytest.mark.parametrize("depth", [1, 4])
def test_deep_supervision_heads_are_on_the_top_row_but_not_on_x00(depth, sources):
    model = build_nested_unet(filters=FILTERS[depth], deep_supervision=True)
    assert model.output_shape == (None, None, None, depth)
    assert sources(model.get_layer("heads")) == [f"head_{j}" for j in range(1, depth + 1)]
    logits = [layer for layer in model.layers if layer.name.endswith("_logits")]
    assert sorted(sources(layer)[0] for layer in logits) == [node(0, j) for j in range(1, depth + 1)]
    for j in range(1, depth + 1):
        assert sources(model.get_layer(f"head_{j}")) == [f"head_{j}_logits"]
        assert sources(model.get_layer(f"head_{j}_logits")) == [node(0, j)]


def test_without_deep_supervision_the_only_head_is_on_the_last_node(sources):
    model = build_nested_unet(filters=FILTERS[4])
    logits = [layer for layer in model.layers if layer.name.endswith("_logits")]
    assert [sources(layer) for layer in logits] == [[node(0, 4)]]
    assert model.output_shape == (None, None, None, 1)


def test_parameters_by_hand():
    a, b, c = FILTERS[2]
    encoder = stack(3, a) + stack(a, b) + stack(b, c)  # 284 + 928 + 3584
    dense = stack(a + b, a) + stack(b + c, b) + stack(2 * a + b, a)  # 608 + 2368 + 752
    head = a + 1
    assert build_nested_unet(filters=(a, b, c)).count_params() == encoder + dense + head == 8529
    assert build_nested_unet(filters=(a, b, c), deep_supervision=True).count_params() == 8529 + head
    # One channel instead of three: two channels fewer for the first convolution's 3×3×a kernel.
    assert build_nested_unet(filters=(a, b, c), channels=1).count_params() == 8529 - 2 * 9 * a


def test_every_skip_matters(batch):
    """A pathway that is drawn but dead would pass a test of the graph alone."""
    model = build_nested_unet(filters=FILTERS[2])
    images, _ = batch
    before = model.predict_on_batch(images)
    for i, j, width in ((0, 1, 4), (1, 1, 8), (0, 2, 8)):
        layer = model.get_layer(f"x{i}{j}_0")
        kernel = layer.get_weights()[0]
        without = kernel.copy()
        without[:, :, :width] = 0  # the first inputs are the skips
        layer.set_weights([without])
        assert np.abs(model.predict_on_batch(images) - before).max() > 1e-6, (i, j)
        layer.set_weights([kernel])
    np.testing.assert_array_equal(model.predict_on_batch(images), before)


def test_upstream_still_has_no_skip_connection():
    theirs = upstream_unet_plus((4, 8, 16))
    assert not [layer for layer in theirs.layers if isinstance(layer, layers.Concatenate)], (
        "keras-unet-collection's unet_plus_2d now has skip connections: our reason for building U-Net++ "
        "ourselves in metseg.models.nested_unet is gone; compare the two graphs and consider using theirs"
    )
