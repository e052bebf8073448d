"""The process in which papermill executes a notebook: `python -m metseg.workbook.notebook_child JOB`.

It tells its progress as JSON lines on stdout. Its stdin is a pipe that stays open as long as the parent lives
and wants it: once that closes, be it by Ctrl-C or by kill -9 of the parent, it ends its kernel and itself.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from metseg.base.address_grammar import skip_address_grammar
from metseg.base.files import write_text
from metseg.workbook.notebook_process import DEAD_KERNEL, one_line

_POLL_SECONDS = 0.5
_LONGEST_SOCKET = 103  # bytes of a Unix socket's path, on macOS; 107 on Linux


def _execute(job: dict[str, Any], tell: Callable[..., None]) -> None:
    """Runs the job's notebook and writes the executed copy as far as it comes."""
    skip_address_grammar()
    import papermill
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpecManager
    from papermill.iorw import LocalHandler, papermill_io
    from traitlets import default

    # jupyter_client's own are files in the working directory, which all kernels of a folder share.
    socket = str(Path(os.environ["IPYTHONDIR"], "socket"))
    by_file = job["transport"] == "ipc" and len(os.fsencode(f"{socket}-1")) <= _LONGEST_SOCKET

    class WholeFileHandler(LocalHandler):
        def write(self, buf: str, path: str) -> None:
            write_text(Path(path), buf)

    class ThisInterpreter(AsyncKernelManager):
        shutdown_wait_time = 1.0  # s; some kernels never hear that they may go, and all is written by then

        @default("kernel_spec_manager")
        def _without_installed_kernels(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[])  # leaves "python3", ipykernel's own for sys.executable

        @default("transport")
        def _as_asked(self) -> str:
            return "ipc" if by_file else "tcp"

        @default("ip")
        def _own_sockets(self) -> str:
            return socket if by_file else "127.0.0.1"

    papermill_io.register(job["unfinished"], WholeFileHandler())
    code_cells: list[int] = []

    def count_cells(notebook: Any) -> None:
        cells = enumerate(notebook.cells)
        code_cells.extend(index for index, cell in cells if cell.cell_type == "code" and cell.source.strip())

    def tell_cell(cell: Any, cell_index: int) -> None:
        tell("cell", cell=code_cells.index(cell_index) + 1, cells=len(code_cells))

    paths = (job[name].replace("{", "{{").replace("}", "}}") for name in ("notebook", "unfinished"))
    papermill.execute_notebook(
        *paths,  # which papermill formats
        job["parameters"],
        kernel_name="python3",
        language="python",
        progress_bar=False,
        start_timeout=120,
        on_notebook_start=count_cells,
        on_cell_execute=tell_cell,
        kernel_manager_class=ThisInterpreter,
        store_widget_state=False,  # all voxels of a viewer, which a page without kernel cannot show offline
    )


def _watch(path: str | None, tell: Callable[..., None], executed: threading.Event) -> None:
    """Tells what a notebook writes of its training until it has been executed, the last state included."""
    seen, since, last = None, time.time(), False
    while not last:
        last = executed.wait(_POLL_SECONDS)
        with suppress(OSError, ValueError):
            if path and os.stat(path).st_mtime >= since:
                found = json.loads(Path(path).read_text(encoding="utf-8"))
                if found != seen:
                    tell("training", training=found)
                seen = found


def _leave_with_parent() -> None:
    """Waits until stdin closes, then ends the kernel, whatever it started, and this process."""
    os.read(0, 1)
    _end_children()
    time.sleep(0.1)
    _end_children()  # again, for a kernel that was just being started
    os._exit(1)


def _end_children() -> None:
    import psutil

    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            process.kill()


def main(job: dict[str, Any]) -> None:
    """The child: executes the job and tells each `cell` and `training`, at last `done` or `failed`."""
    messages = os.dup(1)
    os.dup2(2, 1)  # the kernel inherits stdout; nothing it prints may pass for a message
    threading.Thread(target=_leave_with_parent, daemon=True).start()

    def tell(kind: str, **details: Any) -> None:
        os.write(messages, (json.dumps([kind, details]) + "\n").encode())  # at once: two threads tell

    executed, last = threading.Event(), {"kind": "done"}
    watching = threading.Thread(target=_watch, args=(job["progress_file"], tell, executed))
    watching.start()
    try:
        _execute(job, tell)
    except Exception as error:
        # of papermill.PapermillExecutionError, the exception of the cell
        name = getattr(error, "ename", type(error).__name__)
        cause = one_line(str(getattr(error, "evalue", error)))
        if name == "DeadKernelError":
            cause = DEAD_KERNEL
        elif name != "MetsegError":
            cause = f"{name}: {cause}"
        last = {"kind": "failed", "cause": cause}
    executed.set()
    watching.join()
    _end_children()  # what a cell started outlives neither it nor this
    tell(**last)
    os._exit(0)  # at once: the interpreter takes a while to leave


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
