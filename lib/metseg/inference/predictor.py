"""A scan in, a probability map and a mask out: no TensorFlow, no Keras."""

import copy
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np

from metseg.base.hardware import cores
from metseg.data.volume import Volume
from metseg.inference.description import open_exported
from metseg.inference.incomplete import missing_key
from metseg.inference.network import Network
from metseg.inference.operating_points import MaskSettings
from metseg.inference.trust import UNKNOWN, measure
from metseg.masks.postprocess import volume_mask
from metseg.masks.regions import region_for, region_masks


class Predictor:
    """Segments volumes with an exported model.

    Attributes:
        description: The whole of `model.json`.
        name, preprocessing, postprocessing, tta_flip, min_volume_share: Of it; of a volume, `mask` drops
            lesions smaller than this share of the largest.
        targets: The regions that it tells apart; `prob_map`, `mask` and all scores are of the first.
        operating_points, lesion_calibration: What it found of validation volumes; None where nothing tells.
            These and `postprocessing` are of scans without the sequences in `missing`, see `doing_without`.
        trust: What the scans were like that it learned from; None where it does not tell.
        patch_size: (z, y, x) of the patches by which a network of volumes sees them; None of one of slices.
        network: What runs.
        precision: What the network computes in: the model's choice where it is native, else `fp32`.
        library: What computes it.
        onnx: The file that runs: `model.int8.onnx` in int8, else `model.onnx`.
        sha256: Its hash.
    """

    def __init__(self, model_dir: Path, *, threads: int | None = None):
        """Loads an exported model; see `open_exported` for what it refuses.

        Args:
            model_dir: Folder of an exported model.
            threads: Slices, or patches, of a volume that one call segments at once, each on a core of its
                own; all cores if left out. But for 1, a slice alone takes all of them, unless another call is
                at work.
        """
        found = open_exported(model_dir)
        known, self.description = found.known, found.description
        self.onnx, self.sha256, self.name = found.onnx, found.sha256, known.name
        self.preprocessing = known.preprocessing
        self.tta_flip, self.min_volume_share = known.tta_flip, known.min_volume_share
        complete = MaskSettings(**{name: getattr(known, name) for name in MaskSettings.model_fields})
        self._settings, self._at_most = {"": complete, **known.without_sequences}, None
        self._take(())
        self.targets = tuple(known.targets or [known.target or "lesion"])
        self.trust, self.patch_size = known.trust, known.patch_size
        about = {"name": self.name, "patch_size": self.patch_size, "threads": threads or cores()}
        self.network = Network(found.engine, self.preprocessing, **about)
        self.library, self.precision = found.engine.library, found.engine.precision

    def doing_without(self, missing: Collection[str]) -> "Predictor":
        """Returns this network with its settings for scans that lack these sequences.

        What stands in for them makes its probabilities others. Where validation did not tell which settings
        suit them, they are those of complete scans, with no operating points.

        Raises:
            MetsegError: As by `within`, if so many false positives were asked for.
        """
        other = copy.copy(self)
        other._take(missing)
        return other

    def within(self, false_positives_per_scan: float) -> "Predictor":
        """Returns this network at the operating point with at most so many false positives a scan.

        Raises:
            MetsegError: There are no operating points of such scans, or none with so few.
        """
        other = copy.copy(self)
        other._at_most = false_positives_per_scan
        other._take(self.missing)
        return other

    def _take(self, missing: Collection[str]) -> None:
        unknown = MaskSettings(postprocessing=self._settings[""].postprocessing)
        chosen = self._settings.get(missing_key(missing), unknown)
        if self._at_most is not None:
            name = f"{self.name} without {' and '.join(missing)}" if missing else self.name
            chosen = chosen.within(self._at_most, name)
        self.missing, self.postprocessing = tuple(missing), chosen.postprocessing
        self.operating_points, self.lesion_calibration = chosen.operating_points, chosen.lesion_calibration

    def prob_map(
        self,
        volume: Volume,
        *,
        tta_flip: bool | None = None,
        look: Callable[[np.ndarray], None] | None = None,
    ) -> np.ndarray:
        """Returns the lesion probability of each voxel; of several regions that of the main one.

        Args:
            volume: A scan of any size, uint8 with the channels of `SEQUENCES`; a slice is a volume of one.
            tta_flip: Average with the mirrored slices, for twice the time; the model's own choice if left
                out.
            look: Called with (Z, S, S, 3), what the network is to see, before it runs.

        Returns:
            (Z, Y, X) float32 in [0, 1], on the volume's grid. A slice alone gets the same result as within
            its volume, unless `Preprocessing` looks at the volume as well.

        Raises:
            MetsegError: The volume is of another type or has other channels, or is a slice alone and the
                network one of volumes.
        """
        return self._maps(volume, 1, tta_flip, look)[0]

    def prob_maps(
        self,
        volume: Volume,
        *,
        tta_flip: bool | None = None,
        look: Callable[[np.ndarray], None] | None = None,
    ) -> dict[str, np.ndarray]:
        """Returns {region: its `prob_map`}, the main one first, for the time of one."""
        maps = self._maps(volume, len(self.targets), tta_flip, look)
        return dict(zip(self.targets, maps, strict=True))

    def _maps(
        self, volume: Volume, count: int, tta_flip: bool | None, look: Callable[[np.ndarray], None] | None
    ) -> np.ndarray:
        flipped = self.tta_flip if tta_flip is None else tta_flip
        return self.network.prob_maps(volume, count, tta_flip=flipped, look=look)

    def trusted_maps(
        self, volume: Volume, name: str, *, tta_flip: bool | None = None, trust_anyway: bool = False
    ) -> tuple[dict[str, np.ndarray], list[str]]:
        """Returns the `prob_maps`, and a sentence on each way in which the scan is unlike the training's.

        Args:
            volume, tta_flip: As there.
            name: What to call the scan in an error.
            trust_anyway: Segment whatever it is; why it would be refused is the first of the sentences.

        Raises:
            Untrusted: A mask would mean nothing; the network did not run.
            MetsegError: As by `prob_map`.
        """
        if self.trust is None:
            return self.prob_maps(volume, tta_flip=tta_flip), [UNKNOWN]
        notes = []

        def look(slices: np.ndarray) -> None:
            how = {"oriented": volume.affine is not None, "trust_anyway": trust_anyway}
            notes.extend(self.trust.notes_on(measure(volume, slices), name, **how))

        return self.prob_maps(volume, tta_flip=tta_flip, look=look), notes

    def trusted_map(self, volume: Volume, name: str, **how) -> tuple[np.ndarray, list[str]]:
        """Returns the main one of the `trusted_maps`, and their sentences."""
        maps, notes = self.trusted_maps(volume, name, **how)
        return maps[self.targets[0]], notes

    def gate_maps(self, volume: Volume, z: int = 0) -> list[np.ndarray]:
        """Returns where the attention gates let features of slice `z` pass, coarsest gate first.

        For each gate (Y, X) float32 in [0, 1], on the grid of the slice; nothing for other networks.
        """
        return self.network.gate_maps(volume, z)

    def mask(self, volume: Volume) -> np.ndarray:
        """Returns which voxels are lesion by the model's own postprocessing, (Z, Y, X) bool."""
        return self.mask_of(self.prob_map(volume))

    def masks(self, volume: Volume) -> dict[str, np.ndarray]:
        """Returns {region: its mask}, the main one first; see `masks_of`."""
        return self.masks_of(self.prob_maps(volume))

    def found_as(self, volume: Volume, wanted: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns `prob_map` and mask of the region that is held against a reference, see `region_for`."""
        name = region_for(wanted, self.targets)
        if name == self.targets[0]:
            prob_map = self.prob_map(volume)
            return prob_map, self.mask_of(prob_map)
        maps = self.prob_maps(volume)
        return maps[name], self.masks_of(maps)[name]

    def mask_of(self, prob_map: np.ndarray) -> np.ndarray:
        """Returns the mask that belongs to a `prob_map`; a slice alone has nothing to be small beside."""
        return volume_mask(prob_map, self.postprocessing, self.min_volume_share)

    def masks_of(self, prob_maps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the masks that belong to `prob_maps`, `nested`; the main one is that of `mask_of`."""
        return region_masks(prob_maps, self.postprocessing, self.min_volume_share)
