"""Where the trials of a sweep run: Dask workers, started here or found at a scheduler's address."""

import importlib.util
import logging
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from distributed import Client, LocalCluster, Worker, get_worker
from distributed.comm import parse_address, parse_host_port

from metseg.base.errors import MetsegError
from metseg.base.hardware import cores
from metseg.base.paths import project_root
from metseg.workbook.sweep.remote import is_address, local_data, run_remote_job
from metseg.workbook.sweep.resources import memory_share, visible_gpus
from metseg.workbook.sweep.trial_process import Job, Outcome, run_job

_CONNECT_SECONDS = 10
_stop_reasons: dict[str, str] = {}  # in a worker: {task: why its trial is to stop}


@contextmanager
def connected(scheduler: str | None = None, jobs: int | None = None) -> Iterator[Client]:
    """Yields a client of a scheduler, or of `jobs` workers of this machine that end with this process.

    Raises:
        MetsegError: No scheduler answers at the address.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if scheduler is not None:
        try:
            # First by itself: a client that finds nobody complains once more as Python drops it.
            host, port = parse_host_port(parse_address(scheduler)[1], 8786)
            socket.create_connection((host or "nowhere.invalid", port), _CONNECT_SECONDS).close()
            client = Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            where = scheduler or "an empty address"
            text = f"no Dask scheduler answers at {where} ({reason}); start one with: dask scheduler"
            raise MetsegError(text) from None
        with client:
            yield client
        return
    with (
        tempfile.TemporaryDirectory(prefix="metseg-dask-", ignore_cleanup_errors=True) as scratch,
        LocalCluster(
            n_workers=jobs or len(visible_gpus()) or max(1, cores() // 2),
            threads_per_worker=1,
            memory_limit=0,  # a trial's share is ours to watch: Dask would count the worker alone
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            local_directory=scratch,
            preload=[__name__],
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def dask_setup(worker: Worker) -> None:
    """Dask calls it in each worker that starts: Ctrl-C on a terminal is for the coordinator alone."""
    signal.signal(signal.SIGINT, lambda number, frame: None)  # what a trial starts does not inherit that


def has_dashboard() -> bool:
    """Whether Dask can show its page; Bokeh, which draws it, is the user's own choice."""
    return importlib.util.find_spec("bokeh") is not None


def run_on_worker(job: Job, topic: str, beside: dict[str, int], results: str | None = None) -> Outcome:
    """Runs a trial in a worker's thread.

    Args:
        job: The trial.
        topic: Where its progress is told.
        beside: {machine: workers on it}, who share it.
        results: Address for the trial's folder, where workers share no disk.
    """
    worker = get_worker()
    key = worker.get_current_task()
    machine = worker.address.rpartition("://")[2].rpartition(":")[0]
    count = beside.get(machine, 1)
    notebook = job.notebook
    if not notebook.exists():  # this machine's checkout lies elsewhere
        notebook = project_root() / "notebooks" / notebook.name

    def report(progress: dict) -> None:
        worker.log_event(topic, {"trial": job.name, "worker": worker.address, **progress})

    def why_stop() -> str | None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            return "nobody waits for it any more"
        return _stop_reasons.get(key)

    values, told = dict(job.values), {"report": report, "why_stop": why_stop}
    try:
        if is_address(values.get("data_dir")):
            values["data_dir"] = str(local_data(values["data_dir"]))
        own = {"notebook": notebook, "values": values, "beside": count, "memory": memory_share(count)}
        mine = replace(job, **own)
        return run_remote_job(mine, results, **told) if results else run_job(mine, **told)
    except MetsegError as error:
        return Outcome("cut off", 0.0, str(error))  # the data may come at the second try
    finally:
        _stop_reasons.pop(key, None)


def stop_on_worker(key: str, reason: str) -> None:
    """To be run by a worker's event loop: has the trial of a task stop."""
    _stop_reasons[key] = reason


def workers_by_machine(client: Client) -> dict[str, int]:
    """Returns {machine: workers on it}."""
    found: dict[str, int] = {}
    for address in client.nthreads():
        machine = address.rpartition("://")[2].rpartition(":")[0]
        found[machine] = found.get(machine, 0) + 1
    return found
