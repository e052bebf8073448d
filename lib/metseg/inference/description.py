"""An exported model: put in place so that a folder serves at every instant, and read again.

What `model.json` says is served: it is replaced in one step, and knows its networks by their hashes. Until
then the new ones lie beside the former under names of their own; where a kill leaves them, they are found.
"""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
from pydantic import BaseModel, ConfigDict, Field, field_validator

from metseg.base.errors import MetsegError, MetsegWarning, OutOfMemory, interrupted
from metseg.base.files import file_sha256, read_json, replacing, shown, sync_folder, taking_apart, write_json
from metseg.data.volume import NEVER_MISSING
from metseg.inference.engines import Engine, Precision, native, open_engine
from metseg.inference.incomplete import IncompleteDice, missing_key
from metseg.inference.operating_points import LesionCalibration, MaskSettings, OperatingPoints
from metseg.inference.probe import is_as_before
from metseg.inference.trust import Trust
from metseg.masks.postprocess import Postprocessing
from metseg.preprocessing.pipeline import Preprocessing

ONNX_FILES: dict[Precision, str] = {"fp32": "model.onnx", "bf16": "model.onnx", "int8": "model.int8.onnx"}
_ATTEMPTS = 3  # at reading a folder while somebody puts another model there


class _Data(BaseModel):
    name: str
    licence: str
    caution: str
    lesion: str = ""  # which labels it is, see `lesion_told`; nothing where references have one


class _Input(BaseModel):
    channels: list[str] = Field(min_length=1)


class Description(BaseModel):
    """What metseg itself needs of `model.json`."""

    model_config = ConfigDict(strict=True)

    name: str = Field(pattern=r"^\w[\w .+-]*$")  # a folder's as well, which leads nowhere else
    kind: str = ""  # of a released one: what it knows, which its name begins with; an older one's data tells
    data: _Data
    input: _Input
    preprocessing: Preprocessing
    postprocessing: Postprocessing
    tta_flip: bool
    min_volume_share: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    precision: Precision = "fp32"
    sha256: str
    parameters: int
    validation_dice: float | None = None
    validation_dice_single_slices: float | None = None
    probe: list[float] | None = None  # of the preprocessing that it was exported with
    opencv: str | None = None
    target: str = ""  # what a reference's lesion is, as `list_cases` takes it
    targets: list[str] = []  # the regions of the network's channels, the main one first, where it has several
    never_missing: Literal["flair", "t1c"] = NEVER_MISSING  # the sequence that it never learned without
    incomplete_dice: IncompleteDice | None = None  # where it learned to do without others
    trust: Trust | None = None  # of what it learned from; an older one does not tell
    operating_points: OperatingPoints | None = None  # of validation volumes whose voxels' size is known
    lesion_calibration: LesionCalibration | None = None  # likewise
    without_sequences: dict[str, MaskSettings] = {}  # likewise, by `missing_key`
    patch_size: tuple[int, int, int] | None = None  # (z, y, x) of a network of volumes; None of one of slices

    @field_validator("without_sequences")
    @classmethod
    def _knows_what_is_missing(cls, settings: dict[str, MaskSettings]) -> dict[str, MaskSettings]:
        if wrong := [key for key in settings if not key or key != missing_key(key.split("+"))]:
            raise ValueError(f"without_sequences has {wrong[0]!r}")
        return settings


class ExportedModel(NamedTuple):
    """What a folder of an exported model serves here."""

    known: Description
    description: dict  # the whole of `model.json`
    onnx: Path
    sha256: str  # of that file
    engine: Engine


def read_description(path: Path) -> tuple[Description, dict]:
    """Returns what a `model.json` says, as checked and as it is, or raises a `MetsegError`."""
    if not path.is_file():
        raise MetsegError(f"{shown(path)} is missing; train the model again or name another one")
    with taking_apart(path, "export the model again"):
        text = path.read_text(encoding="utf-8")
        known, description = Description.model_validate_json(text), json.loads(text)
        served_sha256(description)
        return known, description


def served_sha256(description: dict) -> str:
    """Returns the hash of the file that a `model.json` serves where its precision is native."""
    return (description["quantised"] if description.get("precision") == "int8" else description)["sha256"]


def postprocessing_without(description: dict) -> dict[str, dict]:
    """Returns how a `model.json` makes masks of scans that lack sequences, by `missing_key`."""
    return {key: each["postprocessing"] for key, each in description.get("without_sequences", {}).items()}


def open_exported(model_dir: Path) -> ExportedModel:
    """Loads the file that runs here, after its hash was found to be the one in `model.json`.

    Raises:
        MetsegError: A file is missing or damaged, is not the one that was exported, or keeps weights in other
            files.
        OutOfMemory: There is too little memory for it.
    """
    path = Path(model_dir) / "model.json"
    for _ in range(_ATTEMPTS):
        known, description = read_description(path)
        precision = native(known.precision)
        sha256 = served_sha256({**description, "precision": precision})
        onnx = path.with_name(ONNX_FILES[precision])
        if found := _found(onnx, sha256):
            break
    else:
        raise MetsegError(f"{onnx} is not the file that {path.name} describes; export the model again")
    onnx, content = found
    if _is_scattered(content):
        raise MetsegError(f"{onnx} keeps weights in other files; export the model again, into one file")
    try:
        engine = open_engine(content, precision, of_volumes=known.patch_size is not None)
    except Exception as error:  # each library has kinds of its own
        if interrupted(error):
            raise KeyboardInterrupt from error
        if isinstance(error, MemoryError) or "bad_alloc" in str(error):
            text = f"there is too little memory to load {onnx}; end other programs or allow it more"
            raise OutOfMemory(text) from error
        reason = " ".join(repr(error).split())  # OpenVINO's takes several lines
        raise MetsegError(f"{onnx} is no model ({reason:.200}); export it again") from error
    taken = " × ".join(map(str, engine.input_shape))
    sides = known.patch_size or (known.preprocessing.image_size,) * 2
    if engine.input_shape != (*sides, known.preprocessing.channels):
        raise MetsegError(f"{path} tells another input than {onnx.name}'s, {taken}; export the model again")
    if known.probe is not None and not is_as_before(known.probe, known.preprocessing):
        text = (
            f"preprocessing gives {known.name} another input now than when it was exported (by OpenCV "
            f"{known.opencv}, here {cv2.__version__}): its scores may not hold; export and score it again"
        )
        warnings.warn(text, MetsegWarning, stacklevel=3)
    return ExportedModel(known, description, onnx, sha256, engine)


def _found(onnx: Path, sha256: str) -> tuple[Path, bytes] | None:
    """Returns a network's path and content, whichever of two names it has; None if neither has this hash."""
    places = [each for each in (onnx, _spare(onnx)) if each.is_file()]
    if not places:
        raise MetsegError(f"{onnx} is missing; train the model again or name another one")
    for each in places:
        with suppress(FileNotFoundError):  # it was given its other name just now
            content = each.read_bytes()
            if hashlib.sha256(content).hexdigest() == sha256:
                return each, content
    return None


def _is_scattered(content: bytes) -> bool:
    """Whether weights lie in files of their own, which have no hash and may be anywhere."""
    if b"location" not in content:  # the key of such a path; a protobuf keeps text as it is
        return False
    from onnx import load_model_from_string  # here, for hardly a model has that word in it
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    try:
        return any(map(uses_external_data, _get_all_tensors(load_model_from_string(content))))
    except Exception:  # no network; who opens it says so
        return False


def install(networks: Mapping[str, Path], description: dict, folder: Path) -> None:
    """Puts a model into a folder, in the place of a former one, whose scores count no longer.

    Killed at any step, the folder serves the former model or this one, and the next call clears up. The
    caller sees to it that nobody else writes there.

    Args:
        networks: {one of the names of `ONNX_FILES`: the file to copy}; `model.onnx` is among them.
        description: The new `model.json`, which has their hashes.
        folder: Where to.

    Raises:
        MetsegError: The disk is full, or the folder cannot be written to; the former model stays.
    """
    folder = Path(folder)
    _settle(folder)
    for name, source in networks.items():
        with replacing(_spare(folder / name)) as partial:
            shutil.copyfile(source, partial)
    (folder / "evaluation" / "evaluation.json").unlink(missing_ok=True)  # of the former one: score it anew
    write_json(folder / "model.json", description)  # from now on it is this one
    _settle(folder)
    for name in set(ONNX_FILES.values()) - set(networks):
        (folder / name).unlink(missing_ok=True)  # the former one's


def _settle(folder: Path) -> None:
    """Gives new networks their usual names where `model.json` describes them; removes them where not."""
    spares = {spare: name for name in set(ONNX_FILES.values()) if (spare := _spare(folder / name)).is_file()}
    if not spares:
        return
    try:
        description = read_json(folder / "model.json")
    except MetsegError:
        description = {}
    described = {description.get("sha256"), (description.get("quantised") or {}).get("sha256")}
    for spare, name in spares.items():
        if file_sha256(spare) in described:
            os.replace(spare, folder / name)
        spare.unlink(missing_ok=True)
    sync_folder(folder)


def _spare(onnx: Path) -> Path:
    return onnx.with_name(f".next.{onnx.name}")
