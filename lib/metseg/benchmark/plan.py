"""What a run of the benchmark measures: how much, and who takes turns with whom."""

from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from metseg.base.errors import MetsegError
from metseg.base.files import read_json
from metseg.base.paths import released_dir
from metseg.inference.engines import native

PEERS = ("torch", "monai")
# As a model names its precision: as libraries do.
DTYPES = {"int8": "int8", "bf16": "bfloat16", "fp32": "float32"}
_PRECISIONS = ("float32", "bfloat16")


class Settings(BaseModel):
    """The size of a benchmark; the defaults are the full one. Sides are in px."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    networks: tuple[Literal["attention_unet", "nested_unet"], ...] = ("attention_unet", "nested_unet")
    filters: tuple[int, ...] = (16, 32, 64, 128, 256)  # of each level, for all contestants
    train_size: int = 128
    train_batch: int = 8
    inference_sizes: tuple[int, ...] = (128, 256)  # none leaves inference out
    inference_batches: tuple[int, ...] = (1, 8)  # 1 is a latency, others a throughput
    scaling_sizes: tuple[int, ...] = (128, 192, 256, 384, 512)  # metseg's own times; none leaves that out
    scaling_batch: int = 2  # of a training there: the largest image has to fit into memory
    matrix_sides: tuple[int, ...] = (2048, 3072, 4096)  # of the matrices whose product is the limit
    rounds: int = 7
    turn_seconds: float = 2.0  # a step that has begun is finished
    peers: bool = True  # whether MONAI takes part, if it is installed


SCOPES = {
    "full": Settings(),
    "short": Settings(inference_sizes=(128,), scaling_sizes=(), rounds=5, turn_seconds=1.0),
    "tiny": Settings(
        networks=("nested_unet",), filters=(4, 8, 16), train_size=64, train_batch=4, inference_sizes=(),
        scaling_sizes=(), matrix_sides=(512,), rounds=2, turn_seconds=0.3, peers=False,
    ),
}  # fmt: skip


def settings_of(scope: str, *, rounds: int | None = None) -> Settings:
    """Returns the settings of a scope, with as many rounds as told; raises `MetsegError` for no scope."""
    if scope not in SCOPES:
        raise MetsegError(f"no scope '{scope}'; valid: {', '.join(SCOPES)}")
    return SCOPES[scope].model_copy(update={} if rounds is None else {"rounds": rounds})


@dataclass(frozen=True)
class Measurement:
    """One contestant with one task, to be measured; a process of its own works on it."""

    library: str  # metseg, keras, onnxruntime, monai, or the machine itself
    task: str  # training, inference, export or matmul
    network: str = ""
    size: int = 0  # side of an image or of a matrix, px
    batch: int = 1
    precision: str = ""  # float32, bfloat16, int8; "" is what the library takes by itself
    layout: str = ""  # PyTorch's memory format, where it is not its default
    filters: tuple[int, ...] = ()

    @property
    def contestant(self) -> str:
        """Its name in tables: metseg as it trains and serves, others with the precision they were told."""
        parts = (self.library, "" if self.library == "metseg" else self.precision, self.layout)
        return " ".join(part for part in parts if part)

    @property
    def key(self) -> str:
        """What tells it from the others of its group."""
        return f"{self.contestant} {self.task} {self.network} {self.size}"


# Measurements of one name take turns, so that their ratios are of the same minutes.
Groups = dict[str, list[Measurement]]


def missing_peers() -> list[str]:
    """Returns the packages of the optional extra `benchmark` that are not installed."""
    return [name for name in PEERS if find_spec(name) is None]


def plan(settings: Settings, *, peers: bool) -> Groups:
    """Returns all groups of a benchmark in the order in which they are measured; `peers` adds MONAI."""
    sides = product(_PRECISIONS, settings.matrix_sides)
    groups = {"limits": [Measurement("machine", "matmul", size=n, precision=p) for p, n in sides]}

    def contestants(task: str, network: str, size: int, batch: int) -> list[Measurement]:
        shared = {"task": task, "network": network, "size": size, "batch": batch, "filters": settings.filters}
        precision, rivals = "", [("keras", each, "") for each in _PRECISIONS]
        if task == "inference":
            precision, rivals = served_precision(network), [("onnxruntime", "", ""), ("keras", "", "")]
        if peers:  # the fastest of MONAI's four ways is the rival
            rivals += [("monai", *way) for way in product(_PRECISIONS, ("", "channels_last"))]
        ours = Measurement("metseg", precision=precision, **shared)
        return [ours, *(Measurement(name, precision=p, layout=form, **shared) for name, p, form in rivals)]

    for network in settings.networks:
        shape = (settings.train_size, settings.train_batch)
        groups[f"training-{network}"] = contestants("training", network, *shape)
    for each in product(settings.networks, settings.inference_sizes, settings.inference_batches):
        groups["inference-{}-{}-batch{}".format(*each)] = contestants("inference", *each)
    batches = {"training": settings.scaling_batch, "inference": 1}
    for task, network in product(batches, settings.networks if settings.scaling_sizes else ()):
        sizes = settings.scaling_sizes
        own = [contestants(task, network, size, batches[task])[0] for size in sizes]
        groups[f"scaling-{task}-{network}"] = own
    return groups


def served_precision(network: str) -> str:
    """Returns what the released network of slices computes in on this CPU; float32 where none is released."""
    path = released_dir() / f"lgg-{network}" / "model.json"
    return DTYPES[native(read_json(path).get("precision", "fp32"))] if path.exists() else "float32"


def onnx_path(folder: Path, network: str, size: int, precision: str = "") -> Path:
    """Returns where a run keeps a network that it has exported for images of one side, px."""
    name = "model.int8.onnx" if precision == "int8" else "model.onnx"
    return Path(folder) / "networks" / f"{network}-{size}" / name
