"""An exported model: put in place so that a folder serves at every instant, and read again.

What `model.json` says is served: it is replaced in one step, and knows its networks by their hashes. Until
then the new ones lie beside the former under names of their own; where a kill leaves them, they are found.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from metseg.base.errors import MetsegError, MetsegWarning
from metseg.base.files import file_sha256, read_json, replacing, sync_folder, write_json
from metseg.inference.engines import Engine, Precision, native, open_engine
from metseg.inference.probe import is_as_before
from metseg.masks.postprocess import Postprocessing
from metseg.preprocessing.pipeline import Preprocessing

ONNX_FILES: dict[Precision, str] = {"fp32": "model.onnx", "bf16": "model.onnx", "int8": "model.int8.onnx"}
_FORMER = {"flip_average": "tta_flip"}
_ATTEMPTS = 3  # at reading a folder while somebody puts another model there


def checked_name(name: str) -> str:
    """Returns a model's name, which is a folder's as well; raises a `ValueError` where it leads elsewhere."""
    if not re.fullmatch(r"\w[\w .+-]*", name):
        raise ValueError("a name has letters, digits, '_', '-' and '.' alone")
    return name


def by_todays_names(record: dict) -> dict:
    """Returns a `model.json` or `evaluation.json` of any age by the names of today."""
    return {_FORMER.get(name, name): value for name, value in record.items()}


class _Quoted(BaseModel):
    """What every answer says of the data that a network learned from."""

    name: str
    caution: str


class Description(BaseModel):
    """What it takes of `model.json` to predict; an older one does not know what has a default."""

    model_config = ConfigDict(strict=True)

    name: Annotated[str, AfterValidator(checked_name)]
    data: _Quoted
    preprocessing: Preprocessing
    postprocessing: Postprocessing
    tta_flip: bool
    min_volume_share: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    precision: Precision = "fp32"
    probe: list[float] | None = None  # of the preprocessing that it was exported with
    opencv: str | None = None


class ExportedModel(NamedTuple):
    """A folder of an exported model.

    Attributes:
        known: What it takes to predict.
        description: The whole of `model.json`.
        onnx: The file that runs here.
        sha256: Its hash.
        engine: The network in it.
    """

    known: Description
    description: dict
    onnx: Path
    sha256: str
    engine: Engine


def open_exported(model_dir: Path) -> ExportedModel:
    """Loads the file that runs here, after its hash was found to be the one in `model.json`.

    Raises:
        MetsegError: A file is missing or damaged, is not the one that was exported, or keeps weights in other
            files.
    """
    path = Path(model_dir) / "model.json"
    for _ in range(_ATTEMPTS):
        known, description, precision, sha256 = _read_description(path)
        onnx = Path(model_dir) / ONNX_FILES[precision]
        if found := _found(onnx, sha256):
            break
    else:
        raise MetsegError(f"{onnx} is not the file that {path.name} describes; export the model again")
    onnx, content = found
    _complain_if_scattered(content, onnx)
    try:
        engine = open_engine(content, precision)
    except Exception as error:  # each library has kinds of its own
        raise MetsegError(f"{onnx} is no model; export it again") from error
    size = known.preprocessing.image_size
    said, taken = (size, size, known.preprocessing.channels), engine.input_shape
    if said != taken:
        sides = [" × ".join(map(str, shape)) for shape in (said, taken)]
        text = f"{path} speaks of {sides[0]} as network input, {onnx.name} takes {sides[1]}"
        raise MetsegError(f"{text}; export the model again")
    if known.probe is not None and not is_as_before(known.probe, known.preprocessing):
        text = (
            f"preprocessing gives {known.name} another input now than when it was exported (by OpenCV "
            f"{known.opencv}, here {cv2.__version__}): its scores may not hold; export and score it again"
        )
        warnings.warn(text, MetsegWarning, stacklevel=3)
    return ExportedModel(known, description, onnx, sha256, engine)


def _read_description(path: Path) -> tuple[Description, dict, Precision, str]:
    """Returns what `model.json` says, as checked and as it is, and what of it runs here, with its hash."""
    onnx = path.with_name(ONNX_FILES["fp32"])
    if not onnx.is_file() and not _spare(onnx).is_file():
        _complain_if_missing(onnx)
    _complain_if_missing(path)
    try:
        text = path.read_text(encoding="utf-8")
        description = by_todays_names(json.loads(text))
        known = Description.model_validate_json(json.dumps(description))
        precision = native(known.precision)
        return known, description, precision, served_sha256({**description, "precision": precision})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MetsegError(f"{path} is damaged ({_reason(error)}); export the model again") from error


def _found(onnx: Path, sha256: str) -> tuple[Path, bytes] | None:
    """Returns a network's path and content, whichever of two names it has; None if neither has this hash."""
    places = [each for each in (onnx, _spare(onnx)) if each.is_file()]
    if not places:
        _complain_if_missing(onnx)
    for each in places:
        with suppress(FileNotFoundError):  # it was given its other name just now
            content = each.read_bytes()
            if hashlib.sha256(content).hexdigest() == sha256:
                return each, content
    return None


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
    records = description, description.get("quantised")
    described = [record.get("sha256") for record in records if isinstance(record, dict)]
    for spare, name in spares.items():
        if file_sha256(spare) in described:
            os.replace(spare, folder / name)
        spare.unlink(missing_ok=True)
    sync_folder(folder)


def _spare(onnx: Path) -> Path:
    return onnx.with_name(f".next.{onnx.name}")


def _complain_if_scattered(content: bytes, onnx: Path) -> None:
    """Weights in a file of their own have no hash, and the path to it may lead anywhere."""
    if b"location" not in content:  # the key of such a path; a protobuf keeps text as it is
        return
    from onnx import TensorProto, load_model_from_string  # here, for hardly a model has that word in it

    def tensors(message):
        if isinstance(message, TensorProto):
            yield message
            return
        for field, value in message.ListFields():
            if field.message_type is not None:
                for each in [value] if hasattr(value, "ListFields") else value:
                    yield from tensors(each)

    try:
        network = load_model_from_string(content)
    except Exception:  # no network; who opens it says so
        return
    if any(each.data_location == TensorProto.EXTERNAL or each.external_data for each in tensors(network)):
        raise MetsegError(f"{onnx} keeps weights in other files; export the model again, into one file")


def served_sha256(description: dict) -> str:
    """Returns the hash of the file that a `model.json` serves where its precision is native.

    Raises:
        KeyError, TypeError: It does not say.
    """
    return (description["quantised"] if description.get("precision") == "int8" else description)["sha256"]


def _complain_if_missing(path: Path) -> None:
    if not path.is_file():
        raise MetsegError(f"{path} is missing; train the model again or name another one")


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        return f"{name}={first['input']!r:.30}: {first['msg']}" if name else first["msg"]
    return " ".join(repr(error).split())[:80]
