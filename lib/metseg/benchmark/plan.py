"""Which contestant does what, and who takes turns with whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path

from metseg.base.errors import MetsegError
from metseg.base.files import read_json
from metseg.base.paths import released_dir
from metseg.benchmark.settings import Settings
from metseg.inference.engines import native

TRAINING_SLICES = 1000  # of the data set that a training reads and augments
PEERS = ("torch", "monai")
DTYPES = {
    "int8": "int8",
    "bf16": "bfloat16",
    "fp32": "float32",
}  # as a model names its precision: as libraries do


@dataclass(frozen=True)
class Measurement:
    """One contestant with one task, to be measured; a process of its own works on it.

    Attributes:
        library: Who does it: metseg, keras, tensorflow, onnxruntime, monai, or the machine itself.
        task: training, inference, profile (of a training step), matmul, bandwidth, open or read.
        network: Which network, where there is one.
        size: Side of an image or of a matrix, px; of a data set, its slices.
        batch: Images a step.
        precision: float32, bfloat16, int8; "" is what the library takes by itself.
        serves: Whether metseg's released network computes in this precision.
        layout: PyTorch's memory format, where it is not its default.
        filters: Convolution filters of each level.
        path: The network as ONNX, or the folder of a data set, from which a training takes its batches.
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
    path: str = ""

    @property
    def contestant(self) -> str:
        """Its name in tables: metseg as it trains and serves, others with the precision they were told."""
        precision = "" if self.serves else self.precision
        source = "from files" if self.task == "training" and self.path else ""
        return " ".join(part for part in (self.library, precision, self.layout, source) if part)

    @property
    def key(self) -> str:
        """What tells it from the others of its group."""
        return f"{self.contestant} {self.task} {self.network} {self.size}"


@dataclass(frozen=True)
class Group:
    """Measurements that take turns, so that their ratios are of the same minutes."""

    name: str
    measurements: tuple[Measurement, ...]


def missing_peers() -> list[str]:
    """Returns the packages of the optional extra `benchmark` that are not installed."""
    return [name for name in PEERS if find_spec(name) is None]


def released_precisions(networks: Sequence[str]) -> dict[str, str]:
    """Returns what each released network computes in on this CPU; float32 where none is released.

    Raises:
        MetsegError: A released network's `model.json` is damaged.
    """
    found = {}
    for network in networks:
        path = released_dir() / network / "model.json"
        short = read_json(path).get("precision", "fp32") if path.exists() else "fp32"
        if short not in DTYPES:
            raise MetsegError(f"{path} is damaged (precision {short!r}); export the model again")
        found[network] = DTYPES[native(short)]
    return found


def plan(settings: Settings, folder: Path, *, peers: bool, serving: Mapping[str, str]) -> list[Group]:
    """Returns all groups of a benchmark, in the order in which they are measured.

    Args:
        settings: What to measure.
        folder: The run's folder; exported networks and data sets lie below it.
        peers: Whether MONAI takes part.
        serving: As `released_precisions` returns it.
    """
    groups = [_limits(settings)]
    groups += [_training(settings, folder, network, peers) for network in settings.networks]
    groups += [_profile(settings)] if settings.networks else []
    sizes, batches = settings.inference_sizes, settings.inference_batches
    groups += [
        _inference(settings, folder, network, size, batch, peers, serving[network])
        for network, size, batch in product(settings.networks, sizes, batches)
    ]
    if settings.scaling_sizes:
        groups += [
            _scaling(settings, folder, task, network, serving[network])
            for task, network in product(("training", "inference"), settings.networks)
        ]
    if settings.data_slices:
        groups.append(_data(settings, folder))
    return groups


def onnx_path(folder: Path, network: str, size: int, precision: str = "") -> Path:
    """Returns where a run keeps a network that it has exported for images of one side, px."""
    name = "model.int8.onnx" if precision == "int8" else "model.onnx"
    return Path(folder) / "networks" / f"{network}-{size}" / name


def data_path(folder: Path, slices: int) -> Path:
    """Returns where a run keeps a data set of so many slices while it needs it."""
    return Path(folder) / "scratch" / f"slices-{slices}"


def _limits(settings: Settings) -> Group:
    products = [
        Measurement("machine", "matmul", size=side, precision=precision)
        for precision, side in product(("float32", "bfloat16"), settings.matrix_sides)
    ]
    return Group("limits", (*products, Measurement("machine", "bandwidth", size=settings.stream_mb)))


def _monai(**shared) -> list[Measurement]:
    """MONAI in PyTorch's eager mode: two precisions, two memory formats; the fastest is metseg's rival.

    A compiled graph (`torch.compile`) and other ways to run a network are not measured.
    """
    ways = product(("float32", "bfloat16"), ("", "channels_last"))
    return [Measurement("monai", precision=precision, layout=layout, **shared) for precision, layout in ways]


def _profile(settings: Settings) -> Group:
    shared = {"size": settings.train_size, "batch": settings.train_batch, "filters": settings.filters}
    each = (Measurement("metseg", "profile", network=network, **shared) for network in settings.networks)
    return Group("profile", tuple(each))


def _training(settings: Settings, folder: Path, network: str, peers: bool) -> Group:
    shared = {
        "task": "training",
        "network": network,
        "size": settings.train_size,
        "batch": settings.train_batch,
        "filters": settings.filters,
    }
    measurements = [
        Measurement("metseg", **shared),
        Measurement("metseg", path=str(data_path(folder, TRAINING_SLICES)), **shared),
        Measurement("metseg", precision="float32", **shared),
        *_in_both("keras", **shared),
        *(_monai(**shared) if peers else ()),
    ]
    return Group(f"training-{network}", tuple(measurements))


def _in_both(library: str, **shared) -> list[Measurement]:
    """A library at either precision, so that there is one of metseg's own whatever that is."""
    return [Measurement(library, precision=precision, **shared) for precision in ("float32", "bfloat16")]


def _served(folder: Path, precision: str, serving: str, **shared) -> Measurement:
    """metseg's way to run an exported network in one precision.

    A batch of one is a slice that comes alone: all cores compute it. A larger one is a volume as `Predictor`
    segments it: its slices are spread over as many threads as there are cores.
    """
    path = str(onnx_path(folder, shared["network"], shared["size"], precision))
    return Measurement("metseg", precision=precision, serves=precision == serving, path=path, **shared)


def _inference(
    settings: Settings, folder: Path, network: str, size: int, batch: int, peers: bool, serving: str
) -> Group:
    shared = {"task": "inference", "network": network, "size": size, "batch": batch}
    shared["filters"] = settings.filters
    others = [precision for precision in DTYPES.values() if precision != serving]
    measurements = [
        *(_served(folder, precision, serving, **shared) for precision in (serving, *others)),
        Measurement("onnxruntime", path=str(onnx_path(folder, network, size)), **shared),
        *_in_both("tensorflow", **shared),
        Measurement("keras", **shared),
        *(_monai(**shared) if peers else ()),
    ]
    return Group(f"inference-{network}-{size}-batch{batch}", tuple(measurements))


def _scaling(settings: Settings, folder: Path, task: str, network: str, serving: str) -> Group:
    measurements = []
    for size in settings.scaling_sizes:
        shared = {"task": task, "network": network, "size": size, "filters": settings.filters}
        if task == "training":
            measurements.append(Measurement("metseg", batch=settings.scaling_batch, **shared))
        else:
            measurements.append(_served(folder, serving, serving, **shared))
    return Group(f"scaling-{task}-{network}", tuple(measurements))


def _data(settings: Settings, folder: Path) -> Group:
    measurements = [
        Measurement(
            "metseg", task, size=slices, batch=settings.train_batch, path=str(data_path(folder, slices))
        )
        for task, slices in product(("open", "read"), settings.data_slices)
    ]
    return Group("scaling-data", tuple(measurements))
