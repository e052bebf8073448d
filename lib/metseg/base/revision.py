"""Which state of the checkout made a figure."""

import subprocess
from pathlib import Path


def git_revision() -> str | None:
    """Returns the checkout's commit, with `+changes` if files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        revision = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+changes"],
            cwd=here, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return revision.stdout.strip()
