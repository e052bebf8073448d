"""An uploaded volume in the dashboard: its scan, what a network finds in it, and the viewer that shows it.

What reads volumes, shows them and writes reports is imported when the first one comes, for the page is there
sooner without.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from anywidget import WidgetTrait
from traitlets import Dict, HasTraits, Unicode

from metseg.base.errors import MetsegError
from metseg.data.own_results import complain_if_result
from metseg.data.volume import SEQUENCES
from metseg.serve.dashboard.networks import Networks, agreement
from metseg.serve.dashboard.state import shared
from metseg.serve.scan_folder import ServerFile
from metseg.serve.unpacking import SentFile

if TYPE_CHECKING:
    from metseg.data.scan_inputs import OpenScan
    from metseg.inference.predictor import Predictor
    from metseg.reports.results import Segmented

_SIGN_SECONDS = 2.0  # a page takes a kernel that is silent for long for lost
_Made = TypeVar("_Made")


class VolumePart(HasTraits):
    """The volume of a dashboard, which has `networks`, `network`, `upload`, `take_fitting`, `close_slice` and
    `send` as well.

    Attributes:
        volume: Of the upload {"name", "details", "notes", "parts": [{"key", "name", "sequence"}], "told":
            {sequence: key}, "missing": whether another may stand in, "dicom": whether it is, "cautions": on
            the mask}; "details" is empty while there is no mask of the scan. Empty without a volume.
        viewer: What shows it; None before the first.
        volume_reference: Of the reference {"name", "notes", "dice", "hit", "extra", "missed", "voxel_mm3"},
            counted in voxels; empty without.
        working: What is being done, as a sentence; empty when nothing is.
    """

    volume = shared(Dict())
    viewer = shared(WidgetTrait())
    volume_reference = shared(Dict())
    working = shared(Unicode())
    networks: Networks
    network: str

    def __init__(self, *args, **kwargs):
        self._upload = self._found = self._reference = self._compared = None
        super().__init__(*args, **kwargs)
        self.observe(self._segment_volume, "network")

    def open_volume(
        self, files: Sequence[SentFile], *, there: Sequence[ServerFile] = (), name: str = ""
    ) -> None:
        """Takes files for one scan, in the place of the last, and segments it.

        Args:
            files: As they were sent.
            there: Those that lie on the server.
            name: What to call them together; found if left out.
        """
        from metseg.serve.volume_upload import VolumeUpload

        upload = self._at("Reading the files …", lambda: VolumeUpload(files, there=there))
        try:
            parts = [each._asdict() for each in upload.parts]
        except BaseException:
            upload.close()
            raise
        self.close_volume()
        self.close_slice()
        self.take_fitting("volume")
        self._upload = upload
        name = name or (files[0][0] if len(files) == 1 else f"{len(files)} files")
        self.volume = {"name": name, "details": "", "notes": [], "parts": parts, "told": {}, "missing": False}
        self.read_volume({}, missing=False)

    def read_volume(self, told: Mapping[str, str], *, missing: bool) -> None:
        """Reads the scan with the sequences that the visitor tells, and segments it.

        Args:
            told: {sequence: key of a part}.
            missing: Let FLAIR, or else t1c, stand in for a sequence that is missing.
        """
        if self._upload is None:
            return  # a page may ask twice
        told = {sequence: key for sequence, key in told.items() if sequence in SEQUENCES and key}
        self._drop_found()
        self.volume = {**self.volume, "told": told, "missing": missing, "details": "", "notes": []}
        read = lambda: self._upload.open(told, allow_missing=missing)  # noqa: E731
        scan = self._at("Reading the scan …", read)
        self._segment_volume(scan=scan)
        sides = " × ".join(map(str, scan.scan.stored.grid[::-1]))
        spacing = scan.scan.stored.spacing_mm
        size = (
            " × ".join(f"{step:.3g}" for step in spacing[::-1]) + "\u00a0mm" if spacing else "of unknown size"
        )
        known = {"details": f"{sides} voxels, {size}", "notes": scan.scan.notes, "case": scan.case_id}
        self.volume = {**self.volume, **known, "dicom": scan.series is not None}
        if self._upload.reference and self._upload.reference[0] not in told.values():
            name, content = self._upload.reference
            self.open_volume_reference(content, name)

    def open_volume_reference(self, content: bytes, name: str) -> None:
        """Reads a reference mask of the scan, and compares it."""
        from metseg.serve.reference_volume import read_reference_volume

        if self._found is None:
            raise MetsegError(
                "there is no scan that a reference could belong to; say which part is which first"
            )
        complain_if_result(content, name)
        mask, notes = read_reference_volume(content, name, self._found.scan.scan.stored)
        self._reference = name, mask, notes
        self.viewer.compare(mask)
        self._compare()

    def drop_volume_reference(self) -> None:
        self._reference, self.volume_reference = None, {}
        if self.viewer is not None and self._found is not None:
            self.viewer.compare(None)

    def close_volume(self) -> None:
        """Forgets the volume, and removes what lies on the disk of it."""
        self._drop_found()
        if self._upload is not None:
            self._upload.close()
        self._upload, self.volume = None, {}

    def volume_archive(self) -> tuple[str, bytes]:
        """Returns what is found at the chosen threshold as a ZIP file: mask, report, of DICOM more."""
        from metseg.reports.result_paths import OF_DICOM
        from metseg.serve.volume_results import write_archive

        also = ["report", *(OF_DICOM if self._found.scan.series else ())]

        def make() -> tuple[str, bytes]:
            return write_archive(self._as_chosen(self._found), also, compared=self._compared)

        return self._at("Writing the report …", make)

    def _as_chosen(self, found: "Segmented") -> "Segmented":
        """Returns a scan with the mask that the chosen threshold makes."""
        from metseg.serve.volume_results import settings_at, with_settings

        if found.scan.scan.missing != self._found.scan.scan.missing:
            return found  # another visit; its probabilities are others, and so is its threshold
        predictor = self._predictor_for(found.scan)
        return with_settings(found, predictor, settings_at(predictor, self.viewer.threshold))

    def _predictor_for(self, scan: "OpenScan") -> "Predictor":
        """Returns the chosen network with its settings for a scan with these sequences."""
        return self.networks.predictor(self.network).doing_without(scan.scan.missing)

    def _segment_volume(self, change=None, scan=None) -> None:
        """Runs the chosen network on the scan and shows what it finds."""
        if scan is None and (self._found is None or self.upload):
            return  # a slice takes its place
        from metseg.reports.results import segment
        from metseg.serve.volume_results import mask_with, settings_at, threshold_choice

        scan = scan or self._found.scan
        predictor = self._predictor_for(scan)
        try:
            found = self._at("The network runs …", lambda: segment(scan, predictor, trust_anyway=True))
        except MetsegError:
            self._drop_found()  # what another network found is not this one's
            self.volume = {**self.volume, "details": "", "cautions": []}
            raise
        if self.viewer is None:
            from metseg.serve.dashboard.volume_viewer import VolumeViewer

            self.viewer = VolumeViewer()
            self.viewer.observe(self._compare, "measured_at")
            self.viewer.observe(self._tell_cautions, "measured_at")
        is_new = self._found is None
        self._found = found

        def mask_at(threshold: float) -> np.ndarray:
            self._mask = mask_with(found.prob_map, predictor, settings_at(predictor, threshold))
            return self._mask

        if is_new:
            self.viewer.show(scan.scan.volume)
        choice = threshold_choice(found, predictor)
        known = {"points": choice.points, "calibration": choice.calibration}
        self.viewer.mark_at(choice.first, mask_at, choice.prob_map, **known)
        self._tell_cautions()
        self._compare()

    def _tell_cautions(self, change=None) -> None:
        """Says what is to be known of the mask, by the threshold that it is made at."""
        from metseg.reports.large_dropped import large_dropped
        from metseg.serve.volume_results import settings_at

        found = self._found
        if found is None or not self.viewer.measured_at:
            return
        settings = settings_at(self._predictor_for(found.scan), self.viewer.measured_at)
        dropped = large_dropped(found.prob_map, settings, found.scan.scan.volume.spacing_mm)
        self.volume = {**self.volume, "cautions": [*dropped, *found.notes]}

    def _compare(self, change=None) -> None:
        if self._reference is None or self._found is None:
            return
        name, mask, notes = self._reference
        spacing = self._found.scan.scan.volume.spacing_mm
        told = {"name": name, "notes": notes, "voxel_mm3": float(np.prod(spacing)) if spacing else None}
        self.volume_reference = told | agreement(self._mask, mask)

    def _drop_found(self) -> None:
        self.drop_volume_reference()
        self._found = self._mask = None

    def _at(self, sentence: str, work: Callable[[], _Made]) -> _Made:
        """Does some work in a thread of its own while the page hears from time to time that it goes on."""
        self.working = sentence
        try:
            with ThreadPoolExecutor(1) as pool:
                done = pool.submit(work)
                while not wait([done], _SIGN_SECONDS).done:
                    self.send({"kind": "working"})
                return done.result()
        finally:
            self.working = ""
