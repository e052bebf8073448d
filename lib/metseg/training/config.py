"""One validated object carries a training's parameters from the notebook to the manifest."""

import ast
import difflib
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from metseg.base.errors import MetsegError
from metseg.base.paths import located
from metseg.preprocessing.pipeline import Intensity, Preprocessing
from metseg.training.augment import Augmentation

ModelName = Literal["nested_unet", "attention_unet", "unet"]
EncoderName = Literal["plain", "efficientnet_lite0"]
LossName = Literal["bce", "focal", "dice", "bce_dice", "focal_tversky"]
_PLAIN = (bool, int, float, str, list, tuple, dict, type(None))


class TrainConfig(BaseModel):
    """Everything that decides a training's result; the defaults are the quick run on the phantom.

    Attributes:
        model: Which network.
        data_dir: Folder of scans.
        image_size: Side of the network input, px; divisible by 2**poolings.
        clip_limit, tile_grid, intensity, crop, neighbours: See `Preprocessing`.
        encoder: `plain`, the network's own, or `efficientnet_lite0` with weights from ImageNet.
        filters: Convolution filters of each level; with another encoder than `plain` of the decoder's, below
            which the encoder has one more.
        deep_supervision: A head on every X(0,j); nested_unet only.
        loss: Name in `metseg.training.losses.LOSSES`.
        epochs: Passes over the training slices at most.
        coarse_epochs: So many of them, the first, see slices of half the side: a step costs a quarter there.
        batch_size: Slices a step.
        learning_rate: Adam's at the start.
        schedule: `cosine` falls to zero, after coarse epochs once more from half the rate; `plateau` halves
            after 5 epochs without a better validation Dice; `constant` stays.
        ema_momentum: What a moving average of the weights keeps in each step (`AveragedWeights`); the average
            is what is validated and served. 0 takes the weights as they are after an epoch.
        patience: Epochs without a better validation Dice after which training stops, coarse ones aside;
            0 never stops.
        exclude_empty: Leave slices without lesion out of training (never out of evaluation).
        balance_empty: Else, draw in each epoch only as many of them as there are slices with lesion.
        augment: See `Augmentation`; False turns all of it off.
        rotation_deg … alone: See `Augmentation`.
        test_fraction, validation_fraction: Shares of the patients; with a test_fraction of 0 nobody is held
            out, and only a cross-validation can tell what the recipe is worth.
        folds, fold: k-fold cross-validation instead of a hold-out; 0 folds is the hold-out.
        split_seed: Of the split, apart from `seed`: trainings that differ in that one share their patients.
        threshold: Probability from which a pixel is lesion.
        precision: Keras dtype policy; `auto` is picked by the hardware.
        devices: GPUs that share every batch; see `data_parallel`.
        seed: Of initial weights, order and augmentation.
        start_from: Folder of a finished training of the same network, whose weights are the initial ones;
            where it has more filters, the strongest channels are taken, with the encoder `plain`. None starts
            from random weights, another encoder from its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelName
    data_dir: str
    image_size: int = Field(128, ge=16, le=1024)
    clip_limit: float = 2.0
    tile_grid: int = 8
    intensity: Intensity = "slice"
    crop: bool = False
    neighbours: int = 0
    encoder: EncoderName = "plain"
    filters: tuple[int, ...] = Field((16, 32, 64, 128), min_length=2, max_length=7)
    deep_supervision: bool = False
    loss: LossName = "bce_dice"
    epochs: int = Field(12, ge=1)
    coarse_epochs: int = Field(0, ge=0)
    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(2e-3, gt=0, allow_inf_nan=False)
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    ema_momentum: float = Field(0.0, ge=0, lt=1)
    patience: int = Field(0, ge=0)
    exclude_empty: bool = True
    balance_empty: bool = True
    augment: bool = True
    rotation_deg: float = 15.0
    shift: float = 0.05
    zoom: float = 0.1
    flip: bool = True
    gamma: float = 0.3
    brightness: float = 0.05
    noise: float = 0.0
    elastic: float = 0.0
    missing: float = 0.0
    paste: float = 0.0
    alone: float = 0.0
    test_fraction: float = Field(0.2, ge=0, lt=1)
    validation_fraction: float = Field(0.15, gt=0, lt=1)
    folds: int = Field(0, ge=0)
    fold: int = Field(0, ge=0)
    split_seed: int = Field(0, ge=0, lt=2**32)
    threshold: float = Field(0.5, gt=0, lt=1)
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    devices: int = Field(1, ge=1)
    seed: int = Field(0, ge=0, lt=2**32)
    start_from: str | None = None

    @field_validator("filters")
    @classmethod
    def _positive(cls, filters: tuple[int, ...]) -> tuple[int, ...]:
        if min(filters) < 1:
            raise ValueError("every level needs at least one filter")
        return filters

    def model_post_init(self, _context) -> None:
        if self.encoder != "plain" and len(self.filters) > 5:
            raise ValueError(
                f"encoder={self.encoder!r} has 5 levels, not {len(self.filters)}; give fewer filters"
            )
        multiple = 2**self.poolings
        if self.image_size % multiple:
            raise ValueError(
                f"image_size={self.image_size} is not divisible by {multiple}, which these filters need"
            )
        if self.coarse_epochs and self.image_size % (2 * multiple):
            raise ValueError(
                f"half of image_size={self.image_size} is not divisible by {multiple}, which these filters "
                "need; set coarse_epochs to 0, or choose another size"
            )
        if self.coarse_epochs >= self.epochs:
            raise ValueError(
                f"coarse_epochs={self.coarse_epochs} leaves none of epochs={self.epochs} to the whole size"
            )
        if self.deep_supervision and self.model != "nested_unet":
            raise ValueError(f"deep_supervision needs model='nested_unet', not {self.model!r}")
        if self.batch_size % self.devices:
            raise ValueError(f"batch_size={self.batch_size} cannot be shared by devices={self.devices}")
        if self.folds == 1:
            raise ValueError("folds=1 tests on all patients; choose 0 for a hold-out, or 2 or more")
        if self.folds == 0 and self.test_fraction + self.validation_fraction >= 1:
            raise ValueError(
                f"test_fraction={self.test_fraction} and validation_fraction={self.validation_fraction} "
                "leave nothing to train on; lower one of them"
            )
        if self.fold and self.fold >= self.folds:
            raise ValueError(f"fold={self.fold} but folds={self.folds}; folds are numbered from 0")

    @property
    def poolings(self) -> int:
        """How often the network halves the side; the number of heads of deep supervision, too."""
        return len(self.filters) - (self.encoder == "plain")

    @property
    def preprocessing(self) -> Preprocessing:
        """What `preprocess` needs."""
        return Preprocessing(**{name: getattr(self, name) for name in Preprocessing.model_fields})

    @property
    def augmentation(self) -> Augmentation | None:
        """What `EpochBatches` needs, or None."""
        values = {name: getattr(self, name) for name in Augmentation.model_fields}
        return Augmentation(**values) if self.augment else None

    @property
    def model_options(self) -> dict:
        """What the builder of this model needs."""
        nested = {"deep_supervision": self.deep_supervision} if self.model == "nested_unet" else {}
        network = {"filters": self.filters, "channels": self.preprocessing.channels, "encoder": self.encoder}
        return {**network, **nested}


def with_defaults(config: Mapping[str, object]) -> dict[str, object]:
    """Returns a recorded configuration with what it did not know yet: that was the default."""
    known = TrainConfig(model="unet", data_dir="").model_dump(mode="json")  # they are the same for all
    # There was one seed for both once.
    return {**known, "split_seed": config.get("seed", known["split_seed"]), **config}


def notebook_config(names: Mapping[str, object]) -> TrainConfig:
    """Returns the configuration among a notebook's names: `notebook_config(globals())`.

    What papermill makes of a typed value is made good: a list that it passes as text, and a folder's name
    of digits that it passes as a number.

    Raises:
        MetsegError: A value does not fit, a parameter is missing, or a name is so near to one that it was
            meant; it would silently have kept its default.
    """
    _complain_of_misspelt(names)
    expected = set(TrainConfig.model_fields)
    if names.get("model") != "nested_unet":
        expected.discard("deep_supervision")
    if missing := sorted(expected - names.keys()):
        raise MetsegError(f"parameter {missing[0]!r} is missing; put it back into the parameters cell")
    values = {name: _as_typed(name, names[name]) for name in TrainConfig.model_fields if name in names}
    if isinstance(values["data_dir"], str):
        values["data_dir"] = located(values["data_dir"]).as_posix()
    return train_config(**values)


def _complain_of_misspelt(names: Mapping[str, object]) -> None:
    known = [*TrainConfig.model_fields, "run_name", "output_dir", "cache_dir", "restart"]
    for name, value in names.items():
        if name in known or name.startswith("_") or not isinstance(value, _PLAIN):
            continue
        if near := difflib.get_close_matches(name, known, n=1, cutoff=0.8):
            raise MetsegError(
                f"{name!r} is no parameter (did you mean {near[0]}?); rename it, and restart the kernel"
            )


def _as_typed(name: str, value: object) -> object:
    if isinstance(value, str) and isinstance(TrainConfig.model_fields[name].default, int | float | tuple):
        with suppress(ValueError, SyntaxError):
            return ast.literal_eval(value)
    if name in ("data_dir", "start_from") and type(value) is int:
        return str(value)
    return value


def config_among(values: Mapping[str, object]) -> TrainConfig:
    """Returns the configuration among the values of a notebook's parameters."""
    return train_config(**{name: values[name] for name in TrainConfig.model_fields if name in values})


def train_config(**values) -> TrainConfig:
    """Returns a validated `TrainConfig`.

    Raises:
        MetsegError: In one sentence, the first parameter that is wrong and what it may be.
    """
    try:
        config = TrainConfig(**values)
        _ = config.preprocessing, config.augmentation  # their ranges are theirs to know
        return config
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            raise MetsegError(
                f"unknown parameter {first['loc'][0]!r}; valid are {', '.join(TrainConfig.model_fields)}"
            ) from None
        if first["type"] == "missing":
            raise MetsegError(f"parameter {first['loc'][0]!r} is missing; give it a value") from None
        where = f"{'.'.join(map(str, first['loc']))}={first['input']!r}: " if first["loc"] else ""
        raise MetsegError(where + first["msg"].removeprefix("Value error, ")) from None
