"""One notebook, run by papermill in a process of its own.

papermill switches the working directory of its whole process, so each notebook gets a child process:
`python -m metseg.workbook.notebook_process JOB`. The child tells its progress as JSON lines on
stdout. Its stdin is a pipe that stays open as long as the parent lives and wants the child: once that
closes, be it by Ctrl-C or by kill -9 of the parent, the child ends its kernel and itself.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from metseg.base.errors import MetsegError
from metseg.base.files import shown, write_text
from metseg.base.memory import ONE_ARENA

_POLL_SECONDS = 0.5
_STOP_SECONDS = 10
_DEAD_KERNEL = "its kernel died, most often for want of memory: a smaller batch or image needs less"
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class NotebookDied(MetsegError):
    """Its process or its kernel was ended from outside; no cell raised, and another try may go well."""


def run_notebook(
    notebook: Path,
    executed_copy: Path,
    parameters: dict[str, Any],
    *,
    progress_file: Path | None,
    report: Callable[..., None] = lambda kind, **details: None,
    environment: Mapping[str, str] | None = None,
    transport: Literal["tcp", "ipc"] = "tcp",
) -> None:
    """Executes one notebook in a child process; the kernel works in the notebook's folder.

    Args:
        notebook: Absolute path of the notebook; it is not changed.
        executed_copy: Absolute path of the copy, beside which it grows as `.unfinished.ipynb` until it is
            whole. An HTML follows.
        parameters: Values to inject, each declared by the notebook.
        progress_file: Where the notebook writes its training progress; an older file is ignored.
        report: Called as report("cell", cell=, cells=) and report("training", training=).
        environment: Variables in addition to this process's, for the child and the kernel.
        transport: How child and kernel talk. Of kernels that start at once two may be given one TCP port;
            `ipc`, by files, is not for Windows.

    Raises:
        NotebookDied: The kernel or the child died; the executed copy so far is kept.
        MetsegError: A cell raised; likewise.
    """
    unfinished = executed_copy.with_suffix(".unfinished.ipynb")
    job = {"notebook": notebook, "executed_copy": executed_copy, "unfinished": unfinished}
    job |= {"parameters": parameters, "progress_file": progress_file, "transport": transport}
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory(prefix="metseg-ipython-") as ipython:
        own = {"IPYTHONDIR": ipython}  # no start-up files of the user's own; sockets no other kernel has
        child = subprocess.Popen(
            [sys.executable, "-m", "metseg.workbook.notebook_process", json.dumps(job, default=str)],
            cwd=notebook.parent,
            env=_child_environment(environment or {}) | own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C reaches the parent alone, which then stops the child
        )
        failed, died = None, True
        try:
            for line in child.stdout:
                kind, details = json.loads(line)
                if kind in ("done", "failed"):
                    failed = details.get("cause", "")
                    died = failed == _DEAD_KERNEL
                    break
                report(kind, **details)
        finally:
            child.stdin.close()
            try:
                child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()  # its kernel notices within a second
                child.wait()
            child.stdout.close()
        if failed is None:
            log.seek(0)
            last = [line for line in log.read().decode("utf-8", "replace").split("\n") if line.strip()][-1:]
            failed = " ".join([f"its process ended with status {child.returncode}", *map(_one_line, last)])
    if failed:
        copy = f"; the copy executed so far is {shown(unfinished)}" if unfinished.exists() else ""
        kind = NotebookDied if died else MetsegError
        raise kind(f"{notebook.name} stopped: {failed.rstrip('.')}{copy}")


def _child_environment(more: Mapping[str, str]) -> dict[str, str]:
    """This environment and more, with figures left to the kernel's inline backend."""
    environment = {**ONE_ARENA, **os.environ, "PYTHONIOENCODING": "utf-8", **more}
    environment.pop("MPLBACKEND", None)
    if "PYTHONPATH" in environment:  # a relative entry would point elsewhere from the notebooks' folder
        entries = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(entry) for entry in entries if entry)
    return environment


def _one_line(text: str) -> str:
    return " ".join(_ANSI.sub("", text).split())


def _execute(job: dict[str, Any], tell: Callable[..., None]) -> None:
    """Runs the job's notebook and writes the executed copy and its HTML."""
    import papermill
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpecManager
    from nbconvert import HTMLExporter
    from papermill.iorw import LocalHandler, papermill_io
    from traitlets import default

    class WholeFileHandler(LocalHandler):
        def write(self, buf: str, path: str) -> None:
            write_text(Path(path), buf)

    class ThisInterpreter(AsyncKernelManager):
        @default("kernel_spec_manager")
        def _without_installed_kernels(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[])  # leaves "python3", ipykernel's own for sys.executable

        @default("transport")
        def _as_asked(self) -> str:
            return job["transport"]

        @default("ip")
        def _own_sockets(self) -> str:
            # jupyter_client's own are files in the working directory, which all kernels of a folder share.
            return str(Path(os.environ["IPYTHONDIR"], "socket")) if self.transport == "ipc" else "127.0.0.1"

    papermill_io.register(job["unfinished"], WholeFileHandler())
    code_cells: list[int] = []

    def count_cells(notebook: Any) -> None:
        cells = enumerate(notebook.cells)
        code_cells.extend(index for index, cell in cells if cell.cell_type == "code" and cell.source.strip())

    def tell_cell(cell: Any, cell_index: int) -> None:
        tell("cell", cell=code_cells.index(cell_index) + 1, cells=len(code_cells))

    paths = (job[name].replace("{", "{{").replace("}", "}}") for name in ("notebook", "unfinished"))
    executed = papermill.execute_notebook(
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
    html = Path(job["executed_copy"]).with_suffix(".html")
    write_text(html, HTMLExporter().from_notebook_node(executed, {"metadata": {"name": html.stem}})[0])
    os.replace(job["unfinished"], job["executed_copy"])


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
    import psutil

    os.read(0, 1)
    for _ in range(2):  # twice, for a kernel that was just being started
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                process.kill()
        time.sleep(0.1)
    os._exit(1)


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
        cause = _one_line(str(getattr(error, "evalue", error)))
        if name == "DeadKernelError":
            cause = _DEAD_KERNEL
        elif name != "MetsegError":
            cause = f"{name}: {cause}"
        last = {"kind": "failed", "cause": cause}
    executed.set()
    watching.join()
    tell(**last)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
