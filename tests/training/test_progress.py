"""An interrupt leaves one sentence, and in a notebook no traceback."""

import pytest
from IPython.core.interactiveshell import InteractiveShell

from metseg.training.progress import Interrupted, told_in_a_sentence


def test_an_interrupt_says_how_to_go_on():
    with pytest.raises(KeyboardInterrupt), told_in_a_sentence("outer"), told_in_a_sentence("runs/a/unet"):
        raise KeyboardInterrupt
    sentence = "^runs/a/unet was interrupted; run it again, and it goes on"
    with pytest.raises(Interrupted, match=sentence), told_in_a_sentence("runs/a/unet"):
        raise KeyboardInterrupt
    with pytest.raises(ValueError), told_in_a_sentence("runs/a/unet"):
        raise ValueError


def test_a_cell_shows_the_sentence_and_no_traceback(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell = InteractiveShell.instance()

    def interrupted():
        with told_in_a_sentence("runs/a/unet"):
            raise KeyboardInterrupt

    try:
        shell.user_ns["interrupted"] = interrupted
        assert not shell.run_cell("interrupted()").success
    finally:
        InteractiveShell.clear_instance()
    told = capsys.readouterr()
    assert "runs/a/unet was interrupted" in told.out + told.err and "Traceback" not in told.out + told.err
