"""An exported model, read again: what its `model.json` says, and the file of it that runs here."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metseg.engines import Engine, Precision, native, open_engine
from metseg.errors import MetsegError
from metseg.postprocess import Postprocessing
from metseg.preprocess import Preprocessing

ONNX_FILES: dict[Precision, str] = {"fp32": "model.onnx", "bf16": "model.onnx", "int8": "model.int8.onnx"}


class _Quoted(BaseModel):
    """What every answer says of the data that a network learned from."""

    name: str
    caution: str


class Description(BaseModel):
    """What it takes of `model.json` to predict; an older one does not know the last two."""

    model_config = ConfigDict(strict=True)

    name: str
    data: _Quoted
    preprocessing: Preprocessing
    postprocessing: Postprocessing
    flip_average: bool
    min_volume_share: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    precision: Precision = "fp32"


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
        MetsegError: A file is missing or damaged, or is not the one that was exported.
    """
    path = Path(model_dir) / "model.json"
    for each in (Path(model_dir) / "model.onnx", path):
        _complain_if_missing(each)
    try:
        text = path.read_text(encoding="utf-8")
        known, description = Description.model_validate_json(text), json.loads(text)
        precision = native(known.precision)
        sha256 = served_sha256({**description, "precision": precision})
    except (ValueError, KeyError, TypeError) as error:
        raise MetsegError(f"{path} is damaged ({_reason(error)}); export the model again") from error
    onnx = Path(model_dir) / ONNX_FILES[precision]
    _complain_if_missing(onnx)
    content = onnx.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise MetsegError(f"{onnx} is not the file that {path.name} describes; export the model again")
    try:
        engine = open_engine(content, precision)
    except Exception as error:  # each library has kinds of its own
        raise MetsegError(f"{onnx} is no model; export it again") from error
    size = known.preprocessing.image_size
    said, taken = (size, size, known.preprocessing.channels), engine.input_shape
    if said != taken:
        raise MetsegError(
            f"{path} speaks of {_sides(said)} as network input, {onnx.name} takes {_sides(taken)}; "
            "export the model again"
        )
    return ExportedModel(known, description, onnx, sha256, engine)


def served_sha256(description: dict) -> str:
    """Returns the hash of the file that a `model.json` serves where its precision is native.

    Raises:
        KeyError: It does not say.
        TypeError: What it says is of another kind.
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


def _sides(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
