"""Another visit of the patient beside the open one: kept or uploaded, and what changed between both."""

from collections.abc import Sequence

import numpy as np
from traitlets import Dict

from metseg.base.errors import MetsegError
from metseg.serve.dashboard.state import shared
from metseg.serve.dashboard.volume import VolumePart
from metseg.serve.unpacking import SentFile

_CHOICES = {"is_former": True, "same_patient": False, "register": False}


class VisitsPart(VolumePart):
    """The visits of a dashboard.

    Attributes:
        visits: Of the visit that is kept {"name", "details", "is_mask"}; "changes": what is told of both, see
            `_told`, None while there is nothing to compare; "problem": why there is nothing; and what the
            visitor says: "is_former", "same_patient", "register". Empty without a kept visit.
    """

    visits = shared(Dict())

    def __init__(self, *args, **kwargs):
        self._kept = self._kept_by = self._compared_of = None
        super().__init__(*args, **kwargs)

    def keep_visit(self) -> None:
        """Keeps the open scan, to be compared with the one that is opened next."""
        from metseg.serve.visits import KeptVisit

        if self._found is not None:
            self._keep(KeptVisit.of(self._found))

    def add_visit(self, files: Sequence[SentFile]) -> None:
        """Takes uploaded files for another visit: its scan, its mask, or the ZIP of its results."""
        from metseg.serve.visits import read_visit

        predictor = self.networks.predictor(self.network)
        self._keep(self._at("Reading the other visit …", lambda: read_visit(files, predictor)))

    def choose_visits(self, **choices: bool) -> None:
        """Takes what the visitor says of both visits; see `visits`."""
        if self._kept is not None:
            said = {name: bool(value) for name, value in choices.items() if name in _CHOICES}
            self.visits = {**self.visits, **said}
            self._compare_visits()

    def drop_visit(self) -> None:
        self._kept = self._compared = self._compared_of = None
        self.visits = {}

    def go_to_change(self, row: int) -> None:
        """Takes the crosshair to a lesion of the table, or to where one that is not there was or will be."""
        if self._compared is None or not 0 <= row < len(self._compared.changes.changes):
            return
        change = self._compared.changes.changes[row]
        is_last = self._compared.found[1].scan is self._found.scan
        here, there = (change.now, change.former) if is_last else (change.former, change.now)
        one, other = self._compared.found[is_last], self._compared.found[not is_last]
        if here:
            lesion = one.visit.lesions[here[0] - 1]
            self.viewer.go_to(lesion.centroid, lesion.number)
        elif one.visit.affine is not None and not self.visits["register"]:
            place = np.linalg.inv(one.visit.affine) @ other.visit.affine
            z, y, x = other.visit.lesions[there[0] - 1].centroid
            self.viewer.go_to((place @ [x, y, z, 1])[2::-1])

    def _keep(self, visit) -> None:
        self._kept, self._kept_by = visit, self.network
        count = len(visit.found.visit.lesions)
        details = [visit.patient or "nobody knows whose", f"{count} lesion{'s' * (count != 1)}"]
        self.visits = {
            "name": visit.name,
            "details": " · ".join(details),
            "is_mask": visit.is_mask,
            **_CHOICES,
        }
        self._compare_visits()

    def _compare(self, change=None) -> None:
        super()._compare(change)
        self._compare_visits()

    def _drop_found(self) -> None:
        super()._drop_found()
        self._compare_visits()

    def _compare_visits(self) -> None:
        """Compares the open scan with the kept visit, both at the chosen threshold of the chosen network."""
        if self._kept is None or self._made_of() == self._compared_of:
            return
        self._compared, told, problem = None, None, ""
        if self._found is not None and self._found.scan is not self._kept.found.scan:
            try:
                told = self._at("Comparing the visits …", self._told)
            except MetsegError as error:
                problem = str(error)
        self.visits = {**self.visits, "changes": told, "problem": problem[:1].upper() + problem[1:]}
        self._compared_of = self._made_of()

    def _made_of(self) -> tuple:
        """Returns what a comparison depends on; after a new scan it is asked for twice."""
        threshold = self.viewer.threshold if self.viewer else None
        return id(self._found), id(self._kept), threshold, *(self.visits.get(name) for name in _CHOICES)

    def _told(self) -> dict:
        """Returns what is told of both visits.

        {"earlier", "later": names, "open_is_later", "order": what tells it, "is_dated": whether dates do,
        "doubt": why it may be two people, "rows", "category", "reasons", "sums", "cautions", "notes": how
        the kept one was read}; no rows and nothing after them until the visitor says that it is one person.
        """
        from metseg.reports.rano_bm import IMAGING_PART
        from metseg.reports.results import segment
        from metseg.serve import visits

        kept = self._kept
        if kept.found.prob_map is not None:
            if self._kept_by != self.network:
                predictor = self.networks.predictor(self.network)
                again = segment(kept.found.scan, predictor, trust_anyway=True)
                kept = self._kept = kept._replace(found=again)
                self._kept_by = self.network
            kept = kept._replace(found=self._as_chosen(kept.found))
        now = visits.KeptVisit.of(self._as_chosen(self._found))
        pair, order = visits.in_order(kept, now, is_former=self.visits["is_former"])
        told = {
            "earlier": pair[0].name,
            "later": pair[1].name,
            "open_is_later": pair[1] is now,
            "order": order,
            "is_dated": bool(kept.date and now.date and kept.date != now.date),
            "doubt": visits.doubt_of(*pair),
        }
        if told["doubt"] and not self.visits["same_patient"]:
            return told
        compared = visits.compare(pair, register=self.visits["register"] and not kept.is_mask)
        if told["doubt"]:
            compared.cautions.insert(0, f"{told['doubt']} They are one person's, as you say.")
        compared.notes.insert(0, order)
        self._compared, response = compared, compared.changes.response
        return told | {
            "rows": visits.rows_of(compared.changes),
            "category": response.category,
            "reasons": [*response.reasons, IMAGING_PART],
            "sums": list(response.sums_mm) if response.baseline_mm is not None else [],
            "cautions": [
                *compared.cautions,
                *compared.changes.notes,
                *(f"{kept.name}: {note}" for note in kept.found.cautions),
            ],
            "notes": kept.found.scan.scan.notes,
        }
