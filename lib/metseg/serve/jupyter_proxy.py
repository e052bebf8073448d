"""The dashboard as a tile of JupyterLab or a JupyterHub, through jupyter-server-proxy."""

import secrets
import sys
from pathlib import Path

_NAME = "metseg"  # as in pyproject.toml; the page is at <base url>/metseg/
_START_SECONDS = 120.0


def describe_dashboard() -> dict:
    """Returns how jupyter-server-proxy starts the dashboard and passes requests to it.

    Jupyter knows who asks. Its proxy alone holds the dashboard's token, so that other users of the machine
    cannot come in by the port.
    """
    token = secrets.token_urlsafe(24)
    program = Path(sys.executable).with_name("metseg")
    return {
        # With a token, no name that a visitor comes by is foreign; the Hub's is not known here.
        "command": [
            *(str(program), "dashboard", "--port={port}", f"--base-url={{base_url}}{_NAME}/"),
            *("--allowed-host=*", "--visitors=2"),
        ],
        "environment": {"METSEG_TOKEN": token},  # an argument would stand in the list of processes
        "request_headers_override": {"Authorization": f"token {token}"},
        "absolute_url": True,
        "timeout": _START_SECONDS,
        "launcher_entry": {"title": "Brain lesions (metseg)"},
    }
