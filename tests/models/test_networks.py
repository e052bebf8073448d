"""What every network that `build_model` knows must do."""

import json

import keras
import numpy as np
import pytest

from metseg.models import BUILDERS, build_model
from metseg.models.outputs import LESION_PRIOR, logits_model
from metseg.training.losses import bce_dice

FILTERS = {"filters": (4, 8, 16)}
LITE = {"filters": (4, 8), "encoder": "efficientnet_lite0"}
DEEP = {"deep_supervision": True}
NETWORKS = [
    pytest.param("nested_unet", FILTERS | DEEP, id="nested_unet-deep"),
    pytest.param("attention_unet", FILTERS, id="attention_unet"),
    pytest.param("nested_unet", LITE | DEEP, id="nested_unet-lite-deep"),
    pytest.param("unet", LITE, id="unet-lite"),
]


def modules(config) -> set[str]:
    """The Python modules that a model's JSON asks for."""
    if isinstance(config, dict):
        own = {config["module"]} if isinstance(config.get("module"), str) else set()
        return own.union(*(modules(value) for value in config.values()))
    return set().union(*map(modules, config)) if isinstance(config, list) else set()


def test_unknown_names_list_those_there_are():
    with pytest.raises(ValueError, match="'segnet'.* nested_unet, attention_unet, unet"):
        build_model("segnet")
    with pytest.raises(ValueError, match="unknown encoder 'resnet'; valid are plain, efficientnet_lite0"):
        build_model("unet", encoder="resnet")


@pytest.mark.parametrize("options", [{"filters": (4,) * 6}, {"filters": (4, 8), "channels": 4}])
def test_a_pretrained_encoder_has_its_own_levels_and_channels(options):
    with pytest.raises(ValueError, match="takes a multiple of 3 channels and has 1 to 5 levels"):
        build_model("nested_unet", encoder="efficientnet_lite0", **options)


def test_every_network_is_tested_here():
    assert set(BUILDERS) == {network.values[0] for network in NETWORKS}


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_any_size_divisible_by_the_poolings(name, options, rng, batch):
    """And untrained they expect few lesion pixels."""
    keras.utils.set_random_seed(0)
    model = build_model(name, **options)
    for head in np.moveaxis(np.asarray(model(batch[0])), -1, 0):
        assert LESION_PRIOR / 3 < np.median(head) < 3 * LESION_PRIOR
    heads = 2 if "deep_supervision" in options else 1
    assert not model.compiled
    for height, width in ((4, 4), (12, 20)):
        output = np.asarray(model(rng.random((2, height, width, 3), np.float32)))
        assert output.shape == (2, height, width, heads)
        assert output.dtype == np.float32 and output.min() >= 0 and output.max() <= 1


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_regions_have_channels_of_their_own(name, options, batch):
    keras.utils.set_random_seed(0)
    regions, one = build_model(name, **options, targets=3), build_model(name, **options)
    heads = 2 if "deep_supervision" in options else 1
    assert np.asarray(regions(batch[0])).shape == (4, 16, 16, 3 * heads)
    shapes = {weight.path: weight.shape for weight in one.weights}
    other = {weight.path for weight in regions.weights if weight.shape != shapes[weight.path]}
    assert len(other) == 2 * heads and all("_logits/" in path for path in other)
    # Its losses see each head's regions one after the other.
    logits = np.asarray(logits_model(regions)(batch[0]))
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), np.asarray(regions(batch[0])), atol=1e-6)


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_save_and_load(name, options, batch, randomised, tmp_path):
    model = randomised(build_model(name, **options))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.predict_on_batch(batch[0]), model.predict_on_batch(batch[0]))
    # Whoever gets the file needs Keras alone, neither metseg nor keras-unet-collection.
    assert {module.split(".")[0] for module in modules(json.loads(model.to_json()))} == {"keras"}


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_one_gradient_step_lowers_the_loss(name, options, batch):
    keras.utils.set_random_seed(0)
    model = logits_model(build_model(name, **options))
    model.compile(keras.optimizers.SGD(0.05), bce_dice, run_eagerly=True)
    before = model.train_on_batch(*batch)
    after = model.train_on_batch(*batch)  # the loss before this call's own step
    assert after < before - 1e-4


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_outputs_stay_float32_under_mixed_precision(name, options, batch):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_model(name, **options)
    finally:
        keras.config.set_dtype_policy(policy)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {layer.compute_dtype for layer in convolutions if "logits" not in layer.name} == {"bfloat16"}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    output = model(batch[0])
    assert model.output.dtype == "float32" and keras.backend.standardize_dtype(output.dtype) == "float32"
    # A float32 that was bfloat16 a layer before would have its lower 16 bits empty.
    assert (np.asarray(output).view(np.uint32) & 0xFFFF).any()
