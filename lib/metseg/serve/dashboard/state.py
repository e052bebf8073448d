"""What the dashboard knows: a slice, the choices made, and what follows from them. No widget, no browser."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from traitlets import (
    Bool,
    Enum,
    Float,
    HasTraits,
    Instance,
    Int,
    TraitError,
    TraitType,
    Tuple,
    Unicode,
    observe,
    validate,
)

from metseg.base.errors import MetsegError
from metseg.base.labels import label_of
from metseg.data.own_results import complain_if_result
from metseg.data.volume import CHANNELS
from metseg.inference.predictor import Predictor
from metseg.masks.lesions import least_pixels
from metseg.masks.postprocess import Postprocessing
from metseg.release.released import Scan, fitting
from metseg.serve.dashboard.networks import Networks
from metseg.serve.dashboard.pictures import ALL_CHANNELS, channel_picture, windowed
from metseg.serve.examples import EXAMPLES, load_example
from metseg.serve.upload import Upload, read_reference, read_upload

OPACITY = 0.35
WINDOW, LEVEL = 255.0, 127.5  # all grey values, as they are


def shared(trait: TraitType) -> TraitType:
    """Marks a trait as one that a widget has in common with the page in the browser."""
    return trait.tag(sync=True, echo_update=False)


class DashboardState(HasTraits):
    """The dashboard without its looks; whoever shows it observes the traits.

    A change of `network`, `side_by_side` or the slice runs networks that have not seen the slice; a change of
    a setting runs none. Methods raise `MetsegError` and then leave everything as it was.

    Attributes:
        network: The network chosen; until a visitor chooses, the one that fits a slice, or a volume.
        threshold, fill_holes: The settings of `Postprocessing`.
        min_lesion, unit: Its smallest lesion: mm² where the slice tells the size of its pixels, else px.
        view: Which picture is large.
        channel: What the masks are drawn on.
        window, level: Grey values from black to white, and the one in their middle; for the eye alone.
        upload, file_name, number: The slice or None, what the visitor calls it, how many there were.
        remarks: A sentence for each thing to know of it that its file does not tell.
        reference, reference_name: (H, W) bool or None, and what the visitor calls it.
        results: A `NetworkResult` for each network shown.
        selected: Which result, from 0, and the number of the lesion picked in it; 0 for none.
        models: {name: description} of all networks, the best one first.
    """

    network = shared(Unicode())
    side_by_side = shared(Bool(False))
    threshold = shared(Float(0.5, min=0.01, max=0.99))
    min_lesion = shared(Float(0, min=0))
    unit = shared(Enum(["px", "mm²"], "px"))
    fill_holes = shared(Bool(False))
    view = shared(Unicode("overlay"))
    channel = shared(Enum([*CHANNELS, ALL_CHANNELS], "FLAIR"))
    opacity = shared(Float(OPACITY, min=0, max=1))
    window = shared(Float(WINDOW, min=1, max=2 * WINDOW))
    level = shared(Float(LEVEL, min=0, max=WINDOW))
    number = shared(Int(0))
    selected = shared(Tuple(Int(), Int(), default_value=(0, 0)))
    busy = shared(Bool(False))
    upload = Instance(Upload, allow_none=True)
    file_name = Unicode()
    remarks = Tuple()
    reference = Instance(np.ndarray, allow_none=True)
    reference_name = Unicode()
    results = Tuple()

    def __init__(
        self, released: Path | Mapping[str, Path], *, predictor: Callable[[Path], Predictor] = Predictor
    ):
        """Knows the models and loads none of them yet; the arguments are those of `Networks`."""
        self.networks = Networks(released, predictor)
        self.models = self.networks.models
        self._by_rule = fitting(self.models, "slice")[0]
        super().__init__(network=self._by_rule)
        self.reset_settings()

    @property
    def shown(self) -> list[str]:
        """The networks shown, the chosen one first."""
        return self._shown_with(self.network)

    def take_fitting(self, scan: Scan) -> None:
        """Chooses the network that fits a slice, or a volume, unless a visitor has chosen another."""
        if (network := self._fitting(scan)) != self.network:
            self.network = self._by_rule = network
            self.reset_settings()

    @property
    def defaults(self) -> Postprocessing:
        """The chosen network's own settings."""
        return Postprocessing(**self.models[self.network]["postprocessing"])

    @property
    def settings(self) -> Postprocessing:
        names = ("min_lesion_px", "fill_holes")
        extended = self.defaults.extending_from(self.threshold)
        return extended.model_copy(update={name: getattr(self, name) for name in names})

    @property
    def min_lesion_px(self) -> int:
        """The fewest pixels of the slice that are a lesion."""
        spacing_mm = self.upload and self.upload.spacing_mm
        return round(self.min_lesion) if spacing_mm is None else least_pixels(self.min_lesion, spacing_mm)

    def label_of(self, network: str) -> str:
        """Returns a network's name as papers write it, with its encoder's."""
        return label_of(network, self.models[network].get("encoder", "plain"))

    def picture(self) -> np.ndarray:
        """Returns what the masks are drawn on: (H, W) or (H, W, 3) uint8."""
        return windowed(channel_picture(self.upload.image, self.channel), self.window, self.level)

    def reset_settings(self) -> None:
        """Takes back the network's own settings and the usual opacity."""
        with self.hold_trait_notifications():
            self.opacity, self.threshold = OPACITY, self.defaults.threshold
            self.fill_holes = self.defaults.fill_holes
            self.min_lesion = _size(self.defaults.min_lesion_px, self.upload)

    def reset_window(self) -> None:
        """Shows grey values as they are."""
        self.window, self.level = WINDOW, LEVEL

    def open_slice(self, data: bytes, name: str) -> None:
        """Reads and segments an uploaded slice."""
        self._show(read_upload(data, name), name)

    def open_example(self, name: str) -> None:
        """Segments an example; its drawn lesions are the reference."""
        upload, mask = load_example(name)
        with self.hold_trait_notifications():
            self._show(upload, f"{name} (example)")
            self.remarks = (EXAMPLES[name].about, *self.remarks)
            self.reference, self.reference_name = mask, "as drawn"

    def open_reference(self, data: bytes, name: str) -> None:
        """Reads a reference mask of the slice."""
        if self.upload is None:
            raise MetsegError("there is no slice that a reference mask could belong to; open a slice first")
        complain_if_result(data, name)
        self.reference, self.reference_name = read_reference(data, name, self.upload.image.shape[:2]), name

    def drop_reference(self) -> None:
        self.reference, self.reference_name = None, ""

    def close_slice(self) -> None:
        """Forgets the slice."""
        with self.hold_trait_notifications():
            self.upload, self.results, self.remarks = None, (), ()
            self.drop_reference()

    def _show(self, upload: Upload, name: str) -> None:
        with self._at_work():
            self.networks.open(upload.volume, self._shown_with(self._fitting("slice")))
        with self.hold_trait_notifications():
            self.take_fitting("slice")
            own = self.min_lesion_px == self.defaults.min_lesion_px
            unit = "px" if upload.spacing_mm is None else "mm²"
            told = f"It is measured in {unit}: the smallest lesion is the network's own, no longer "
            told += f"{self.min_lesion:.5g} {self.unit}."
            self.remarks = () if own or unit == self.unit else (told,)
            if own or unit != self.unit:
                self.unit, self.min_lesion = unit, _size(self.defaults.min_lesion_px, upload)
            self.upload, self.file_name = upload, name
            self.number += 1
            self.reset_window()
            self.drop_reference()
            self._take_results()

    def _fitting(self, scan: Scan) -> str:
        return fitting(self.models, scan)[0] if self.network == self._by_rule else self.network

    def _shown_with(self, network: str) -> list[str]:
        others = [name for name, known in self.models.items() if not known.get("patch_size")]
        return [network, *(name for name in others if self.side_by_side and name != network)]

    @validate("network")
    def _is_released(self, proposal) -> str:
        if proposal.value not in self.models:
            raise TraitError(f"no released network is called {proposal.value!r}")
        return proposal.value

    @observe("network")
    def _take_its_settings(self, change) -> None:
        self.reset_settings()
        self._segment()

    @observe("side_by_side", "threshold", "min_lesion", "fill_holes")
    def _segment(self, change=None) -> None:
        made_of = [(each.network, each.settings) for each in self.results]
        if self.upload is None or made_of == [(network, self.settings) for network in self.shown]:
            return  # a reset changes several settings at once
        if not self.networks.have_run(self.shown):
            self.results = ()  # if the network cannot run, nothing of another is shown as its own
            with self._at_work():
                self.networks.run(self.shown)
        with self.hold_trait_notifications():
            self._take_results()

    def _take_results(self) -> None:
        self.results = tuple(self.networks.result(network, self.settings) for network in self.shown)
        self.selected = (0, 0)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self.busy = True
        try:
            yield
        finally:
            self.busy = False


def _size(pixels: int, upload: Upload | None) -> float:
    """Returns so many pixels in the unit of a slice: px or mm²."""
    spacing_mm = upload and upload.spacing_mm
    return float(pixels) if spacing_mm is None else pixels * spacing_mm[1] * spacing_mm[2]
