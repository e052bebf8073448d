"""A wrong parameter is one sentence that names it and says what it may be."""

import json
import typing

import pytest
from pydantic import ValidationError

from metseg.base.errors import MetsegError
from metseg.models import ENCODERS
from metseg.models.encoders.efficientnet_lite import DEEPEST
from metseg.preprocessing.pipeline import Preprocessing
from metseg.training.augment import Augmentation
from metseg.training.config import (
    PARAMETERS,
    EncoderName,
    LossName,
    TrainConfig,
    train_config,
    with_defaults,
)
from metseg.training.losses import LOSSES

NEEDED = {"model": "unet", "data_dir": "data/phantom"}
PLAIN = {"filters": (4, 8), "channels": 3, "encoder": "plain", "targets": 1}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "resnet"}, "model='resnet': Input should be 'nested_unet', 'attention_unet' or 'unet'"),
        (
            {"loss": "mse"},
            "loss='mse': Input should be 'bce', 'focal', 'dice', 'bce_dice', 'focal_tversky' or",
        ),
        ({"encoder": "resnet"}, "encoder='resnet': Input should be 'plain' or 'efficientnet_lite0'"),
        (
            {"encoder": "efficientnet_lite0", "filters": (8,) * 6},
            "encoder='efficientnet_lite0' has 5 levels, not 6; give fewer filters",
        ),
        (
            {"encoder": "efficientnet_lite0", "filters": (8, 8), "image_size": 30},
            "image_size=30 is not divisible by 4, which these filters need",
        ),
        ({"image_size": 8}, "image_size=8: Input should be greater than or equal to 16"),
        ({"image_size": 128.5}, "image_size=128.5: Input should be a valid integer"),
        ({"image_size": 100}, "image_size=100 is not divisible by 8, which these filters need"),
        ({"image_size": 24, "progressive_resizing": 1}, "half of image_size=24 is not divisible by 8"),
        ({"progressive_resizing": 12}, "progressive_resizing=12 leaves none of epochs=12 to the whole size"),
        ({"filters": (16,)}, "filters=(16,): Tuple should have at least 2 items"),
        ({"filters": (16, 0)}, "filters=(16, 0): Input should be greater than 0"),
        ({"filters": (16, "x")}, "filters=(16, 'x'): Input should be a valid integer"),
        ({"filters": 16}, "filters=16: Input should be a valid tuple"),
        ({"deep_supervision": True}, "deep_supervision needs model='nested_unet', not 'unet'"),
        ({"epochs": 0}, "epochs=0: Input should be greater than or equal to 1"),
        ({"batch_size": -4}, "batch_size=-4: Input should be greater than or equal to 1"),
        ({"learning_rate": 0}, "learning_rate=0: Input should be greater than 0"),
        ({"learning_rate": float("inf")}, "learning_rate=inf: Input should be a finite number"),
        ({"learning_rate": float("nan")}, "learning_rate=nan: Input should be"),
        ({"schedule": "step"}, "schedule='step': Input should be 'cosine', 'plateau' or 'constant'"),
        ({"patience": -1}, "patience=-1: Input should be greater than or equal to 0"),
        ({"test_fraction": 1.0}, "test_fraction=1.0: Input should be less than 1"),
        ({"validation_fraction": 0}, "validation_fraction=0: Input should be greater than 0"),
        (
            {"test_fraction": 0.6, "validation_fraction": 0.4},
            "validation_fraction=0.4 leave nothing to train on",
        ),
        ({"fold": 2}, "fold=2 but folds=0; folds are numbered from 0"),
        ({"fold": 5, "folds": 5}, "fold=5 but folds=5; folds are numbered from 0"),
        ({"folds": 1}, "folds=1 tests on all patients; choose 0 for a hold-out, or 2 or more"),
        ({"threshold": 1}, "threshold=1: Input should be less than 1"),
        ({"precision": "int8"}, "precision='int8': Input should be 'auto', 'float32', 'mixed_bfloat16'"),
        ({"seed": -1}, "seed=-1: Input should be greater than or equal to 0"),
        ({"intensity": "window"}, "intensity='window': Input should be 'slice', 'volume', 'tissue' or"),
        ({"data_dir": 3}, "data_dir=3: Input should be a valid string"),
        ({"clip_limit": -1.0}, "clip_limit=-1.0: Input should be greater than or equal to 0"),
        ({"tile_grid": 0}, "tile_grid=0: Input should be greater than or equal to 1"),
        ({"rotation_deg": 999.0}, "rotation_deg=999.0: Input should be less than or equal to 180"),
        ({"zoom": 1.0}, "zoom=1.0: Input should be less than 1"),
        ({"elastic": -0.1}, "elastic=-0.1: Input should be greater than or equal to 0"),
        ({"rank": 4}, "rank=4: Input should be 2 or 3"),
        ({"rank": 3, "encoder": "efficientnet_lite0"}, "'efficientnet_lite0' was trained on pictures"),
        ({"rank": 3, "patch_size": (32, 96)}, "patch_size=(32, 96): Tuple should have at least 3 items"),
        ({"rank": 3, "patch_size": (12, 96, 96)}, "z is a multiple of 8, 16 at least"),
        ({"rank": 3, "patch_size": (8, 96, 96)}, "z is a multiple of 8, 16 at least"),
        ({"rank": 3, "patch_size": (32, 96, 64)}, "y and x are one multiple of 8"),
        ({"rank": 3, "image_size": 64}, "patch_size=(32, 96, 96) is larger than image_size=64"),
        ({"rank": 3, "flat_poolings": 4}, "flat_poolings=4, but these filters pool 3 times"),
        ({"rank": 3, "neighbours": 1}, "neighbours=1 is for slices; with rank=3 set it to 0"),
        ({"rank": 3, "progressive_resizing": 2}, "progressive_resizing=2 is for slices"),
        ({"rank": 3, "copy_paste": 0.5}, "copy_paste=0.5 is for slices"),
        ({"rank": 3, "training_patch": 64}, "training_patch=64 is for slices"),
        ({"training_patch": 60}, "training_patch=60 is no multiple of 8"),
        ({"training_patch": 264}, "up to image_size="),
        ({"training_patch": 64, "progressive_resizing": 2}, "set progressive_resizing to 0"),
        ({"epoch": 5}, "unknown parameter 'epoch'; valid are model, data_dir, target, allow_missing"),
    ],
)
def test_a_wrong_parameter_is_named_in_one_sentence(changes, sentence):
    with pytest.raises(MetsegError) as caught:
        train_config(**{**NEEDED, **changes})
    text = str(caught.value)
    assert sentence in text
    assert "\n" not in text and "pydantic" not in text and "Value error" not in text


@pytest.mark.parametrize("missing", ["model", "data_dir"])
def test_a_missing_parameter_is_named_in_one_sentence(missing):
    values = {name: value for name, value in NEEDED.items() if name != missing}
    with pytest.raises(MetsegError, match=f"^parameter '{missing}' is missing; give it a value$"):
        train_config(**values)


def test_the_parts_get_the_values_of_the_whole():
    config = train_config(**NEEDED, image_size=64, clip_limit=3.5, intensity="volume", shift=0.2, flip=False)
    assert config.preprocessing == Preprocessing(image_size=64, clip_limit=3.5, intensity="volume")
    assert config.augmentation == Augmentation(shift=0.2, flip=False)


def test_the_defaults_of_the_parts_are_the_defaults_of_the_whole():
    config = train_config(**NEEDED)
    assert config.preprocessing == Preprocessing()
    assert config.augmentation == Augmentation()


def test_only_the_nested_unet_is_told_of_deep_supervision():
    nested = train_config(model="nested_unet", data_dir="x", filters=(4, 8), deep_supervision=True)
    assert nested.build_options == {**PLAIN, "deep_supervision": True}
    assert train_config(**NEEDED, filters=(4, 8)).build_options == PLAIN
    assert train_config(**NEEDED, filters=(4, 8), neighbours=1).build_options == {**PLAIN, "channels": 9}


@pytest.mark.parametrize(
    ("target", "regions"),
    [("", ("",)), ("ET", ("ET",)), ("1,3", ("1,3",)), ("TC + ET+WT", ("TC", "ET", "WT"))],
)
def test_the_regions_of_a_target(target, regions):
    config = train_config(**NEEDED, target=target)
    assert config.regions == regions and config.build_options["targets"] == len(regions)
    assert config.flat()["target"] == target  # as it was told


def test_a_network_of_volumes():
    config = train_config(**NEEDED, rank=3, flat_poolings=1, patch_size=(8, 96, 96), image_size=100)
    assert config.build_options["rank"] == 3 and config.build_options["flat_poolings"] == 1
    assert train_config(**config.flat()) == config and "patch_size" not in config.build_options
    # Of a network of slices nothing is asked that is for volumes.
    assert train_config(**NEEDED, patch_size=(1, 2, 3)).network.rank == 2


def test_a_pretrained_encoder_adds_a_level_below_the_filters():
    assert train_config(**NEEDED, filters=(4, 8)).network.poolings == 1
    assert train_config(**NEEDED, filters=(4, 8), encoder="efficientnet_lite0").network.poolings == 2


def test_every_encoder_has_a_name_that_a_config_takes_and_as_many_levels():
    assert typing.get_args(EncoderName) == ENCODERS
    lite = {"encoder": "efficientnet_lite0", "image_size": 64}
    assert train_config(**NEEDED, **lite, filters=(8,) * DEEPEST).network.poolings == DEEPEST


def test_every_loss_has_a_name_that_a_config_takes():
    assert set(typing.get_args(LossName)) == set(LOSSES)


def test_a_config_survives_json():
    config = train_config(**NEEDED, filters=[4, 8, 16], learning_rate=3e-4, folds=5, fold=4)
    assert TrainConfig(**json.loads(config.model_dump_json())) == config
    assert train_config(**json.loads(json.dumps(config.flat()))) == config


def test_every_parameter_stands_in_one_group():
    alone = {"data_dir", "target", "allow_missing"}
    groups = [field.annotation for name, field in TrainConfig.model_fields.items() if name not in alone]
    names = [name for group in groups for name in group.model_fields]
    assert sorted(names) == sorted(PARAMETERS.keys() - alone)


def test_former_names_of_parameters():
    known = with_defaults({"coarse_epochs": 3, "missing": 0.1, "paste": 0.2, "alone": 0.3})
    names = ("progressive_resizing", "modality_dropout", "copy_paste", "neighbour_dropout")
    assert [known[name] for name in names] == [3, 0.1, 0.2, 0.3]
    assert known.keys() == PARAMETERS.keys()


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        train_config(**NEEDED).learning.epochs = 3


def test_what_a_record_did_not_know_yet():
    old = {"model": "unet", "data_dir": "scans", "epochs": 3}
    known = with_defaults(old)
    assert (known["data_dir"], known["epochs"], known["split_seed"]) == ("scans", 3, 0)
    assert known["filters"] == [16, 32, 64, 128]
    assert with_defaults({**old, "seed": 5})["split_seed"] == 5  # one seed was for both
    assert with_defaults({**old, "seed": 5, "split_seed": 1})["split_seed"] == 1
