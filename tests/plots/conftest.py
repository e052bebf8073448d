"""Every figure of a test is closed, and none is shown or saved by the function that draws it."""

import matplotlib.figure
import matplotlib.pyplot as plt
import pytest

from metseg.plots.style import use_style


@pytest.fixture(autouse=True)
def figures(monkeypatch):
    settings = plt.rcParams.copy()
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("plt.show was called"))
    yield
    plt.close("all")
    plt.rcParams.update(settings)


@pytest.fixture
def in_style():
    use_style()


@pytest.fixture
def never_saved(monkeypatch):
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda *_, **__: pytest.fail("saved"))
