"""What a run of the benchmark measures, and with how much patience."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from metseg.base.errors import MetsegError

NetworkName = Literal["attention_unet", "nested_unet"]


class Settings(BaseModel):
    """The size of a benchmark; the defaults are the full one.

    Attributes:
        networks: Which networks; MONAI has both.
        filters: Convolution filters of each level, for all contestants.
        train_size, train_batch: Side of a training image, px, and images a step.
        inference_sizes, inference_batches: Sides and batches; batch 1 is a latency, others a throughput. No
            side leaves inference out.
        scaling_sizes: Sides, px, over which metseg's own times are followed; empty leaves that out.
        scaling_batch: Images a training step there: the largest image has to fit into memory.
        matrix_sides: Sides of the square matrices whose product is the limit.
        stream_mb: Size of each of the three arrays that the memory's bandwidth is measured on, MB.
        rounds: How often each contestant has its turn.
        turn_seconds: Length of a turn; a step that has begun is finished.
        peers: Whether MONAI takes part, if it is installed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    networks: tuple[NetworkName, ...] = ("attention_unet", "nested_unet")
    filters: tuple[int, ...] = (16, 32, 64, 128, 256)
    train_size: int = 128
    train_batch: int = 8
    inference_sizes: tuple[int, ...] = (128, 256)
    inference_batches: tuple[int, ...] = (1, 8)
    scaling_sizes: tuple[int, ...] = (128, 192, 256, 384, 512)
    scaling_batch: int = 2
    matrix_sides: tuple[int, ...] = (2048, 3072, 4096)
    stream_mb: int = 256
    rounds: int = 7
    turn_seconds: float = 2.0
    peers: bool = True


SCOPES = {
    "full": Settings(),
    "short": Settings(inference_sizes=(128,), scaling_sizes=(), rounds=5, turn_seconds=1.0),
    "tiny": Settings(
        networks=("nested_unet",), filters=(4, 8, 16), train_size=64, train_batch=4, inference_sizes=(),
        scaling_sizes=(), matrix_sides=(512,), stream_mb=64, rounds=2, turn_seconds=0.3, peers=False,
    ),
}  # fmt: skip


def settings_of(scope: str, *, rounds: int | None = None) -> Settings:
    """Returns the settings of a scope, with as many rounds as told.

    Raises:
        MetsegError: There is no such scope.
    """
    if scope not in SCOPES:
        raise MetsegError(f"no scope '{scope}'; valid: {', '.join(SCOPES)}")
    return SCOPES[scope].model_copy(update={} if rounds is None else {"rounds": rounds})
