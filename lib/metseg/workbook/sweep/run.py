"""A sweep from its plan to its table."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from distributed import Client

from metseg.base.errors import FolderInUse, MetsegError
from metseg.base.files import shown, sole_writer
from metseg.workbook.sweep.cluster import connected
from metseg.workbook.sweep.coordinator import Coordinator
from metseg.workbook.sweep.ledger import Ledger
from metseg.workbook.sweep.plan import Plan
from metseg.workbook.sweep.remote import complain_of_store
from metseg.workbook.sweep.storage import ledger_errors_told
from metseg.workbook.sweep.table import read_sweep

if TYPE_CHECKING:
    import pandas as pd


def run_sweep(
    plan: Plan,
    folder: Path,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    storage: str | None = None,
    results: str | None = None,
    failed_too: bool = False,
    on_start: Callable[[Client], None] = lambda client: None,
    on_change: Callable[[Coordinator], None] = lambda coordinator: None,
) -> "pd.DataFrame":
    """Runs all trials of a sweep that are not finished yet, and returns its table, see `read_sweep`.

    Ended anywhere, even by `kill -9`, the same call goes on: no finished trial is run again, and one that
    was under way goes on after its last finished epoch.

    Args:
        plan: The sweep.
        folder: Where its ledger, table and trials lie; all workers must reach it by this path, unless there
            are `results`.
        jobs: Trials at once; as many as there are workers if left out. Here these are as many as GPUs, or
            half as many as cores.
        scheduler: Address of a Dask scheduler; workers of this machine if left out.
        storage: URL of an Optuna storage; an SQLite file in the folder if left out.
        results: Address that fsspec knows, where workers without a common disk leave their trials; these are
            copied to the folder. `data_dir` may be such an address, too.
        failed_too: Run those that failed again as well.
        on_start: Called with Dask's client, once there are workers.
        on_change: Called every second and when a trial ended; a `SweepView` shows it.

    Raises:
        MetsegError: Another process runs it, sweep.yml has changed, or scheduler, disk or ledger fail.
    """
    folder = Path(folder).resolve()
    try:
        with sole_writer(folder):
            if results is not None:
                complain_of_store(results)
            with ledger_errors_told(storage), closing(Ledger(plan, folder, storage)) as ledger:
                ledger.enqueue(failed_too=failed_too)
                with connected(scheduler, jobs) as client:
                    on_start(client)
                    options = {"jobs": jobs, "results": results, "on_change": on_change}
                    Coordinator(ledger, folder, client, **options).run()
            return read_sweep(folder)
    except FolderInUse:
        raise MetsegError(
            f"the sweep '{shown(folder)}' is run by another process; wait for it, or rename this one"
        ) from None
