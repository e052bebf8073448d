"""Who may come in: how many uploads are held at once, how many slices are segmented, how many wait."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from metseg.base.hardware import cores
from metseg.serve.service.metrics import Metrics
from metseg.serve.upload import Refused

_T = TypeVar("_T")


@dataclass(frozen=True)
class Limits:
    """What one process of the service takes on.

    Attributes:
        at_once: Slices segmented at once, each in a thread.
        waiting: Slices that may wait for one of these threads.
        uploads: Uploads read, waiting or segmented at once.
        upload_bytes: Bytes received that these may hold, all together; what is made of them takes more.
        upload_seconds: The longest that sending one may take.
    """

    at_once: int = field(default_factory=cores)
    waiting: int = 32
    uploads: int = 128
    upload_bytes: int = 128 * 2**20
    upload_seconds: float = 30.0


class Admission:
    """Keeps to the limits. All but the jobs themselves happens on the event loop, so nothing is locked."""

    def __init__(self, limits: Limits, metrics: Metrics):
        self.limits = limits
        self._metrics = metrics
        self._uploads = self._bytes = self._waiting = 0
        self._free = asyncio.Semaphore(limits.at_once)
        self._threads = ThreadPoolExecutor(limits.at_once, thread_name_prefix="segment")

    @contextmanager
    def upload(self) -> Iterator[Callable[[int], None]]:
        """Lets one upload in, and yields a function that is told the size of each piece of it.

        Raises:
            Refused: There is no room, on entering or for a piece.
        """
        if self._uploads >= self.limits.uploads:
            raise _full()
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            if self._bytes + size > self.limits.upload_bytes:
                raise _full()
            self._bytes += size
            held += size

        self._uploads += 1
        try:
            yield hold
        finally:
            self._uploads -= 1
            self._bytes -= held

    async def run(self, job: Callable[[], _T], *, gone: Callable[[], Awaitable[bool]]) -> _T | None:
        """Runs a job in one of the threads, when it is its turn.

        A thread cannot be stopped: who is cancelled leaves when it has ended, and keeps the seat until then.

        Args:
            job: The job.
            gone: Asked before the job begins whether nobody waits for it any more.

        Returns:
            What the job returned; None where it was not begun because of `gone`.

        Raises:
            Refused: Too many jobs wait already.
        """
        if self._free.locked() and self._waiting >= self.limits.waiting:
            raise _full()
        self._waiting += 1
        self._metrics.waiting.inc()
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
            self._metrics.waiting.dec()
        try:
            if await gone():
                return None
            return await _to_its_end(asyncio.get_running_loop().run_in_executor(self._threads, job))
        finally:
            self._free.release()

    def close(self) -> None:
        """Returns when the last job has ended."""
        self._threads.shutdown()


async def _to_its_end(job: asyncio.Future[_T]) -> _T:
    """Awaits a job; a cancellation takes effect when it is done."""
    cancelled = None
    while not job.done():
        try:
            await asyncio.wait([job])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return job.result()
    job.exception()  # nobody hears of it, so that asyncio should not complain
    raise cancelled


def _full() -> Refused:
    return Refused("busy", "The service has all the work it can hold; try again in a second")
