"""One notebook, run by papermill in a process of its own.

papermill switches the working directory of its whole process, so each notebook gets a child process:
`python -m metseg.workbook.notebook_process JOB`. The child tells its progress as JSON lines on
stdout. Its stdin is a pipe that stays open as long as the parent lives and wants the child: once that
closes, be it by Ctrl-C or by kill -9 of the parent, the child ends its kernel and itself.
"""

import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from metseg.base.errors import MetsegError
from metseg.base.files import shown, write_text
from metseg.base.memory import ONE_ARENA

POLL_SECONDS = 0.5
STOP_SECONDS = 10
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def run_notebook(
    notebook: Path,
    executed_copy: Path,
    parameters: dict[str, Any],
    *,
    progress_file: Path | None = None,
    report: Callable[..., None] = lambda kind, **details: None,
) -> None:
    """Executes one notebook in a child process; the kernel works in the notebook's folder.

    Args:
        notebook: Absolute path of the notebook; it is not changed.
        executed_copy: Absolute path of the copy, saved whole after every cell; an HTML follows beside it.
        parameters: Values to inject, each declared by the notebook.
        progress_file: Where the notebook writes its training progress; an older file is ignored.
        report: Called as report("cell", cell=, cells=) and report("training", training=).

    Raises:
        MetsegError: A cell raised, or the kernel or the child died; the executed copy so far is kept.
    """
    started = time.time()
    job = {"notebook": str(notebook), "executed_copy": str(executed_copy), "parameters": parameters}
    messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    seen = None
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory(prefix="metseg-ipython-") as ipython:
        child = subprocess.Popen(
            [sys.executable, "-m", "metseg.workbook.notebook_process", json.dumps(job, default=str)],
            cwd=notebook.parent,
            env={**_child_environment(), "IPYTHONDIR": ipython},  # no start-up files of the user's own
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C reaches the parent alone, which then stops the child
        )
        reader = threading.Thread(target=_read_messages, args=(child.stdout, messages), daemon=True)
        reader.start()
        try:
            message: dict[str, Any] | None = {}
            while message is not None and not message.keys() & {"done", "failed"}:
                try:
                    message = messages.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    message = {}
                training = _read_progress(progress_file, since=started)
                if training not in (None, seen):
                    seen = training
                    report("training", training=training)
                if message and "cell" in message:
                    report("cell", **message)
        finally:
            child.stdin.close()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()  # its kernel notices within a second
                child.wait()
            reader.join(STOP_SECONDS)
            child.stdout.close()
        if message is None or "failed" in message:
            cause = _cause_of_death(child.returncode, log) if message is None else message["failed"]
            unfinished = _unfinished(executed_copy)
            copy = f"; the copy executed so far is {shown(unfinished)}" if unfinished.exists() else ""
            raise MetsegError(f"{notebook.name} stopped: {cause.rstrip('.')}{copy}")


def _unfinished(executed_copy: Path) -> Path:
    """Where a copy grows while its notebook runs; an earlier, whole copy stays until this one is whole."""
    return executed_copy.with_suffix(".unfinished.ipynb")


def _child_environment() -> dict[str, str]:
    """This environment, with figures left to the kernel's inline backend."""
    environment = {**ONE_ARENA, **os.environ, "PYTHONIOENCODING": "utf-8"}
    environment.pop("MPLBACKEND", None)
    if "PYTHONPATH" in environment:  # a relative entry would point elsewhere from the notebooks' folder
        entries = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(entry) for entry in entries if entry)
    return environment


def _read_messages(stream: TextIO, messages: queue.SimpleQueue) -> None:
    for line in stream:
        messages.put(json.loads(line))
    messages.put(None)


def _read_progress(path: Path | None, since: float) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        if path is not None and path.stat().st_mtime >= since:
            return json.loads(path.read_text(encoding="utf-8"))
    return None


def _cause_of_death(returncode: int, log: Any) -> str:
    """A clause on a child that went without a word: its signal, or its status and its last line of stderr."""
    if returncode < 0:
        return f"its process was killed by signal {-returncode}"
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").split("\n")
    last = next((_one_line(line) for line in reversed(lines) if line.strip()), "")
    return f"its process ended with status {returncode}" + (f" ({last})" if last else "")


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

    executed_copy = Path(job["executed_copy"])
    unfinished = _unfinished(executed_copy)
    papermill_io.register(str(unfinished), WholeFileHandler())
    code_cells: list[int] = []

    def count_cells(notebook: Any) -> None:
        cells = enumerate(notebook.cells)
        code_cells.extend(index for index, cell in cells if cell.cell_type == "code" and cell.source.strip())

    def tell_cell(cell: Any, cell_index: int) -> None:
        tell(cell=code_cells.index(cell_index) + 1, cells=len(code_cells))

    def braced(path: str) -> str:  # papermill formats its paths
        return path.replace("{", "{{").replace("}", "}}")

    executed = papermill.execute_notebook(
        braced(job["notebook"]),
        braced(str(unfinished)),
        job["parameters"],
        kernel_name="python3",
        language="python",
        progress_bar=False,
        start_timeout=120,
        on_notebook_start=count_cells,
        on_cell_execute=tell_cell,
        kernel_manager_class=ThisInterpreter,
    )
    html = executed_copy.with_suffix(".html")
    write_text(html, HTMLExporter().from_notebook_node(executed, {"metadata": {"name": html.stem}})[0])
    os.replace(unfinished, executed_copy)


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
    """The child: executes the job and tells `cell` and `cells` as they begin, at last `done` or `failed`."""
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # the kernel inherits stdout; nothing it prints may pass for a message
    threading.Thread(target=_leave_with_parent, daemon=True).start()

    def tell(**message: Any) -> None:
        print(json.dumps(message), file=messages, flush=True)

    try:
        _execute(job, tell)
    except Exception as error:
        if type(error).__name__ == "DeadKernelError":
            tell(failed="its kernel died, most often for want of memory: a smaller batch or image needs less")
        else:  # of papermill.PapermillExecutionError, the exception of the cell
            name = getattr(error, "ename", type(error).__name__)
            text = _one_line(str(getattr(error, "evalue", error)))
            tell(failed=text if name == "MetsegError" else f"{name}: {text}" if text else name)
    else:
        tell(done=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
