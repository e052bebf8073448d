"""One validated object carries a training's parameters from the notebook to the manifest.

Notebooks, command lines and files name parameters flat; the configuration keeps each in the group of those
who need it. What each does, and its unit, is told in outputs/reference/parameters.md.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from metseg.base.errors import MetsegError
from metseg.preprocessing.pipeline import Preprocessing
from metseg.training import patch_rules
from metseg.training.augment import Augmentation

ModelName = Literal["nested_unet", "attention_unet", "unet"]
EncoderName = Literal["plain", "efficientnet_lite0"]
LossName = Literal["bce", "focal", "dice", "bce_dice", "focal_tversky", "bce_lesion_dice"]
# What recorded configurations call a parameter that has another name today.
_FORMER = {
    "coarse_epochs": "progressive_resizing",
    "missing": "modality_dropout",
    "paste": "copy_paste",
    "alone": "neighbour_dropout",
}


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Network(_Group):
    """Which network; with a pretrained encoder `filters` are the decoder's, below which it has one more."""

    model: ModelName
    encoder: EncoderName = "plain"
    filters: tuple[PositiveInt, ...] = Field((16, 32, 64, 128), min_length=2, max_length=7)
    deep_supervision: bool = False
    rank: Literal[2, 3] = 2
    patch_size: tuple[PositiveInt, ...] = Field((32, 96, 96), min_length=3, max_length=3)  # z, y, x
    flat_poolings: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _buildable(self) -> "Network":
        if self.encoder != "plain" and len(self.filters) > 5:
            raise ValueError(
                f"encoder={self.encoder!r} has 5 levels, not {len(self.filters)}; give fewer filters"
            )
        if self.model == "attention_unet" and self.encoder == "plain" and len(self.filters) < 3:
            raise ValueError(f"filters={self.filters} leave nothing to gate; give at least three levels")
        if self.deep_supervision and self.model != "nested_unet":
            raise ValueError(f"deep_supervision needs model='nested_unet', not {self.model!r}")
        if self.rank == 3:
            patch_rules.complain_of_patch(self)
        return self

    @property
    def poolings(self) -> int:
        """How often the network halves the side; the number of heads of deep supervision, too."""
        return len(self.filters) - (self.encoder == "plain")


class Learning(_Group):
    """How a network learns: with Adam, `epochs` passes over the training slices at most."""

    loss: LossName = "bce_dice"
    epochs: int = Field(12, ge=1)
    progressive_resizing: int = Field(0, ge=0)
    training_patch: int = Field(0, ge=0)
    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(2e-3, gt=0, allow_inf_nan=False)
    epoch_patches: int = Field(256, ge=2)
    inserted_scans: int = Field(0, ge=0)
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    ema_momentum: float = Field(0.0, ge=0, lt=1)
    patience: int = Field(0, ge=0)
    exclude_empty: bool = True
    balance_empty: bool = True
    threshold: float = Field(0.5, gt=0, lt=1)
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    devices: int = Field(1, ge=1)
    seed: int = Field(0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _feasible(self) -> "Learning":
        if self.progressive_resizing >= self.epochs:
            raise ValueError(
                f"progressive_resizing={self.progressive_resizing} leaves none of epochs={self.epochs} to "
                "the whole size"
            )
        if self.batch_size % self.devices:
            raise ValueError(f"batch_size={self.batch_size} cannot be shared by devices={self.devices}")
        return self


class Division(_Group):
    """Which patients learn, which choose the epoch, and which are held out.

    `split_seed` is apart from `seed`: trainings that differ in that one share their patients.
    """

    test_fraction: float = Field(0.2, ge=0, lt=1)
    validation_fraction: float = Field(0.15, gt=0, lt=1)
    train_patients: int = Field(0, ge=0)
    folds: int = Field(0, ge=0)
    fold: int = Field(0, ge=0)
    split_seed: int = Field(0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _leaves_somebody(self) -> "Division":
        if self.folds == 1:
            raise ValueError("folds=1 tests on all patients; choose 0 for a hold-out, or 2 or more")
        if self.folds == 0 and self.test_fraction + self.validation_fraction >= 1:
            raise ValueError(
                f"test_fraction={self.test_fraction} and validation_fraction={self.validation_fraction} "
                "leave nothing to train on; lower one of them"
            )
        if self.fold and self.fold >= self.folds:
            raise ValueError(f"fold={self.fold} but folds={self.folds}; folds are numbered from 0")
        return self


class TrainConfig(_Group):
    """Everything that decides a training's result; the defaults are the quick run on the phantom."""

    data_dir: str  # folder of scans
    # What is a lesion where references have several labels: a region, several (TC+ET+WT), or labels (1,3).
    target: str = ""
    allow_missing: bool = False  # keep volumes that lack a sequence, another in its place, or not
    network: Network
    preprocessing: Preprocessing = Preprocessing()
    learning: Learning = Learning()
    augmentation: Augmentation = Augmentation()
    division: Division = Division()

    @field_validator("target", mode="before")
    @classmethod
    def _one_label(cls, target: object) -> object:
        return str(target) if type(target) is int else target  # as YAML and papermill read it

    @model_validator(mode="after")
    def _size_fits(self) -> "TrainConfig":
        if self.learning.inserted_scans:
            patch_rules.complain_of_insertions(self)
        if self.network.rank == 3:
            patch_rules.complain_of_slices(self)
            return self
        size, multiple = self.preprocessing.image_size, 2**self.network.poolings
        if size % multiple:
            raise ValueError(f"image_size={size} is not divisible by {multiple}, which these filters need")
        if self.learning.progressive_resizing and size % (2 * multiple):
            raise ValueError(
                f"half of image_size={size} is not divisible by {multiple}, which these filters need; set "
                "progressive_resizing to 0, or choose another size"
            )
        patch_rules.complain_of_training_patch(self, multiple)
        return self

    @property
    def regions(self) -> tuple[str, ...]:
        """The target's regions by name, the main one first."""
        return tuple(self.target.replace(" ", "").split("+"))

    @property
    def reading(self) -> dict:
        """What `find_cases` needs beside the folder."""
        missing = {"allow_missing": self.allow_missing, "never_missing": (self.augmentation.never_missing,)}
        return {"target": self.target, **missing}

    @property
    def build_options(self) -> dict:
        """What `build_model` needs."""
        but = {"model", "patch_size"} | ({"rank", "flat_poolings"} if self.network.rank == 2 else set())
        if self.network.model != "nested_unet":
            but.add("deep_supervision")
        sizes = {"channels": self.preprocessing.channels, "targets": len(self.regions)}
        return {**self.network.model_dump(exclude=but), **sizes}

    def flat(self) -> dict[str, Any]:
        """Returns {parameter: value} as JSON has it, in the order of `PARAMETERS`."""
        values = self.model_dump(mode="json")
        return {name: values[group][name] if group else values[name] for name, group in PARAMETERS.items()}

    def changed(self, **values: object) -> "TrainConfig":
        """Returns another configuration with some parameters changed; errors as in `train_config`."""
        return train_config(**{**self.flat(), **values})


_GROUPS = {
    name: each.annotation
    for name, each in TrainConfig.model_fields.items()
    if issubclass(each.annotation, BaseModel)
}
# Every parameter and the group it stands in; "" for none.
PARAMETERS: dict[str, str] = {
    "model": "network",
    "data_dir": "",
    "target": "",
    "allow_missing": "",
    **{name: group for group, fields in _GROUPS.items() for name in fields.model_fields},
}


def train_config(**values: object) -> TrainConfig:
    """Returns the configuration of flat parameters.

    Raises:
        MetsegError: In one sentence, the first parameter that is wrong and what it may be.
    """
    grouped: dict[str, Any] = {group: {} for group in _GROUPS}
    for name, value in values.items():
        if name not in PARAMETERS:
            raise MetsegError(f"unknown parameter {name!r}; valid are {', '.join(PARAMETERS)}")
        (grouped[PARAMETERS[name]] if PARAMETERS[name] else grouped)[name] = value
    try:
        return TrainConfig(**grouped)
    except ValidationError as error:
        first = error.errors()[0]
        name = first["loc"][1] if len(first["loc"]) > 1 else (first["loc"] or ("",))[0]
        if first["type"] == "missing":
            raise MetsegError(f"parameter {name!r} is missing; give it a value") from None
        where = f"{name}={values[name]!r}: " if name in values else ""
        raise MetsegError(where + first["msg"].removeprefix("Value error, ")) from None


def with_defaults(recorded: Mapping[str, object]) -> dict[str, object]:
    """Returns a recorded configuration by today's names; what it did not know yet was the default."""
    known = train_config(model="unet", data_dir="").flat()  # they are the same for all
    values = {_FORMER.get(name, name): value for name, value in recorded.items()}
    if values.get("start_from", "") is None:  # a training could once begin with another's weights
        del values["start_from"]
    # There was one seed for both once.
    return {**known, "split_seed": values.get("seed", known["split_seed"]), **values}


def config_among(values: Mapping[str, object]) -> TrainConfig:
    """Returns the configuration among the values of a notebook's parameters."""
    return train_config(**{name: values[name] for name in PARAMETERS if name in values})
