"""The networks that are offered, each loaded when it is first needed, and what they make of one slice."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.volume import Volume
from metseg.inference.predictor import Predictor
from metseg.masks.lesions import Lesion, measure_lesions
from metseg.masks.postprocess import Postprocessing, postprocess
from metseg.release.released import described_models, released_models
from metseg.serve.faults import where

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class NetworkResult:
    """What one network and the settings make of a slice.

    Attributes:
        network: Its name.
        settings: What made the mask of the probabilities.
        prob_map: (H, W) float32.
        mask: (H, W) bool.
        lesions: Largest first.
        numbers: (H, W) int32, the number of the lesion in each pixel, 0 outside.
        notes: How the slice is unlike those that the network learned from.
    """

    network: str
    settings: Postprocessing
    prob_map: np.ndarray
    mask: np.ndarray
    lesions: list[Lesion]
    numbers: np.ndarray
    notes: tuple[str, ...] = ()

    def agreement(self, reference: np.ndarray) -> dict:
        """Returns `agreement` of the mask with a reference."""
        return agreement(self.mask, reference)


def agreement(mask: np.ndarray, reference: np.ndarray) -> dict:
    """Returns `dice`, None where mask and reference are both empty: it means nothing there; and how many
    pixels or voxels are `hit` (in both), `extra` (in the mask alone) and `missed`."""
    parts = mask & reference, mask & ~reference, reference & ~mask
    hit, extra, missed = (int(np.count_nonzero(part)) for part in parts)
    total = 2 * hit + extra + missed
    return {"dice": 2 * hit / total if total else None, "hit": hit, "extra": extra, "missed": missed}


class Networks:
    """Runs no network twice for one slice.

    Attributes:
        models: {name: description}, the best one first.
    """

    def __init__(self, released: Path | Mapping[str, Path], load: Callable[[Path], Predictor]):
        """Knows the models, and loads none of them yet.

        Args:
            released: The released models' folder; or {name: folder of an exported model}, the default first.
            load: What loads a model from its folder.

        Raises:
            MetsegError: There is none.
        """
        if isinstance(released, Mapping):
            self.models, self._folders = described_models(released), dict(released)
        else:
            self.models = released_models(released)
            self._folders = {name: Path(released) / name for name in self.models}
        self._load = load
        self._predictors: dict[str, Predictor] = {}
        self._volume: Volume | None = None
        self._found: dict[str, tuple[np.ndarray, list[str]]] = {}
        self._gates: dict[str, list[np.ndarray]] = {}

    def warm_up(self, name: str) -> None:
        """Loads a network and runs it once, so that the first slice need not wait for it."""
        self.predictor(name).prob_map(Volume(np.zeros((3, 1, 32, 32), np.uint8)))

    def open(self, volume: Volume, names: Sequence[str]) -> None:
        """Takes a slice, a volume of one, in the place of the last, if these networks can run on it."""
        found = {name: self._run(name, volume) for name in names}
        self._volume, self._found, self._gates = volume, found, {}

    def have_run(self, names: Sequence[str]) -> bool:
        """Tells whether these networks have seen the slice."""
        return set(names) <= set(self._found)

    def run(self, names: Sequence[str]) -> None:
        """Runs on the slice those of these networks that have not seen it."""
        for name in names:
            if name not in self._found:
                self._found[name] = self._run(name, self._volume)

    def _run(self, name: str, volume: Volume) -> tuple[np.ndarray, list[str]]:
        """Returns the (H, W) probabilities of a slice, of whatever, and how it is unlike the training's."""
        prob_map, notes = self.predictor(name).trusted_map(volume, "The slice", trust_anyway=True)
        return prob_map[0], notes

    def result(self, name: str, settings: Postprocessing) -> NetworkResult:
        """Returns what a network that has run and the settings make of the slice."""
        prob_map, notes = self._found[name]
        mask = postprocess(prob_map, settings)
        measured = measure_lesions(mask, prob_map, spacing_mm=self._volume.spacing_mm)
        return NetworkResult(name, settings, prob_map, mask, *measured, tuple(notes))

    def gates(self, name: str) -> list[np.ndarray]:
        """Returns the (H, W) gate maps of the slice, coarsest first; nothing where there are none."""
        if name not in self._gates:
            self._gates[name] = self.predictor(name).gate_maps(self._volume)
        return self._gates[name]

    def predictor(self, name: str) -> Predictor:
        """Returns a network, loaded when it is first asked for."""
        if name not in self._predictors:
            try:
                self._predictors[name] = self._load(self._folders[name])
            except (MetsegError, OSError) as error:  # its text names a path of the server
                _log.error("the dashboard failed: %s", where(error))
                told = "This network cannot be loaded; tell whoever runs the server."
                raise MetsegError(told) from error
        return self._predictors[name]
