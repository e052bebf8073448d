"""The dashboard as a widget: the state in common with a browser, and what the page shows of it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from anywidget import AnyWidget
from traitlets import Bool, Bytes, Dict, Float, Int, List, Tuple, Unicode

from metseg.base.errors import MetsegError, interrupted
from metseg.data.volume import CHANNELS
from metseg.inference.predictor import Predictor
from metseg.release.released import offered_models
from metseg.serve.dashboard import drawing
from metseg.serve.dashboard.arriving import Arriving
from metseg.serve.dashboard.files import result_archive
from metseg.serve.dashboard.pictures import ALL_CHANNELS
from metseg.serve.dashboard.server_scans import ServerScans
from metseg.serve.dashboard.state import DashboardState, shared
from metseg.serve.dashboard.visits import VisitsPart
from metseg.serve.faults import where
from metseg.serve.upload import MAX_UPLOAD_BYTES, Refused
from metseg.serve.volume_upload import MAX_VOLUME_BYTES, is_volume

_FRONTEND = Path(__file__).with_name("frontend")
_PARTS = ("sources", "server_scans", "controls", "stage", "findings", "volume", "visits")
_SETTINGS = ["threshold", "min_lesion", "fill_holes", "opacity"]
_log = logging.getLogger(__name__)


def _source(name: str) -> str:
    return (_FRONTEND / name).read_text(encoding="utf-8")


def _script() -> str:
    """Returns all scripts as one, for a widget's cannot import another file."""
    parts = [
        f"const render{n.title().replace('_', '')} = (() => {{\n{_source(f'{n}.js')}return render;\n}})();"
        for n in _PARTS
    ]
    return "\n".join([_source("dom.js"), _source("zoom.js"), *parts, _source("page.js")])


class Dashboard(ServerScans, VisitsPart, DashboardState, AnyWidget):
    """The whole dashboard; a notebook shows it by naming it.

    Pictures are PNG files; those that depend on a network are lists, one a network shown.

    Attributes:
        arrived: The last piece of a file that came: {"upload", "file": its place, "end": offset}. It is still
            true when a lost connection is back; a message would be lost.
        message: What is wrong, in one sentence, or nothing.
        about: {"label", "data", "licence", "score", "caution"} of each network shown.
        limit_bytes, volume_bytes: The most that a slice may have, and the files of a volume together.
        examples: {"name", "title", "picture": PNG} each.
        slice_file, reference_file: {"name", "details", "notes"} of what is loaded, or empty.
        choices: {"name", "label"} of each network.
        labels: Of the networks shown.
        size: Width and height of the slice, px.
        gates: For each network a list, coarsest gate first.
        outlines: For each network, for each lesion, the borders of its parts as [x, y, x, y, …].
        tables: {"network", "lesions", "more": how many are not listed} for each network shown.
        pixel_mm2: Area of a pixel; 0 where it is unknown, and then nothing is in mm.
        agreements: {"network", "dice", "hit", "extra", "missed"} each, where there is a reference.
    """

    _esm = _script()
    _css = "\n".join(_source(f"{name}.css") for name in ("page", *_PARTS))

    message = shared(Unicode())
    about = shared(List())
    limit_bytes = shared(Int(MAX_UPLOAD_BYTES))
    volume_bytes = shared(Int(MAX_VOLUME_BYTES))
    arrived = shared(Dict())
    examples = shared(List())
    slice_file = shared(Dict())
    reference_file = shared(Dict())
    choices = shared(List())
    changed = shared(Bool())
    channels = shared(List([*CHANNELS, ALL_CHANNELS]))
    labels = shared(List())
    size = shared(Tuple(Int(), Int(), default_value=(1, 1)))
    original = shared(Bytes())
    contrast = shared(Bytes())
    heat = shared(List())
    overlay = shared(List())
    comparison = shared(List())
    gates = shared(List())
    outlines = shared(List())
    tables = shared(List())
    pixel_mm2 = shared(Float())
    agreements = shared(List())

    def __init__(
        self,
        released: Path | None = None,
        *,
        predictor: Callable[[Path], Predictor] = Predictor,
        scans: Path | None = None,
    ):
        """Makes the page; no network is loaded before it is in a browser.

        Args:
            released: Folder of the released models; what `metseg dashboard` offers if left out, else the
                checkout's own.
            predictor: What loads a model from its folder.
            scans: A folder whose scans may be opened; what `metseg dashboard` offers if left out.

        Raises:
            MetsegError: There is no released model, or no such folder.
        """
        super().__init__(released or offered_models(), predictor=predictor, scans=scans)
        self.choices = [{"name": name, "label": self.label_of(name)} for name in self.models]
        self._arriving = Arriving()
        shades = ["channel", "window", "level"]
        self._draw(drawing.about, ["network", "side_by_side"])
        self._draw(drawing.changed, ["network", *_SETTINGS])
        self._draw(drawing.file_names, ["upload", "file_name", "remarks", "reference_name", "results"])
        self._draw(drawing.slice_pictures, ["upload", *shades])
        self._draw(drawing.contrast_pictures, ["upload", "channel", "network"])
        self._draw(drawing.heat_pictures, ["results"])
        self._draw(drawing.mask_pictures, ["results", "reference", "opacity", *shades])
        self._draw(drawing.gate_pictures, ["results", "channel", "view"])
        self._draw(drawing.findings, ["results", "reference"])

    def set_state(self, sync_data: dict) -> None:
        with self._telling():
            super().set_state(sync_data)

    def _handle_custom_msg(self, content: dict, buffers: list) -> None:
        with self._telling():
            self._handle(content, buffers)

    def _draw(self, values: Callable[[DashboardState], dict], names: list[str]) -> None:
        """Shows these values now and whenever one of these traits changes."""

        def put(change=None) -> None:
            with self.hold_sync():
                for name, value in values(self).items():
                    self.set_trait(name, value)

        self.observe(put, names)
        put()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Says in the page what goes wrong; ipywidgets would print a traceback that no page shows."""
        try:
            yield
        except MetsegError as error:
            self.message = str(error)
        except (Exception, KeyboardInterrupt) as error:
            if interrupted(error):
                return  # a kernel whose visitor has left is interrupted before it is ended
            _log.error("the dashboard failed: %s", where(error))
            self.message = (
                "Something went wrong inside the dashboard. Try again; if it stays, reload the page."
            )

    def _handle(self, message: dict, buffers: list) -> None:
        """Does what a browser asks for."""
        match message["kind"]:
            case "ready":
                self.examples = drawing.example_buttons()
                for network in self.shown:
                    self.networks.warm_up(network)
            case "piece":
                self._take_piece(message, bytes(buffers[0]))
            case "example":
                with self._at_once():
                    self.open_example(message["name"])
                    self.close_volume()
            case "drop_reference":
                self.drop_reference()
                self.drop_volume_reference()
            case "sequences":
                self.read_volume(message["told"], missing=bool(message["missing"]))
                self.message = ""
            case "look there":
                self.look_there(message["place"], message["find"])
            case "open there":
                self.open_there(message["place"], message["files"])
                self.message = ""
            case "keep visit":
                self.keep_visit()
            case "visits":
                self.choose_visits(**message["choices"])
            case "drop visit":
                self.drop_visit()
            case "go to change":
                self.go_to_change(int(message["row"]))
            case "reset":
                self.reset_settings()
            case "reset window":
                with self.hold_sync():
                    self.reset_window()
            case "download":
                self._send_archive()

    def _take_piece(self, piece: dict, data: bytes) -> None:
        try:
            files = self._arriving.take(
                piece, data, slice_bytes=self.limit_bytes, all_bytes=self.volume_bytes
            )
        finally:
            end = piece["start"] + len(data)
            self.arrived = {"upload": piece["upload"], "file": piece.get("file", 0), "end": end}
        if files:
            self._open(files, piece["role"])

    def _open(self, files: list[tuple[str, bytes]], role: str) -> None:
        """Opens what has arrived: a volume, a slice, or the reference mask of what is shown."""
        (name, content), *others = files
        if role == "reference":
            open_reference = self.open_volume_reference if self.volume else self.open_reference
            with self._at_once():
                open_reference(content, name)
        elif role == "visit":
            self.add_visit(files)
            self.message = ""
        elif is_volume(files):
            self.open_volume(files)
            self.message = ""
        elif others:
            raise Refused(
                "several_files", "One slice at a time: drop a single file, or the files of a volume."
            )
        else:
            with self._at_once():
                self.open_slice(content, name)
                self.close_volume()

    def _send_archive(self) -> None:
        try:
            name, content = self.volume_archive() if self.volume else result_archive(self)
        except Exception:
            self.send({"kind": "no archive"})  # the page waits for an answer, and may ask again
            raise
        self.send({"kind": "archive", "name": name}, [content])

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """Sends all that follows from a new file together; an older message is no longer true then."""
        with self.hold_sync():
            yield
            if self.view == "comparison" and self.reference is None:
                self.view = "overlay"  # a new slice has nothing to be compared with yet
            self.message = ""
