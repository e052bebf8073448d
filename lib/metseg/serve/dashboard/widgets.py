"""The parts of the page as widgets: traits shared with a browser. Their looks are in frontend/."""

from collections.abc import Callable
from pathlib import Path

from anywidget import AnyWidget, WidgetTrait
from traitlets import Bool, Bytes, Dict, Float, Int, List, Tuple, Unicode

from metseg.data.readers.images import IMAGE_SUFFIXES
from metseg.serve.dashboard.state import LEVEL, WINDOW
from metseg.serve.upload import too_large

_FRONTEND = Path(__file__).with_name("frontend")


def _source(*names: str) -> str:
    # A widget's script cannot import another file, so what they share stands before each.
    return "\n".join((_FRONTEND / name).read_text(encoding="utf-8") for name in names)


def _shared(trait):
    return trait.tag(sync=True, echo_update=False)


def _pick():
    return _shared(Tuple(Int(), Int(), default_value=(0, 0)))


class Part(AnyWidget):
    """A part of the page. Whatever goes wrong while it handles a message is told to `failed`.

    ipywidgets alone would print a traceback that no page shows.

    Attributes:
        failed: Called with the exception.
        received: Called with a message of the browser and its binary buffers.
    """

    failed: Callable[[BaseException], None]
    received: Callable[[dict, list], None]

    def set_state(self, sync_data: dict) -> None:
        try:
            super().set_state(sync_data)
        except Exception as error:
            self.failed(error)

    def _handle_custom_msg(self, content: dict, buffers: list) -> None:
        try:
            self.received(content, buffers)
        except (Exception, KeyboardInterrupt) as error:
            self.failed(error)


class Sources(Part):
    """Files, examples and the reference mask.

    Attributes:
        limit_bytes: Largest file; the browser sends none that is larger.
        suffixes: Of the names of files that a visitor is offered first; what is taken, their content decides.
        examples: {"name", "title", "picture": PNG} each.
        slice, reference: {"name", "details", "notes"} of what is loaded, or empty.
    """

    _esm, _css = _source("dom.js", "sources.js"), _source("sources.css")

    limit_bytes = _shared(Int())
    suffixes = _shared(List(list(IMAGE_SUFFIXES)))
    examples = _shared(List())
    slice = _shared(Dict())
    reference = _shared(Dict())


class Controls(Part):
    """The networks, {"name", "label"} each, and the settings as in `DashboardState`.

    Attributes:
        changed: Whether a setting differs from the network's own.
    """

    _esm, _css = _source("dom.js", "controls.js"), _source("controls.css")

    networks = _shared(List())
    network = _shared(Unicode())
    side_by_side = _shared(Bool())
    threshold = _shared(Float())
    min_lesion = _shared(Float())
    unit = _shared(Unicode())
    fill_holes = _shared(Bool())
    opacity = _shared(Float())
    changed = _shared(Bool())


class Stage(Part):
    """The pictures, each a PNG file; those that depend on a network are lists, one a network shown.

    Attributes:
        number: Of the slice, so that a new one is told from the same anew.
        channels: Names of what can be shown.
        view: Which picture is large.
        networks: Labels of the networks shown.
        size: Width and height of the slice, px.
        gates: For each network a list, coarsest gate first.
        outlines: For each network, for each lesion, the borders of its parts as [x, y, x, y, …].
    """

    _esm, _css = _source("dom.js", "zoom.js", "stage.js"), _source("stage.css")

    number = _shared(Int())
    channels = _shared(List())
    window = _shared(Float(WINDOW))
    level = _shared(Float(LEVEL))
    channel = _shared(Unicode())
    view = _shared(Unicode("overlay"))
    networks = _shared(List())
    size = _shared(Tuple(Int(), Int(), default_value=(1, 1)))
    original = _shared(Bytes())
    contrast = _shared(Bytes())
    heat = _shared(List())
    overlay = _shared(List())
    comparison = _shared(List())
    gates = _shared(List())
    outlines = _shared(List())
    selected = _pick()
    busy = _shared(Bool())


class Findings(Part):
    """The lesions, the agreement with a reference, and the download.

    Attributes:
        tables: {"network", "lesions", "more": how many are not listed} for each network shown.
        pixel_mm2: Area of a pixel; 0 where it is unknown, and then nothing is in mm.
        agreements: {"network", "dice", "hit", "extra", "missed"} each, where there is a reference.
    """

    _esm, _css = _source("dom.js", "findings.js"), _source("findings.css")

    tables = _shared(List())
    selected = _pick()
    agreements = _shared(List())
    pixel_mm2 = _shared(Float())


class Page(Part):
    """The frame around the parts.

    Attributes:
        message: What is wrong, in one sentence, or nothing.
        about: {"label", "data", "licence", "score", "caution"} of each network shown.
    """

    _esm, _css = _source("dom.js", "page.js"), _source("page.css")

    sources = _shared(WidgetTrait())
    controls = _shared(WidgetTrait())
    stage = _shared(WidgetTrait())
    findings = _shared(WidgetTrait())
    message = _shared(Unicode())
    about = _shared(List())


class Inbox:
    """Puts together the pieces that files arrive in; a newer file takes the place of an unfinished one."""

    def __init__(self, limit_bytes: int):
        self._limit = limit_bytes
        self._upload: int | None = None
        self._data = bytearray()

    def add(self, piece: dict, data: bytes) -> bytes | None:
        """Takes one piece: {"upload": its number, "name", "start": offset, "size": of the whole file}.

        Returns:
            The file when it is whole, else None.

        Raises:
            Refused: The file is too large, whatever the browser thought of it.
        """
        if piece["start"] == 0:
            self._upload, self._data = piece["upload"], bytearray()
        if piece["upload"] != self._upload or piece["start"] != len(self._data):
            return None  # of a file that a newer one has replaced
        if max(piece["size"], len(self._data) + len(data)) > self._limit:
            self._upload = None
            raise too_large(piece["name"])
        self._data += data
        if len(self._data) < piece["size"]:
            return None
        whole, self._upload, self._data = bytes(self._data), None, bytearray()
        return whole
