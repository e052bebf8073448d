"""The folder of one network of a run: where all of its training, export and scores lies."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from metseg.base.errors import MetsegError
from metseg.base.files import file_sha256, read_json, read_sealed, shown, taking_apart
from metseg.data.split import Split, read_split
from metseg.data.volume import NEVER_MISSING
from metseg.inference.description import postprocessing_without, served_sha256
from metseg.training.config import TrainConfig, train_config, with_defaults

if TYPE_CHECKING:
    import pandas as pd

    from metseg.base.backend import keras

CHECKPOINT_STATE = "state.json"  # of each epoch that a checkpoint keeps


class DamagedEpoch(Exception):
    """Names the file of an epoch of a checkpoint that is missing or not what was saved."""


class RunFolder(os.PathLike):
    """Knows every file of a network's folder, and what its presence says."""

    def __init__(self, path: "str | os.PathLike"):
        self.path = path = Path(path)
        self.config = path / "config.json"  # the training's parameters, flat; written when it begins
        self.split = path / "split.json"  # who learns, who chooses, who is held out
        self.history = path / "history.csv"  # a row an epoch
        self.extended = path / "extended.json"  # each time the training was told to go on for longer
        self.progress = path / "progress.json"  # where it stands, for whoever watches
        self.checkpoint = path / "checkpoint"  # folder of the last epochs
        self.network = path / "model.keras"  # the trained network, in float32
        self.manifest = path / "manifest.json"  # what it came from; there once the training is finished
        self.description = path / "model.json"  # there once the network is exported
        self.evaluation = path / "evaluation"
        self.scored = self.evaluation / "evaluation.json"  # there once the tables beside it are whole
        self.per_patient = self.evaluation / "per_patient.csv"
        self.per_slice = self.evaluation / "per_slice.csv"
        self.lesions = self.evaluation / "lesions.csv"  # there if scans are volumes of voxels of known size
        self.examples = self.evaluation / "examples.npz"  # a slice of each patient
        self.aside = path / ".before"  # where a former training lies while it is set aside

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return shown(self.path)

    @property
    def is_training(self) -> bool:
        """Whether a training was begun here, finished or not."""
        return any(path.is_file() for path in (self.config, self.history, self.manifest))

    @property
    def has_epochs(self) -> bool:
        """Whether it has learned anything; one that is being set aside is a training no more."""
        return self.history.exists() and not self.aside.is_dir()

    is_finished = property(lambda self: self.manifest.is_file())
    is_exported = property(lambda self: self.description.is_file())
    is_scored = property(lambda self: self.scored.is_file())

    @property
    def scored_as_served(self) -> bool:
        """Whether the scores are of the file and the settings that serve."""
        if not (self.is_exported and self.is_scored):
            return False
        description, scored = read_json(self.description), read_json(self.scored)
        known = {"postprocessing": None, "tta_flip": None, "min_volume_share": 0, "precision": "fp32"}
        same = all(scored.get(name, old) == description.get(name, old) for name, old in known.items())
        same &= scored.get("without_sequences", {}) == postprocessing_without(description)
        return same and scored.get("sha256") == served_sha256(description)

    @property
    def has_heads(self) -> bool:
        """Whether this is a finished training with deep supervision."""
        return self.is_finished and bool(read_json(self.manifest)["config"].get("deep_supervision"))

    @property
    def target(self) -> str:
        """What is a lesion in references with several labels, as `TrainConfig` has it."""
        record = self.description if self.is_exported else self.config
        return str(read_json(record).get("target", ""))

    @property
    def allow_missing(self) -> bool:
        """Whether scans that lack a sequence were trained on; of a released network nothing tells."""
        return self.config.is_file() and bool(read_json(self.config).get("allow_missing", False))

    @property
    def never_missing(self) -> str:
        """The sequence without which a network was never trained."""
        record = self.description if self.is_exported else self.config
        return str((read_json(record) if record.is_file() else {}).get("never_missing", NEVER_MISSING))

    @property
    def predicts_nothing(self) -> bool:
        """Whether a network marks nothing on its validation patients with a lesion."""
        record = read_json(self.manifest) if self.is_finished else {}
        return bool(record.get("predicts_nothing", record.get("validation_dice") == 0))

    def read_split(self) -> Split:
        return read_split(self.split)

    def recorded_config(self) -> dict[str, object]:
        """Returns the flat parameters that the training began with, by today's names."""
        return with_defaults(read_json(self.config))

    def trained_config(self) -> TrainConfig:
        """Returns a finished training's parameters; raises a `MetsegError` where one is unknown here."""
        manifest = read_json(self.manifest)
        with taking_apart(self.manifest):
            values = with_defaults(manifest["config"])
        try:
            return train_config(**values)
        except MetsegError as error:
            raise MetsegError(
                f"{self} was trained by another metseg ({error}); "
                f"use revision {manifest.get('git_revision')}, or train again"
            ) from error

    def seen_patients(self) -> set[str]:
        """Returns whom the network has learned from or was chosen on, or whom `train_patients` left out: a
        learning curve scores nobody but the patients held out."""
        split = self.read_split()
        return {*split.patients} - {*split.test}

    def seen_slices(self) -> dict[str, str]:
        """Returns {patient: hashes of the slices} of `seen_patients`; an older training knows none."""
        seen, hashes = self.seen_patients(), read_json(self.manifest).get("slice_hashes", {})
        with taking_apart(self.manifest):
            return {name: hashes[name] for name in sorted(hashes) if name in seen}

    def load_network(self) -> "keras.Model":
        """Loads the trained network; raises a `MetsegError` if it is not the one that was saved."""
        from metseg.base.backend import keras

        known = read_json(self.manifest).get("network_sha256") if self.is_finished else None
        if known is not None and self.network.is_file() and file_sha256(self.network) != known:
            raise MetsegError(
                f"{self.network} is damaged, or was replaced: it is not the network that "
                f"{self.manifest.name} describes; train it again or put a copy of it back"
            )
        try:
            # Safe mode: a .keras file may carry code, and none of it is run.
            return keras.saving.load_model(self.network, compile=False, safe_mode=True)
        except Exception as error:  # Keras and the readers of ZIP, JSON and HDF5 have kinds of their own
            raise MetsegError(
                f"{self.network} is missing, is damaged, or carries code, which is never run; "
                "train the network again"
            ) from error

    def epochs_done(self) -> list[dict]:
        """Returns the history up to the last epoch that is kept whole; nothing where that is damaged."""
        kept = epochs_kept(self.checkpoint)
        try:
            return epoch_state(kept[max(kept)])["history"] if kept else []
        except DamagedEpoch:
            return []

    def validation_dice_of_epochs(self) -> list[float]:
        """Returns the validation Dice of each epoch so far."""
        return self._of_epochs("val_dice")

    def seconds_of_epochs(self) -> list[float]:
        """Returns how long each epoch so far took."""
        return self._of_epochs("seconds")

    def _of_epochs(self, column: str) -> list[float]:
        import pandas as pd  # here and below: `metseg predict` only finds a model, and starts sooner without

        if not self.history.exists():
            return []
        try:
            return pd.read_csv(self.history)[column].astype(float).tolist()
        except (OSError, ValueError, KeyError) as error:
            raise MetsegError(f"{shown(self.history)} cannot be read; begin the training again") from error

    def read_tables(self) -> "tuple[pd.DataFrame, pd.DataFrame]":
        """Returns the `per_patient` and `per_slice` tables as `metseg.metrics.compare` takes them."""
        import pandas as pd

        # A patient may be called NA; what is undefined is written as nothing.
        names = {"patient_id": str, "case_id": str, "ref_sha256": str}
        options = {"dtype": names, "keep_default_na": False, "na_values": [""]}
        try:
            tables = tuple(pd.read_csv(path, **options) for path in (self.per_patient, self.per_slice))
            scored = read_json(self.scored) if self.is_scored else {}
            rows = {"cases": len(tables[0]), "slices": len(tables[1])}
            whole = [scored.get(name, found) == found for name, found in rows.items()]
            whole += [table[["patient_id", "case_id"]].notna().all(axis=None) for table in tables]
        except (OSError, KeyError, ValueError):
            whole = [False]
        if not all(whole):
            raise MetsegError(f"the tables in {self.evaluation} are missing or damaged; evaluate again")
        return tables


def epochs_kept(checkpoint: Path) -> dict[int, Path]:
    """Returns {epochs that were finished then: folder} of what a checkpoint keeps."""
    paths = [path for path in checkpoint.glob("epoch-*") if path.name[6:].isdigit()]
    return {int(path.name[6:]): path for path in paths}


def epoch_state(home: Path) -> dict:
    """Returns the `state.json` of an epoch that a checkpoint keeps, whose files are all as they were saved.

    Raises:
        DamagedEpoch: One is not.
    """
    try:
        state = read_sealed(home / CHECKPOINT_STATE)
    except MetsegError as error:
        raise DamagedEpoch(CHECKPOINT_STATE) from error
    for name, sha256 in state["sha256"].items():
        if not (home / name).is_file() or file_sha256(home / name) != sha256:
            raise DamagedEpoch(name)
    return state
