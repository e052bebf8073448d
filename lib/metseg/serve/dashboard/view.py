"""The dashboard as a widget: links the parts of the page to the state, and draws what has changed."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from traitlets import dlink, link

from metseg.base.errors import MetsegError
from metseg.data.volume import CHANNELS
from metseg.inference.predictor import Predictor
from metseg.release.released import offered_models
from metseg.serve.dashboard import drawing
from metseg.serve.dashboard.files import archive_name, result_archive
from metseg.serve.dashboard.pictures import ALL_CHANNELS
from metseg.serve.dashboard.state import DashboardState
from metseg.serve.dashboard.widgets import Controls, Findings, Inbox, Page, Part, Sources, Stage
from metseg.serve.faults import where
from metseg.serve.upload import MAX_UPLOAD_BYTES

_SETTINGS = ["threshold", "min_lesion", "fill_holes", "opacity"]
_log = logging.getLogger(__name__)


class Dashboard(Page):
    """The whole dashboard; a notebook shows it by naming it.

    Attributes:
        state: What it shows; a change there is drawn at once.
    """

    def __init__(self, released: Path | None = None, *, predictor: Callable[[Path], Predictor] = Predictor):
        """Makes the page; no network is loaded before it is in a browser.

        Args:
            released: Folder of the released models; what `metseg dashboard` offers if left out, else the
                checkout's own.
            predictor: What loads a model from its folder.

        Raises:
            MetsegError: There is no released model.
        """
        self.state = state = DashboardState(released or offered_models(), predictor=predictor)
        networks = [{"name": name, "label": state.label_of(name)} for name in state.models]
        super().__init__(
            sources=Sources(limit_bytes=MAX_UPLOAD_BYTES),
            controls=Controls(networks=networks),
            stage=Stage(channels=[*CHANNELS, ALL_CHANNELS]),
            findings=Findings(),
        )
        self._inboxes = {role: Inbox(MAX_UPLOAD_BYTES) for role in ("slice", "reference")}
        self._parts = self.stage, self.findings, self.sources, self.controls
        for part in (self, *self._parts):
            part.failed, part.received = self._tell, self._handle
        stage, shown = self.stage, ["channel", "window", "level"]
        for part, names in (
            (self.controls, ["network", "side_by_side", *_SETTINGS]),
            (stage, [*shown, "selected"]),
            (self.findings, ["selected"]),
        ):
            for name in names:
                link((state, name), (part, name))
        dlink((state, "busy"), (stage, "busy"))
        dlink((state, "unit"), (self.controls, "unit"))
        self._draw(self, drawing.about, ["network", "side_by_side"])
        self._draw(self.controls, drawing.changed, ["network", *_SETTINGS])
        self._draw(self.sources, drawing.file_names, ["upload", "file_name", "remarks", "reference_name"])
        self._draw(stage, drawing.slice_pictures, ["upload", "number", *shown])
        self._draw(stage, drawing.contrast_pictures, ["upload", "channel", "network"])
        self._draw(stage, drawing.heat_pictures, ["results"])
        self._draw(stage, drawing.mask_pictures, ["results", "reference", "opacity", *shown])
        self._draw(stage, self._gate_pictures, ["results", "channel"])
        self._draw(self.findings, drawing.findings, ["results", "reference"])
        stage.observe(lambda change: self._put(stage, self._gate_pictures(state)), "view")

    def _draw(self, part: Part, values: Callable[[DashboardState], dict], names: list[str]) -> None:
        """Gives a part its values, now and whenever one of these traits of the state changes."""
        self.state.observe(lambda change: self._put(part, values(self.state)), names)
        self._put(part, values(self.state))

    def _put(self, part: Part, values: dict) -> None:
        with part.hold_sync():
            for name, value in values.items():
                part.set_trait(name, value)

    def _gate_pictures(self, state: DashboardState) -> dict:
        """Gates take a run of the network, so only those who look at them wait for it."""
        return drawing.gate_pictures(state) if self.stage.view == "gates" else {"gates": []}

    def _tell(self, error: BaseException) -> None:
        """Says in the page what went wrong."""
        if isinstance(error, KeyboardInterrupt):
            return  # a kernel whose visitor has left is interrupted before it is ended
        self.message = str(error)
        if not isinstance(error, MetsegError):
            _log.error("the dashboard failed: %s", where(error))
            self.message = (
                "Something went wrong inside the dashboard. Try again; if it stays, reload the page."
            )

    def _handle(self, message: dict, buffers: list) -> None:
        """Does what a browser asks for."""
        match message["kind"]:
            case "ready":
                self.sources.examples = drawing.example_buttons()
                self.state.load_models()
            case "piece":
                self._take_piece(message, bytes(buffers[0]))
            case "example":
                with self._at_once():
                    self.state.open_example(message["name"])
            case "drop_reference":
                self.state.drop_reference()
            case "reset":
                self.state.reset_settings()
            case "reset window":
                with self.stage.hold_sync():
                    self.state.reset_window()
            case "download":
                self._send_archive()

    def _take_piece(self, piece: dict, data: bytes) -> None:
        try:
            whole = self._inboxes[piece["role"]].add(piece, data)
            if whole is not None:
                open_file = {"slice": self.state.open_slice, "reference": self.state.open_reference}
                with self._at_once():
                    open_file[piece["role"]](whole, piece["name"])
        finally:
            self.sources.send({"kind": "arrived", "upload": piece["upload"]})

    def _send_archive(self) -> None:
        try:
            content = result_archive(self.state)
        except Exception:
            self.findings.send({"kind": "no archive"})  # the page waits for an answer, and may ask again
            raise
        self.findings.send({"kind": "archive", "name": archive_name(self.state, content)}, [content])

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """Sends all that follows from a new file together; an older message is no longer true then."""
        with ExitStack() as stack:
            for part in self._parts:
                stack.enter_context(part.hold_sync())
            yield
            if self.stage.view == "comparison" and self.state.reference is None:
                self.stage.view = "overlay"  # a new slice has nothing to be compared with yet
        self.message = ""
