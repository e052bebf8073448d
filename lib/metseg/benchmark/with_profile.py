"""Where a training step's time goes: TensorFlow's own profiler, summed by kind of operation."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from metseg.benchmark.contestant import Contestant, random_pairs
from metseg.benchmark.plan import Measurement
from metseg.benchmark.with_keras import compiled_network

# By the operation's type; the first that fits.
_KINDS = {
    "convolution": ("Conv2D",),
    "normalisation": ("FusedBatchNorm",),
    "upsampling": ("ResizeBilinear", "BatchMatMul"),
    "pooling": ("MaxPool",),
    "activation": ("Relu", "Sigmoid"),
    "copies": ("Concat", "Slice", "Split", "Transpose", "Reshape", "Cast", "Tile", "Pack", "Fill"),
}


def kind_of(name: str, operation: str) -> str:
    """Returns the kind of an operation by its name in the graph and its type.

    The kinds are convolution, normalisation, upsampling, pooling, activation, copies, optimiser, and
    `arithmetic` for sums and products of whole feature maps and of the loss.
    """
    if "adam" in name.lower() or operation.startswith(("Assign", "ResourceApply")):
        return "optimiser"
    for kind, types in _KINDS.items():
        if any(each in operation for each in types):
            return kind
    return "arithmetic"


def self_times(events: Iterable[tuple[str, int, int]]) -> Iterator[tuple[str, int]]:
    """Yields each event's name and its time less that of the events inside it.

    Args:
        events: (name, begin, duration) of one thread; they lie in or beside each other.
    """
    open_events: list[list] = []  # name, end, own time
    for name, begin, duration in sorted(events, key=lambda event: (event[1], -event[2])):
        while open_events and open_events[-1][1] <= begin:
            done, _, own = open_events.pop()
            yield done, own
        if open_events:
            open_events[-1][2] -= duration
        open_events.append([name, begin + duration, duration])
    yield from ((name, own) for name, _, own in open_events)


def prepare(measurement: Measurement) -> Contestant:
    """Builds metseg's training of a network, with the profiler on in every turn."""
    network, precision, cost, threads = compiled_network(replace(measurement, task="training"))
    images, masks = random_pairs(measurement)
    images, masks = images[: measurement.batch], masks[: measurement.batch]
    last_turn = Counter[str]()

    def run(seconds: float) -> list[float]:
        last_turn.clear()
        with TemporaryDirectory(prefix="metseg-profile-") as folder:
            with _profiled(folder):
                times, start = [], time.perf_counter()
                while not times or time.perf_counter() - start < seconds:
                    began = time.perf_counter()
                    network.train_on_batch(images, masks)
                    times.append(time.perf_counter() - began)
            for kind, picoseconds in _by_kind(Path(folder)):
                last_turn[kind] += picoseconds / 1e12 / len(times)
        return times

    return Contestant(run, precision, cost, threads, parts=lambda: dict(last_turn))


@contextmanager
def _profiled(folder: str) -> Iterator[None]:
    import tensorflow as tf

    tf.profiler.experimental.start(folder)
    try:
        yield
    finally:
        tf.profiler.experimental.stop()


def _by_kind(folder: Path) -> Iterator[tuple[str, int]]:
    """Yields kind and own time of every operation that the profiler saw on the CPU, ps."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    (path,) = folder.rglob("*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(path.read_bytes())
    for plane in space.planes:
        if plane.name != "/host:CPU":
            continue
        for line in plane.lines:  # a thread
            events = (
                (plane.event_metadata[event.metadata_id].name, event.offset_ps, event.duration_ps)
                for event in line.events
            )
            for name, own in self_times(events):
                path_in_graph, _, operation = name.partition(":")
                # An operation of the graph, and neither a C++ function nor an event of the runtime.
                if operation and not operation.startswith((":", " ")):
                    yield kind_of(path_in_graph, operation), own
