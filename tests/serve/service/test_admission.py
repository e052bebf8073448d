"""Who is let in, and when the next one is."""

import asyncio
import threading

import pytest

from metseg.serve.service.admission import Admission, Limits
from metseg.serve.service.metrics import Metrics


class Work:
    """Jobs that last until they may end, and how many of them run at once."""

    def __init__(self):
        self.may_end, self.running, self.most, self.begun = threading.Event(), 0, 0, 0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            self.begun += 1
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.may_end.wait(30)
        with self._lock:
            self.running -= 1
        return "done"


async def here() -> bool:
    return False


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


def test_who_is_cancelled_keeps_the_seat_until_the_thread_has_ended():
    async def scenario() -> None:
        admission, work, uploads = Admission(Limits(at_once=1, uploads=1), Metrics(None)), Work(), []

        async def request() -> str:
            with admission.upload():
                uploads.append("in")
                try:
                    return await admission.run(work, gone=here)
                finally:
                    uploads.append("out")

        first = asyncio.create_task(request())
        await until(lambda: work.begun)
        second = asyncio.create_task(admission.run(work, gone=here))
        for _ in range(2):  # whoever insists waits as well
            first.cancel()
            await asyncio.sleep(0.1)
        assert not first.done() and uploads == ["in"]
        assert work.begun == 1  # the second one has no seat yet
        work.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert uploads == ["in", "out"]
        assert await second == "done"
        assert (work.begun, work.most) == (2, 1)
        admission.close()

    asyncio.run(scenario())


def test_who_is_cancelled_while_waiting_leaves_at_once():
    async def scenario() -> None:
        admission, work = Admission(Limits(at_once=1, waiting=1), Metrics(None)), Work()
        first = asyncio.create_task(admission.run(work, gone=here))
        await until(lambda: work.begun)
        second = asyncio.create_task(admission.run(work, gone=here))
        await asyncio.sleep(0.05)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        third = asyncio.create_task(admission.run(work, gone=here))  # there is room to wait again
        work.may_end.set()
        assert [await first, await third] == ["done", "done"]
        assert work.begun == 2
        admission.close()

    asyncio.run(scenario())


def test_a_job_that_fails_gives_its_seat_back():
    async def scenario() -> None:
        admission = Admission(Limits(at_once=1), Metrics(None))
        with pytest.raises(ZeroDivisionError):
            await admission.run(lambda: 1 / 0, gone=here)
        assert await admission.run(lambda: 7, gone=here) == 7
        admission.close()

    asyncio.run(scenario())
