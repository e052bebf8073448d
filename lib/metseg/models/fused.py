"""The network as it is trained: the same graph and weights, in kernels that a CPU runs near its limit.

Of a float32 step with Keras's layers half was batch normalisation, in ten kernels; of a bfloat16 step of
U-Net++ without them a fifth was bilinear upsampling, which Keras computes in float32. `Conv3D` is
here to be right: TensorFlow's gradient is not.
"""

import numpy as np

from metseg.base.backend import keras
from metseg.models.outputs import logits_model

_LARGEST = 96  # px, of a side that a product with a matrix doubles


@keras.saving.register_keras_serializable("metseg")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer, but for TensorFlow's fused kernel while it trains on (B, H, W, C).

    The kernel keeps mean and variance in float32 whatever its input, and its running variance carries
    Bessel's correction n/(n−1). On a CPU it knows no volumes: of these z and y are one axis to it.
    """

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable) or keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        shape = keras.ops.shape(inputs)
        slices = inputs if len(shape) == 4 else keras.ops.reshape(inputs, (shape[0], -1, *shape[3:]))
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            keras.ops.cast(slices, self.compute_dtype),
            keras.ops.cast(self.gamma, "float32"),
            keras.ops.cast(self.beta, "float32"),
            epsilon=self.epsilon,
            is_training=True,
        )
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + keras.ops.cast(batch, moving.dtype) * (1 - self.momentum))
        return outputs if len(shape) == 4 else keras.ops.reshape(outputs, shape)


@keras.saving.register_keras_serializable("metseg")
class MatmulUpsampling(keras.layers.UpSampling2D):
    """Keras's bilinear upsampling by two, as a product with a matrix for each axis.

    The weights 1/4, 3/4 and 1 are exact in bfloat16. H and W of the inputs (B, H, W, C) must be known when
    the call is traced. On two AVX512 cores the product and its gradient took half of the time of Keras's way
    from 48 and 96 px, and twice as much from 256 px.
    """

    def call(self, inputs):
        height, width, channels = inputs.shape[1:]
        if max(height, width) > _LARGEST:
            return super().call(inputs)
        x = keras.ops.reshape(inputs, (-1, width, channels))
        x = keras.ops.matmul(self._weights(width), x)
        x = keras.ops.reshape(x, (-1, height, 2 * width * channels))
        x = keras.ops.matmul(self._weights(height), x)
        return keras.ops.reshape(x, (-1, 2 * height, 2 * width, channels))

    def _weights(self, n: int):
        return keras.ops.convert_to_tensor(doubling_matrix(n), dtype=self.compute_dtype)


@keras.saving.register_keras_serializable("metseg")
class Conv3D(keras.layers.Conv3D):
    """Keras's layer, in float32 where bfloat16 can learn nonsense: on maps two voxels wide or less.

    With two along z the gradient of a kernel of side 3 holds memory that nobody has written, up to infinity:
    oneDNN's kernel `jit_bf16:avx512_core`, as TensorFlow 2.21 has it. From three on, and of slices, it is
    right. Where Z, H or W of the inputs (B, Z, H, W, C) are unknown as the call is traced, it is float32 too.
    """

    def convolution_op(self, inputs, kernel):
        if all(side is not None and side > 2 for side in inputs.shape[1:-1]):
            return super().convolution_op(inputs, kernel)
        whole = (keras.ops.cast(each, "float32") for each in (inputs, kernel))
        return keras.ops.cast(super().convolution_op(*whole), self.compute_dtype)


def doubling_matrix(n: int) -> np.ndarray:
    """Returns the (2n, n) float32 weights of linear interpolation with pixel centres at halves."""
    near, pixel = np.arange(2 * n) // 2, np.eye(n, dtype=np.float32)
    far = np.clip(near + np.tile([-1, 1], n), 0, n - 1)  # at the border the pixel itself
    return 0.75 * pixel[near] + 0.25 * pixel[far]


def training_copy(model: keras.Model) -> keras.Model:
    """Returns a copy of a network to train, which gives logits; its weights are the same, in order and shape.

    What its batch normalisation would predict with a training estimates anew (`PopulationStatistics`).

    Args:
        model: A network of Keras's own layers, as `build_model` makes it.
    """

    def swap(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if type(layer) is keras.layers.BatchNormalization:
            return FusedBatchNormalization.from_config(config)
        if type(layer) is keras.layers.DepthwiseConv2D and layer.compute_dtype == "bfloat16":
            # On two AVX512 cores the gradients of EfficientNet-Lite0's took four times as long in bfloat16.
            return keras.layers.DepthwiseConv2D.from_config({**config, "dtype": "float32"})
        if type(layer) is keras.layers.Conv3D:
            return Conv3D.from_config(config)
        if type(layer) is keras.layers.UpSampling2D:  # all double, bilinear
            return MatmulUpsampling.from_config(config)
        return type(layer).from_config(config)

    copy = keras.models.clone_model(logits_model(model), clone_function=swap)
    copy.set_weights(model.get_weights())
    copy.dtype_policy = model.dtype_policy  # by it `compile` decides whether to scale a float16 loss
    return copy
