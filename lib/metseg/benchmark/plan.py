"""Which contestant does what, and who takes turns with whom."""

from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path

from metseg.base.files import read_json
from metseg.base.paths import released_dir
from metseg.benchmark.settings import Settings
from metseg.inference.engines import native

PEERS = ("torch", "monai")
# As a model names its precision: as libraries do.
DTYPES = {"int8": "int8", "bf16": "bfloat16", "fp32": "float32"}


@dataclass(frozen=True)
class Measurement:
    """One contestant with one task, to be measured; a process of its own works on it.

    Attributes:
        library: Who does it: metseg, keras, onnxruntime, monai, or the machine itself.
        task: training, inference, matmul or bandwidth.
        network: Which network, where there is one.
        size: Side of an image or of a matrix, px; of an array, MB.
        batch: Images a step.
        precision: float32, bfloat16, int8; "" is what the library takes by itself.
        serves: Whether metseg's released network computes in this precision.
        layout: PyTorch's memory format, where it is not its default.
        filters: Convolution filters of each level.
    """

    library: str
    task: str
    network: str = ""
    size: int = 0
    batch: int = 1
    precision: str = ""
    serves: bool = False
    layout: str = ""
    filters: tuple[int, ...] = ()

    @property
    def contestant(self) -> str:
        """Its name in tables: metseg as it trains and serves, others with the precision they were told."""
        parts = (self.library, "" if self.serves else self.precision, self.layout)
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
    products = product(("float32", "bfloat16"), settings.matrix_sides)
    limits = [
        Measurement("machine", "matmul", size=side, precision=precision) for precision, side in products
    ]
    groups = {"limits": [*limits, Measurement("machine", "bandwidth", size=settings.stream_mb)]}
    for network in settings.networks:
        groups[f"training-{network}"] = _training(settings, network, peers)
    each = product(settings.networks, settings.inference_sizes, settings.inference_batches)
    for network, size, batch in each:
        measurements = _inference(settings, network, size, batch, peers)
        groups[f"inference-{network}-{size}-batch{batch}"] = measurements
    for task, network in product(("training", "inference"), settings.networks):
        if settings.scaling_sizes:
            groups[f"scaling-{task}-{network}"] = _scaling(settings, task, network)
    return groups


def served_precision(network: str) -> str:
    """Returns what a released network computes in on this CPU; float32 where none is released."""
    path = released_dir() / network / "model.json"
    return DTYPES[native(read_json(path).get("precision", "fp32"))] if path.exists() else "float32"


def onnx_path(folder: Path, network: str, size: int, precision: str = "") -> Path:
    """Returns where a run keeps a network that it has exported for images of one side, px."""
    name = "model.int8.onnx" if precision == "int8" else "model.onnx"
    return Path(folder) / "networks" / f"{network}-{size}" / name


def _monai(**shared) -> list[Measurement]:
    """MONAI in PyTorch's eager mode, in two precisions and two memory formats; the fastest is the rival."""
    ways = product(("float32", "bfloat16"), ("", "channels_last"))
    return [Measurement("monai", precision=precision, layout=layout, **shared) for precision, layout in ways]


def _training(settings: Settings, network: str, peers: bool) -> list[Measurement]:
    shared = {"task": "training", "network": network, "filters": settings.filters}
    shared |= {"size": settings.train_size, "batch": settings.train_batch}
    keras = [Measurement("keras", precision=precision, **shared) for precision in ("float32", "bfloat16")]
    return [Measurement("metseg", **shared), *keras, *(_monai(**shared) if peers else ())]


def _inference(settings: Settings, network: str, size: int, batch: int, peers: bool) -> list[Measurement]:
    shared = {"task": "inference", "network": network, "size": size, "batch": batch}
    shared["filters"] = settings.filters
    served = served_precision(network)
    ours = [
        Measurement("metseg", precision=precision, serves=precision == served, **shared)
        for precision in sorted(DTYPES.values(), key=lambda each: each != served)
    ]
    others = [Measurement(library, **shared) for library in ("onnxruntime", "keras")]
    return [*ours, *others, *(_monai(**shared) if peers else ())]


def _scaling(settings: Settings, task: str, network: str) -> list[Measurement]:
    shared = {"task": task, "network": network, "filters": settings.filters}
    if task == "training":
        shared["batch"] = settings.scaling_batch
    else:
        shared |= {"precision": served_precision(network), "serves": True}
    return [Measurement("metseg", size=size, **shared) for size in settings.scaling_sizes]
