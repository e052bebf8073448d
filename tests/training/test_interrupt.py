"""An interrupt leaves one sentence."""

import os
import subprocess
import sys

import pytest

from metseg.training.interrupt import Interrupted, told_in_a_sentence

CELL = """
from metseg.training.interrupt import told_in_a_sentence
with told_in_a_sentence("runs/a/unet"):
    raise KeyboardInterrupt
"""


def test_an_interrupt_says_how_to_go_on():
    with pytest.raises(KeyboardInterrupt), told_in_a_sentence("outer"), told_in_a_sentence("runs/a/unet"):
        raise KeyboardInterrupt
    sentence = "^runs/a/unet was interrupted; run it again, and it goes on"
    with pytest.raises(Interrupted, match=sentence), told_in_a_sentence("runs/a/unet"):
        raise KeyboardInterrupt
    with pytest.raises(ValueError), told_in_a_sentence("runs/a/unet"):
        raise ValueError


def test_a_cell_shows_the_sentence_and_no_traceback(tmp_path):
    (tmp_path / "cell.ipy").write_text(CELL)
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", "--no-banner", "--quick", "cell.ipy"]
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert "runs/a/unet was interrupted" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
