"""The command line: a thin face over the library; each command imports what it needs when it runs."""

import os
import sys
import warnings

from metseg.base.errors import MetsegError, MetsegWarning
from metseg.cli.app import app

# Each adds its commands, in the order of --help.
# isort: off
import metseg.cli.workbook
import metseg.cli.sweeps
import metseg.cli.scans
import metseg.cli.reports
import metseg.cli.models
import metseg.cli.serving
import metseg.cli.benchmark  # noqa: F401
# isort: on


def main() -> None:
    """Runs the command line; a user's mistake is one line, for each file concerned, and status 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a program puts one of its own
            stream.reconfigure(errors="backslashreplace")  # what its encoding lacks stops no command
    os.environ["MPLBACKEND"] = "agg"  # no command opens a window; a notebook's kernel has its own
    show = warnings.showwarning

    def shown_as_a_line(message, category, *where, **options) -> None:
        if issubclass(category, MetsegWarning):
            print(f"metseg: {message}", file=sys.stderr)
        else:
            show(message, category, *where, **options)

    warnings.showwarning = shown_as_a_line
    try:
        os.getcwd()  # names no file where it is gone
        app()
    except MetsegError as error:
        for line in str(error).splitlines():
            print(f"metseg: {line}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a path of the user's that the system refuses: no permission, too long a name
        if error.filename is None and not isinstance(error, FileNotFoundError):
            raise
        where, reason = error.filename or "the working directory", error.strerror or error
        print(f"metseg: cannot use {where} ({reason}); give another path", file=sys.stderr)
        sys.exit(2)
    except SystemExit as leaving:
        if leaving.code == 130:  # how Typer passes on Ctrl-C
            trains = sys.argv[1:2] in (["run"], ["train"], ["crossval"])
            more = "; the same command with --run-name goes on with a training" if trains else ""
            if sys.argv[1:2] == ["sweep"]:
                more = "; the same command goes on with it"
            print(f"metseg: interrupted{more}", file=sys.stderr)
        raise
