"""How many visitors the dashboard has room for: each one's kernel, when it ends, and how it is started."""

import os
import sys
import time
from contextlib import suppress
from functools import partial
from subprocess import DEVNULL
from tempfile import TemporaryDirectory

import psutil
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_server._tz import utcnow
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.web import HTTPError
from traitlets import Dict, Float, Integer, Set

from metseg.serve.dashboard.channels import MOST_UNREAD_BYTES

_SPEC = {
    # This very interpreter, whatever kernels the machine has; no history of a visitor's work is kept.
    "argv": [
        *(sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"),
        *("--HistoryManager.enabled=False", "--log-level=ERROR"),
    ],
    "display_name": "metseg",
    "language": "python",
}


class OwnKernelSpec(KernelSpecManager):
    """The one kernel there is, under the name that the notebook asks for."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        if kernel_name != "python3":
            raise NoSuchKernel(kernel_name)
        return KernelSpec(**_SPEC)

    def get_all_specs(self) -> dict:
        return {"python3": {"resource_dir": "", "spec": _SPEC}}


class Seats(AsyncMappingKernelManager):
    """A bounded number of kernels; Voilà adds the pool of those that wait for their visitor.

    A seat is free again when its visitor closes the page, does nothing for `cull_idle_timeout`, or stays away
    for `away_seconds`.
    """

    seats = Integer(8, min=1, config=True, help="Kernels there may be, those that wait included.")
    waiting = Integer(0, min=0, config=True, help="Kernels that wait for a visitor while there is room.")
    away_seconds = Float(60, config=True, help="How long a kernel outlives its page.")
    most_bytes = Integer(4 * 10**9, config=True, help="Memory that a kernel may take.")
    _away_since = Dict()
    _folders = Dict()
    _ending = Set()

    @property
    def taken(self) -> int:
        """Kernels that are there or being started."""
        return len({*self._kernels, *self._pending_kernels} - self._ending)

    def has_room(self) -> bool:
        """Tells whether one more visitor can be seated, and plans the pool for when that has happened."""
        return bool(self._plan_pool(arriving=1)) or self.taken < self.seats

    async def start_kernel(self, **kwargs) -> str:
        if self.taken >= self.seats:
            raise HTTPError(503)
        # Where a volume lies while it is read; what a kernel that is killed leaves there is removed too.
        folder = TemporaryDirectory(prefix="metseg-dashboard-", ignore_cleanup_errors=True)
        kwargs["env"] = {**(kwargs.get("env") or os.environ), "TMPDIR": folder.name}
        # What a kernel has to tell comes as messages; on its way out it only complains of being stopped.
        kernel_id = await super().start_kernel(stderr=DEVNULL, **kwargs)
        self._folders[kernel_id] = folder
        with suppress(AttributeError, psutil.NoSuchProcess):  # other systems than Linux have no such bound
            process = psutil.Process(self.get_kernel(kernel_id).provisioner.pid)
            process.rlimit(psutil.RLIMIT_DATA, (self.most_bytes, self.most_bytes))
        return kernel_id

    def start_buffering(self, kernel_id: str, session_key: str, channels: dict) -> None:
        """Keeps what a page misses while its connection is lost, if that is not too much.

        Else all of it is dropped: a page that comes back asks for its widgets' state anyway.
        """
        super().start_buffering(kernel_id, session_key, channels)
        kept, size = self._kernel_buffers[kernel_id]["buffer"], 0

        def keep(channel: str, parts: list[bytes]) -> None:
            nonlocal size
            size += sum(map(len, parts))
            if size > MOST_UNREAD_BYTES:
                kept.clear()
            else:
                kept.append((channel, parts))

        for channel, stream in channels.items():
            stream.on_recv(partial(keep, channel))

    async def shutdown_kernel(self, kernel_id: str, *args, **kwargs) -> None:
        if kernel_id not in self or kernel_id in self._ending:
            return  # a page that closes while its kernel is being culled asks a second time
        self._ending.add(kernel_id)
        try:
            await super().shutdown_kernel(kernel_id, *args, **kwargs)
        finally:
            self._ending.discard(kernel_id)

    async def shutdown_all(self, *args, **kwargs) -> None:
        self.waiting = 0
        await super().shutdown_all(*args, **kwargs)

    def remove_kernel(self, kernel_id: str) -> None:
        kernel = super().remove_kernel(kernel_id)
        if kernel is not None:
            kernel.cleanup_connection_file()  # of one that died by itself, nobody else takes it away
        self._away_since.pop(kernel_id, None)
        if folder := self._folders.pop(kernel_id, None):
            folder.cleanup()
        if self.waiting:
            self._plan_pool(arriving=0)
            self.fill_if_needed(notebook_name=self.notebook_path)

    def notify_connect(self, kernel_id: str) -> None:
        super().notify_connect(kernel_id)
        if kernel_id in self:  # one that waited long for its visitor is not idle now
            self.get_kernel(kernel_id).last_activity = utcnow()

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        now = time.monotonic()
        if self._kernel_connections.get(kernel_id):
            self._away_since.pop(kernel_id, None)
            await super().cull_kernel_if_idle(kernel_id)
        elif now - self._away_since.setdefault(kernel_id, now) > self.away_seconds:
            await self.shutdown_kernel(kernel_id)

    def _plan_pool(self, *, arriving: int) -> list:
        """Sizes the pool so that visitors and those who wait fit into the seats; returns the present pool."""
        if not self.waiting:
            return []
        pool = self._pools.get(self.notebook_path, [])
        failed = [each for each in pool if each.done() and (each.cancelled() or each.exception())]
        pool[:] = [
            each
            for each in pool
            if each not in failed and (not each.done() or each.result()["kernel_id"] in self)
        ]
        # Of those still starting it is not known which kernel is theirs; they count as visitors, to be safe.
        visitors = self.taken - sum(each.done() for each in pool)
        room = max(0, self.seats - visitors - arriving)
        self.kernel_pools_config = {"default": {"pool_size": min(self.waiting, room)}}
        return pool
