"""One notebook, run by papermill in a process of its own.

papermill switches the working directory of its whole process, so each notebook gets a child process,
`notebook_child`.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from metseg.base.errors import MetsegError
from metseg.base.files import shown, write_text
from metseg.base.memory import ONE_ARENA

_STOP_SECONDS = 10
DEAD_KERNEL = "its kernel died, most often for want of memory: a smaller batch or image needs less"
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
            `ipc`, by files, is not for Windows, and where their path would be too long `tcp` it is.

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
            [sys.executable, "-m", "metseg.workbook.notebook_child", json.dumps(job, default=str)],
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
                    died = failed == DEAD_KERNEL
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
            failed = " ".join([f"its process ended with status {child.returncode}", *map(one_line, last)])
    if failed:
        copy = f"; the copy executed so far is {shown(unfinished)}" if unfinished.exists() else ""
        kind = NotebookDied if died else MetsegError
        raise kind(f"{notebook.name} stopped: {failed.rstrip('.')}{copy}")
    _finish(unfinished, executed_copy)


def _finish(unfinished: Path, executed_copy: Path) -> None:
    """Writes the HTML of a notebook that was executed, and gives the copy its name."""
    from nbconvert import HTMLExporter  # not in the child: of many notebooks only the first waits for it

    html = executed_copy.with_suffix(".html")
    write_text(html, HTMLExporter().from_filename(unfinished, {"metadata": {"name": html.stem}})[0])
    os.replace(unfinished, executed_copy)


def _child_environment(more: Mapping[str, str]) -> dict[str, str]:
    """This environment and more, with figures left to the kernel's inline backend."""
    environment = {**ONE_ARENA, **os.environ, "PYTHONIOENCODING": "utf-8", **more}
    environment.pop("MPLBACKEND", None)
    if "PYTHONPATH" in environment:  # a relative entry would point elsewhere from the notebooks' folder
        entries = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(entry) for entry in entries if entry)
    return environment


def one_line(text: str) -> str:
    return " ".join(_ANSI.sub("", text).split())
