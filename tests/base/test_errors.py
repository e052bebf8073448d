"""What a user sees of an error: one sentence, in a notebook too."""

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

CELL = """
from metseg.base.errors import FolderInUse
def deep():
    raise FolderInUse("outputs/runs/a is in use; wait for it")
deep()
"""


def test_a_notebook_shows_the_sentence_alone_and_stops():
    cells = [nbformat.v4.new_code_cell(source) for source in (CELL, "print('on')")]
    book = nbformat.v4.new_notebook(cells=cells)
    with pytest.raises(CellExecutionError, match="wait for it"):
        NotebookClient(book, kernel_name="python3").execute()
    (shown,) = book.cells[0].outputs
    assert shown.output_type == "error" and shown.ename == "FolderInUse"
    assert shown.traceback == ["outputs/runs/a is in use; wait for it"]
    assert book.cells[1].outputs == []
