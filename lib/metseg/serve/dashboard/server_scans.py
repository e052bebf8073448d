"""Scans on the server's disk, in a dashboard whose host allows a folder of them."""

from collections.abc import Sequence
from pathlib import Path

from traitlets import Dict, HasTraits

from metseg.serve.dashboard.state import shared
from metseg.serve.scan_folder import ScanFolder


class ServerScans(HasTraits):
    """The chooser of a dashboard, which has `open_volume` as well.

    Attributes:
        there: The place that the visitor looks at, as `ScanFolder.listing` tells it, with "listed": whether
            it was asked for yet; empty where the host allows no folder.
    """

    there = shared(Dict())

    def __init__(self, *args, scans: Path | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self._scans = ScanFolder(scans) if scans else ScanFolder.offered()
        if self._scans:
            self.there = {"place": "", "find": "", "folders": [], "scans": [], "more": False, "listed": False}

    def look_there(self, place: str, find: str) -> None:
        """Lists a place of the allowed folder."""
        if self._scans:
            self.there = {**self._scans.listing(str(place), str(find)), "listed": True}

    def open_there(self, place: str, names: Sequence[str]) -> None:
        """Opens a scan of the allowed folder, by the same checks as an upload."""
        if self._scans:
            files = self._scans.files(str(place), [str(name) for name in names])
            name = files[0][0] if len(files) == 1 else f"{len(files)} files of {place or 'the server'}"
            self.open_volume([], there=files, name=name)
