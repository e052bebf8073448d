"""Channel pruning: which channels stay, worked out by hand, and that dropping dead ones changes nothing."""

import keras
import numpy as np
import pytest

from metseg.models import build_model
from metseg.models.channel_pruning import prune_channels

WIDE, NARROW = (4, 8, 16), (3, 6, 10)
NETWORKS = [
    pytest.param("nested_unet", {}, id="nested_unet"),
    pytest.param("nested_unet", {"deep_supervision": True}, id="nested_unet-deep"),
    pytest.param("attention_unet", {}, id="attention_unet"),
    pytest.param("unet", {}, id="unet"),
]
each_network = pytest.mark.parametrize(("name", "options"), NETWORKS)


def widths(model: keras.Model) -> dict[str, int]:
    return {layer.name: layer.output.shape[-1] for layer in model.layers}


def kernel(model: keras.Model, layer: str) -> np.ndarray:
    return np.asarray(model.get_layer(layer).kernel)


def silence(model: keras.Model, layer: str, channels: list[int]) -> None:
    """Sets kernel and bias of output channels to zero, and γ and β of the normalisation behind them."""
    for name, count in ((layer, 2), (f"{layer}_bn", 2)):
        if name in widths(model):
            weights = model.get_layer(name).get_weights()
            for weight in weights[:count]:
                weight[..., channels] = 0
            model.get_layer(name).set_weights(weights)


@each_network
def test_dropping_dead_channels_changes_nothing(name, options, randomised, batch, rng):
    keras.utils.set_random_seed(0)
    model = randomised(build_model(name, filters=WIDE, **options))
    narrow = widths(build_model(name, filters=NARROW, **options))
    dead = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.filters > narrow[layer.name]:
            # The two convolutions of a gate are added, so only what is dead in both does nothing.
            gate, _, convolution = layer.name.partition("_att_")
            key = gate if convolution else layer.name
            order = dead.setdefault(key, rng.permutation(layer.filters).tolist())
            silence(model, layer.name, order[: layer.filters - narrow[layer.name]])
    before = model.get_weights()
    pruned = prune_channels(model, NARROW)
    assert widths(pruned) == narrow and pruned.name == model.name
    # The same sums without their zeros, in float32 and therefore in another order.
    np.testing.assert_allclose(pruned.predict_on_batch(batch[0]), model.predict_on_batch(batch[0]), atol=5e-6)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


@each_network
def test_the_same_filters_give_the_same_network(name, options, randomised, batch):
    model = randomised(build_model(name, filters=WIDE, **options))
    pruned = prune_channels(model, WIDE)
    for a, b in zip(pruned.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(pruned.predict_on_batch(batch[0]), model.predict_on_batch(batch[0]))


def test_which_channels_stay(randomised):
    model = randomised(build_model("unet", filters=(4, 8)))
    first, norm = (model.get_layer(f"unet_down0_{end}") for end in ("0", "0_bn"))
    norms = np.float32([3, 1, 2, 10])  # Σ|w| of each channel
    first.set_weights([np.float32([1, -1, 1, 1]) * norms * np.full((3, 3, 3, 4), 1 / 27, np.float32)])
    gamma, beta, mean = np.float32([[-2, 3, 1, 5], [1, 2, 3, 4], [5, 6, 7, 8]])
    norm.set_weights([gamma, beta, mean, np.float32([9, 1, 1, 100]) - norm.epsilon])
    # As normalisation scales them: 2·3/3 = 2, 3·1/1 = 3, 1·2/1 = 2, 5·10/10 = 5.
    pruned = prune_channels(model, (2, 8))
    np.testing.assert_array_equal(kernel(pruned, "unet_down0_0"), kernel(model, "unet_down0_0")[..., [1, 3]])
    kept = pruned.get_layer("unet_down0_0_bn").get_weights()
    np.testing.assert_array_equal(kept[:3], [[3, 5], [2, 4], [6, 8]])
    np.testing.assert_allclose(kept[3], [1, 100], atol=2e-3)


def test_a_concatenation_shifts_its_later_inputs(randomised):
    model = randomised(build_model("nested_unet", filters=(2, 4)))
    # X(0,1) takes [X(0,0), up(X(1,0))], 2 and 4 channels.
    silence(model, "x00_1", [0])
    silence(model, "x10_1", [0, 2])
    silence(model, "x01_0", [1])
    pruned = prune_channels(model, (1, 2))
    whole = kernel(model, "x01_0")
    np.testing.assert_array_equal(kernel(pruned, "x01_0"), whole[:, :, [1, 2 + 1, 2 + 3]][..., [0]])


def test_what_is_added_keeps_the_same_channels(randomised):
    model = randomised(build_model("attention_unet", filters=(4, 8)))
    gate = [model.get_layer(f"attunet_up0_att_{end}") for end in ("theta_x", "phi_g")]
    # Norms (5, 3) and (1, 4): alone they would keep channel 0 and channel 1; the sums are 6 and 7.
    for layer, norms, bias in zip(gate, ([5, 3], [1, 4]), ([1, 2], [3, 4]), strict=True):
        shape = layer.kernel.shape
        layer.set_weights([np.float32(norms) * np.full(shape, 1 / shape[2], np.float32), np.float32(bias)])
    pruned = prune_channels(model, (2, 8))
    assert np.asarray(pruned.get_layer("attunet_up0_att_theta_x").bias) == [2]
    assert np.asarray(pruned.get_layer("attunet_up0_att_phi_g").bias) == [4]
    np.testing.assert_array_equal(
        kernel(pruned, "attunet_up0_att_psi_f"), kernel(model, "attunet_up0_att_psi_f")[:, :, [1]]
    )


def test_filters_that_do_not_fit():
    model = build_model("unet", filters=(4, 8))
    with pytest.raises(ValueError, match=r"\(4, 8, 16\) have another number of levels"):
        prune_channels(model, (4, 8, 16))
    with pytest.raises(ValueError, match=r"\(4, 9\) are more than the trained network has"):
        prune_channels(model, (4, 9))


def test_a_layer_that_mixes_channels_is_named(monkeypatch):
    def build(name: str, *, filters, channels) -> keras.Model:
        image = keras.Input((None, None, channels), name="image")
        features = keras.layers.Conv2D(filters[0], 1, name="convolution")(image)
        return keras.Model(image, keras.layers.Conv2DTranspose(1, 2, name="up")(features), name=name)

    monkeypatch.setattr("metseg.models.channel_pruning.build_model", build)
    with pytest.raises(ValueError, match="followed through up, a Conv2DTranspose"):
        prune_channels(build("other", filters=(4,), channels=3), (2,))


def test_a_pretrained_encoder_is_not_narrowed():
    network = build_model("unet", filters=(4, 8), encoder="efficientnet_lite0")
    with pytest.raises(ValueError, match="a pretrained encoder is not narrowed"):
        prune_channels(network, (4, 8))
