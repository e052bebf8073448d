"""The network as it is trained, against the network of Keras's own layers."""

import keras
import numpy as np
import pytest

from metseg.models import build_model
from metseg.models.fused import (
    Conv3D,
    FusedBatchNormalization,
    MatmulUpsampling,
    doubling_matrix,
    training_copy,
)
from metseg.models.outputs import logits_model
from metseg.training.losses import bce_dice

# n/(n−1) on the smallest maps here: 4 slices of 4×4 px.
BESSEL = 64 / 63


LITE = {"filters": (4, 8), "encoder": "efficientnet_lite0"}


@pytest.fixture(params=[("attention_unet", {}), ("nested_unet", LITE)], ids=str)
def plain(request, randomised) -> keras.Model:
    name, options = request.param
    return randomised(build_model(name, **({"filters": (4, 8, 16)} | options)))


def probabilities(logits: keras.Model, batch) -> np.ndarray:
    """What a network that gives logits says of a batch's images."""
    return 1 / (1 + np.exp(-logits.predict_on_batch(batch[0])))


def test_logits_are_those_of_each_head_in_order(batch, randomised):
    plain = randomised(build_model("nested_unet", filters=(4, 8, 16), deep_supervision=True))
    for model in (logits_model(plain), training_copy(plain)):
        assert model.output_shape[-1] == 2
        np.testing.assert_allclose(probabilities(model, batch), plain.predict_on_batch(batch[0]), atol=1e-5)
    assert logits_model(plain).predict_on_batch(batch[0]).min() < 0
    single = build_model("nested_unet", filters=(4, 8), deep_supervision=True)  # one head, supervised
    assert logits_model(single).output_shape[-1] == 1


def test_same_network_before_training(plain, batch):
    fused = training_copy(plain)
    kinds = [type(layer) for layer in fused.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert set(kinds) == {FusedBatchNormalization}
    assert len(kinds) == sum(type(layer) is keras.layers.BatchNormalization for layer in plain.layers) > 0
    np.testing.assert_allclose(probabilities(fused, batch), plain.predict_on_batch(batch[0]), atol=1e-5)
    assert not any(type(layer) is keras.layers.UpSampling2D for layer in fused.layers)
    assert [weight.path.split("/")[-2:] for weight in fused.weights] == [
        weight.path.split("/")[-2:] for weight in plain.weights
    ]
    for a, b in zip(fused.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_step_is_the_same(plain, batch):
    fused = training_copy(plain)
    losses = []
    before = plain.get_weights()
    for model in (fused, logits_model(plain)):
        model.compile(keras.optimizers.SGD(0.01), bce_dice, run_eagerly=True)
        for a, b in zip(plain.get_weights(), before, strict=True):
            np.testing.assert_array_equal(a, b)  # the copy shares no weight
        losses.append(model.train_on_batch(*batch))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    for a, b in zip(plain.weights, fused.weights, strict=True):
        tolerance = (BESSEL - 1) if "moving_variance" in a.path else 1e-4
        np.testing.assert_allclose(np.asarray(b), np.asarray(a), rtol=tolerance, atol=1e-4, err_msg=a.path)
    plain.set_weights(fused.get_weights())
    np.testing.assert_allclose(plain.predict_on_batch(batch[0]), probabilities(fused, batch), atol=1e-5)


def test_the_same_curve(batch):
    """Steps of Adam from one seed: what is learned does not depend on the kernels."""
    before, curves = keras.config.dtype_policy(), []
    for copy in (logits_model, training_copy):
        keras.utils.set_random_seed(1)
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            model = copy(build_model("unet", filters=(4, 8)))
        finally:
            keras.config.set_dtype_policy(before)
        model.compile(keras.optimizers.Adam(0.03), bce_dice)
        fitted = model.fit(*batch, batch_size=4, epochs=20, shuffle=False, verbose=0)
        curves.append(fitted.history["loss"])
    plain, fused = curves
    assert plain[-1] < 0.85 * plain[0]
    np.testing.assert_allclose(fused, plain, atol=0.03)


def test_doubling_by_hand():
    np.testing.assert_array_equal(doubling_matrix(2), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    np.testing.assert_array_equal(doubling_matrix(1), [[1], [1]])


@pytest.mark.parametrize("width", [10, 100])
# Each axis is rounded by itself: up to two steps of bfloat16, of 2**-8 below 1.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 2**-7)])
def test_upsampling_is_keras_own(rng, dtype, tolerance, width):
    image = rng.uniform(0, 1, (2, 6, width, 3)).astype(np.float32)
    ours = MatmulUpsampling(2, interpolation="bilinear", dtype=dtype)(image)
    theirs = keras.layers.UpSampling2D(2, interpolation="bilinear", dtype=dtype)(image)
    assert ours.dtype == theirs.dtype and ours.shape == (2, 12, 2 * width, 3)
    ours, theirs = (keras.ops.cast(x, "float32") for x in (ours, theirs))
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), atol=tolerance)


def test_running_statistics_by_hand():
    layer = FusedBatchNormalization(momentum=0.9, epsilon=1e-3)
    x = np.float32([1, 2, 3, 6]).reshape(1, 2, 2, 1)  # mean 3, variance 14/4 = 3.5, with Bessel 14/3
    y = np.asarray(layer(x, training=True))
    np.testing.assert_allclose(y, (x - 3) / np.sqrt(3.5 + 1e-3), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(layer.moving_mean), [0.9 * 0 + 0.1 * 3], rtol=1e-5)
    np.testing.assert_allclose(np.asarray(layer.moving_variance), [0.9 * 1 + 0.1 * 14 / 3], rtol=1e-5)


def test_a_frozen_layer_does_not_learn():
    """As in Keras: trainable=False means inference, whatever `training` says."""
    layer, plain = FusedBatchNormalization(), keras.layers.BatchNormalization()
    x = np.float32([1, 2, 3, 6]).reshape(1, 2, 2, 1)
    for each in (layer, plain):
        each.build(x.shape)
        each.trainable = False
    np.testing.assert_array_equal(np.asarray(layer(x, training=True)), np.asarray(plain(x, training=True)))
    np.testing.assert_array_equal(np.asarray(layer.moving_mean), [0])


def test_statistics_stay_float32_in_bfloat16(batch):
    layer = FusedBatchNormalization(dtype="mixed_bfloat16")
    y = layer(batch[0], training=True)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    mean = 0.99 * 0 + 0.01 * batch[0].mean(axis=(0, 1, 2))
    # Exact to float32 on the bfloat16 image; bfloat16 sums of 1024 pixels would be off by percents.
    np.testing.assert_allclose(np.asarray(layer.moving_mean), mean, rtol=2e-3)


@pytest.mark.parametrize(("policy", "scaled"), [("mixed_float16", True), ("mixed_bfloat16", False)])
def test_the_copy_keeps_the_precision(policy, scaled):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        plain = build_model("unet", filters=(4, 8))
    finally:
        keras.config.set_dtype_policy(before)
    fused = training_copy(plain)
    layers = logits_model(plain).layers[1:]  # the first is the image
    for a, b in zip(fused.layers[1:], layers, strict=True):
        assert a.dtype_policy.name == b.dtype_policy.name
    assert fused.dtype_policy.name == policy
    fused.compile("adam", bce_dice)
    # Keras scales the loss of a float16 model, lest its gradients vanish; it asks the model's policy.
    assert isinstance(fused.optimizer, keras.optimizers.LossScaleOptimizer) == scaled


def test_a_fused_network_can_be_saved(batch, tmp_path):
    fused = training_copy(build_model("unet", filters=(4, 8)))
    fused.save(tmp_path / "fused.keras")
    loaded = keras.saving.load_model(tmp_path / "fused.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(batch[0]), fused.predict_on_batch(batch[0]))


def test_depthwise_convolutions_stay_in_float32():
    """Their gradients are slow in bfloat16; all else is computed in what the network was built with."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        fused = training_copy(build_model("unet", **LITE))
    finally:
        keras.config.set_dtype_policy(policy)
    depthwise = [layer for layer in fused.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]
    others = [layer for layer in fused.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {layer.compute_dtype for layer in depthwise} == {"float32"} and len(depthwise) == 3
    assert {layer.compute_dtype for layer in others if "logits" not in layer.name} == {"bfloat16"}


def test_a_network_of_volumes_learns_as_keras_does(randomised):
    rng = np.random.default_rng(0)
    plain = randomised(build_model("unet", filters=(4, 8), rank=3))
    image = rng.random((2, 4, 8, 8, 3), np.float32)
    mask = (image[..., :1] > 0.7).astype(np.float32)
    fused, logits = training_copy(plain), logits_model(plain)
    np.testing.assert_allclose(fused.predict_on_batch(image), logits.predict_on_batch(image), atol=1e-5)
    losses = []
    for model in (fused, logits):
        model.compile(keras.optimizers.SGD(0.01), bce_dice, run_eagerly=True)
        losses.append([model.train_on_batch(image, mask) for _ in range(2)])
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("shape", [(2, 6, 6), (2, 2, 4), (4, 2, 2), (1, 4, 4), (3, 6, 6)], ids=str)
def test_a_kernels_gradient_in_bfloat16_is_that_in_float32(shape, rng):
    """Where it was wrong, CPUs with AVX512 were at fault; traced as a training is, with any batch."""
    import tensorflow as tf

    image = rng.integers(-8, 9, (2, *shape, 16)).astype(np.float32)  # exact in bfloat16
    weights, found = rng.integers(-8, 9, (3, 3, 3, 16, 32)).astype(np.float32), []
    steps = rng.integers(-8, 9, (2, *shape, 32)).astype(np.float32)
    for kind, dtype in ((keras.layers.Conv3D, "float32"), (Conv3D, "mixed_bfloat16")):
        layer = kind(32, 3, padding="same", use_bias=False, dtype=dtype)
        layer.build(image.shape)
        layer.set_weights([weights])

        @tf.function(input_signature=[tf.TensorSpec((None, *shape, 16))])
        def gradient(inputs, layer=layer):
            with tf.GradientTape() as tape:
                output = layer(inputs)
            assert output.dtype == layer.compute_dtype
            return tape.gradient(output, layer.kernel.value, keras.ops.cast(steps, output.dtype))

        found.append(gradient(image))
    np.testing.assert_allclose(found[1], found[0], rtol=0.01, atol=8)


def test_volumes_learn_in_bfloat16_as_in_float32_down_to_the_narrowest_level(rng):
    """Two voxels at the deepest level, where a convolution's gradient in bfloat16 is wrong on some CPUs."""
    image = rng.random((2, 8, 8, 8, 3), np.float32)
    mask, policy, found = (image[..., :1] > 0.7).astype(np.float32), keras.config.dtype_policy(), []
    for each in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(117)  # whose loss was no number after a step in bfloat16
        keras.config.set_dtype_policy(each)
        try:
            model = training_copy(build_model("attention_unet", filters=(4, 6, 8), rank=3))
        finally:
            keras.config.set_dtype_policy(policy)
        model.compile(keras.optimizers.SGD(0.05), bce_dice, run_eagerly=True)
        found.append([model.train_on_batch(image, mask) for _ in range(3)])
    np.testing.assert_allclose(*found, rtol=0.02)
