"""Which lesions networks find in scans that they have not seen: by size, against false alarms, side by side.

`evaluate` writes the rows of all scans, `lesion_rows`; everything else is read from these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from metseg.base.errors import MetsegError
from metseg.base.files import read_json, taking_apart, write_text
from metseg.masks.components import label_lesions
from metseg.masks.postprocess import Postprocessing, detection_map
from metseg.metrics.compare import combine_cases, compare_models
from metseg.metrics.detection import (
    froc,
    lesions_at,
    paired_lesions,
    sensitivity_by_diameter,
)
from metseg.metrics.statistics import holm, paired_test, ratio_interval
from metseg.training.run_folder import RunFolder

# Of the rows, beside the one that serves; close where the scores of lesions are.
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
RULES = ("voxel", "mets2026")  # of `lesion_matching.MATCHINGS`; by both a lesion has one number
_LESION = ["patient_id", "case_id", "lesion"]


def served_threshold(settings: Mapping[str, object]) -> float:
    """Returns the probability from which a lesion is marked, from what `Postprocessing` dumps."""
    return float(settings.get("lesion_threshold") or settings["threshold"])


def lesion_rows(
    mask_ref: np.ndarray,
    prob_map: np.ndarray,
    mask_pred: np.ndarray,
    *,
    settings: Postprocessing,
    served: float,
    spacing_mm: tuple[float, float, float],
    own: np.ndarray,
) -> pd.DataFrame:
    """Matches the lesions of a scan at `THRESHOLDS`, by each of `RULES`.

    A threshold is one of lesions: one whose score reaches it is kept whole, down to the voxels' own
    threshold; below that one it is of voxels. At the one that serves, the mask counts as it is served.

    Args:
        mask_ref, mask_pred: bool, (Z, H, W).
        prob_map: float in [0, 1], of the same shape.
        settings: How `mask_pred` was made of it.
        served: What the threshold of its rows is called: `served_threshold`, whatever that of such scans is.
        spacing_mm: Voxel size (z, y, x).
        own: bool, (Z, H, W): what of `mask_ref` no metastasis is, see `insert_set.own_tumour`.

    Returns:
        The rows of `lesions_at` with rule, lesion (its number by `label_lesions` of the reference; 0 for a
        false positive) and own_tumour (bool).
    """
    whole = detection_map(prob_map, settings.threshold)
    others = [each for each in THRESHOLDS if each != served]
    tables = [
        lesions_at(mask_ref, scores, thresholds, spacing_mm=spacing_mm, rule=rule).assign(rule=rule)
        for rule in RULES
        for scores, thresholds in ((whole, others), (mask_pred.astype(np.float32), [served]))
    ]
    table = pd.concat(tables, ignore_index=True)
    numbers = table.groupby(["rule", "threshold"]).cumcount() + 1
    lesion, of_own = numbers.mask(table.false_positive, 0), np.unique(label_lesions(mask_ref)[own])
    return table.assign(lesion=lesion, own_tumour=lesion.isin(of_own))


@dataclass(frozen=True)
class LesionScores:
    """What networks find in the same scans.

    Attributes:
        rows: {network: those of all scans, with patient_id, case_id and served (bool): as it serves}.
        scans: How many each patient has, indexed by patient_id.
    """

    rows: dict[str, pd.DataFrame]
    scans: pd.Series

    def served(self, network: str, rule: str) -> pd.DataFrame:
        """Returns a network's rows of the masks that it serves; of the folds of one, each at its own
        threshold."""
        rows = self.rows[network]
        return rows[rows.served & (rows.rule == rule)].assign(threshold=0.0)

    def only(self, lesions: pd.DataFrame) -> "LesionScores":
        """Returns the same of some lesions of the reference, such as those that were inserted.

        The others count neither as found nor as missed, and what marks them is no false positive.

        Args:
            lesions: Those to keep: case_id, lesion.
        """
        kept = pd.MultiIndex.from_frame(lesions[_LESION[1:]])
        rows = {
            name: each[each.false_positive | pd.MultiIndex.from_frame(each[_LESION[1:]]).isin(kept)]
            for name, each in self.rows.items()
        }
        return LesionScores(rows, self.scans)

    def by_size(self, rule: str) -> pd.DataFrame:
        """Returns `sensitivity_by_diameter` of each network as it serves, with a column network in front."""
        tables = {name: sensitivity_by_diameter(self.served(name, rule), self.scans) for name in self.rows}
        return pd.concat(tables, names=["network"]).reset_index("network").reset_index(drop=True)

    def false_positives(self, rule: str) -> pd.DataFrame:
        """Returns false_positives_per_scan of each network as it serves, low and high (95 %, patients)."""
        table = {}
        for name in self.rows:
            invented = self.served(name, rule).groupby("patient_id").false_positive.sum()
            invented = invented.reindex(self.scans.index, fill_value=0)
            ends = ratio_interval(invented, self.scans)
            table[name] = (invented.sum() / self.scans.sum(), *ends)
        columns = ["false_positives_per_scan", "low", "high"]
        return pd.DataFrame.from_dict(table, orient="index", columns=columns).rename_axis("network")

    def curves(self, rule: str) -> dict[str, pd.DataFrame]:
        """Returns {network: its `froc`}, at the thresholds that all of its scans have."""
        curves = {}
        for name, rows in self.rows.items():
            some = rows[(rows.rule == rule) & rows.threshold.isin(THRESHOLDS)]
            if len(some):
                curves[name] = froc(some, self.scans)
        return curves

    def pairs(self, rule: str) -> pd.DataFrame:
        """Returns `paired_lesions` of each two networks as they serve: network_a, network_b, …, p_holm."""
        rows = []
        for a, b in combinations(self.rows, 2):
            tables = (self.served(name, rule).query("not false_positive") for name in (a, b))
            found_a, found_b = (table.set_index(_LESION).found for table in tables)
            rows.append({"network_a": a, "network_b": b, **paired_lesions(found_a, found_b)})
        table = pd.DataFrame(rows)
        return table.assign(p_holm=holm(table.p_value)) if len(table) else table

    def write(self, folder: Path) -> list[Path]:
        """Writes tables of all this, by each of `RULES`; returns the paths."""
        written = []
        for rule in RULES:
            tables = {"by_size": self.by_size(rule), "pairs": self.pairs(rule)}
            tables["false_positives"] = self.false_positives(rule).reset_index()
            if curves := self.curves(rule):
                tables["froc"] = pd.concat(curves, names=["network"]).reset_index("network")
            for name, table in ((name, each) for name, each in tables.items() if len(each)):
                written.append(Path(folder) / f"{name}_{rule}.csv")
                write_text(written[-1], table.to_csv(index=False))
        return written


def read_lesion_scores(networks: Mapping[str, Sequence[Path]]) -> LesionScores:
    """Reads what `evaluate` wrote, {network: its folder, or one for each fold of a cross-validation}.

    Raises:
        MetsegError: A table is missing or damaged, a network was scored on a scan twice, or two on other
            scans or references.
    """
    rows, cases = {}, {}
    for name, folders in networks.items():
        tables, scored = zip(*(_read(RunFolder(folder)) for folder in folders), strict=True)
        rows[name] = pd.concat(tables, ignore_index=True)
        cases[name] = pd.concat(scored).set_index("case_id").sort_index()
        if cases[name].index.has_duplicates:
            raise MetsegError(f"{name} was scored on a scan twice; give each fold once")
    first = next(iter(cases))
    for name, each in cases.items():
        if not each.equals(cases[first]):
            raise MetsegError(
                f"{first} and {name} were scored on other scans, or against other references; evaluate both "
                "on the same"
            )
    return LesionScores(rows, cases[first].groupby("patient_id").size())


def found_by_size(folders: Sequence[Path]) -> dict | None:
    """Returns what a network, or its folds, find by a voxel as they serve; None of slices.

    Returns:
        scans, patients, sizes, the rows of `sensitivity_by_diameter`, false_positives_per_scan with low and
        high (95 % bootstrap over patients), and set_aside, how many lesions of own tumours do not count.
    """
    if any(not isinstance(read_json(RunFolder(each).scored).get("lesion_rows"), int) for each in folders):
        return None
    every = read_lesion_scores({"": folders})
    scores = LesionScores({"": every.rows[""].query("not own_tumour")}, every.scans)
    return {
        "scans": int(scores.scans.sum()),
        "patients": len(scores.scans),
        "sizes": scores.by_size("voxel").to_dict("records"),
        **scores.false_positives("voxel").iloc[0].to_dict(),
        "set_aside": int(every.served("", "voxel").own_tumour.sum()),
    }


def _read(run: RunFolder) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the rows, and whose reference each scan has: patient_id, case_id, ref_sha256."""
    with taking_apart(run.scored, "evaluate again"):
        scored = read_json(run.scored)
        expected, served = scored["lesion_rows"], served_threshold(scored["postprocessing"])
    if isinstance(expected, str):
        raise MetsegError(f"lesions of {run} are {expected}; give volumes (NIfTI)")
    cases = run.read_tables()[0][["patient_id", "case_id", "ref_sha256"]]
    kinds = dict.fromkeys(_LESION[:2], str) | dict.fromkeys(("found", "false_positive", "own_tumour"), bool)
    try:
        rows = pd.read_csv(run.lesions, dtype=kinds, keep_default_na=False, na_values=[""])
        if len(rows) != expected:
            raise ValueError
        own = rows.get("own_tumour", False)  # older tables do not tell
        return rows.assign(served=np.isclose(rows.threshold, served), own_tumour=own), cases
    except (OSError, AttributeError, ValueError) as error:
        raise MetsegError(f"{run.lesions} is missing or damaged; evaluate again") from error


def compare_patients(networks: Mapping[str, Sequence[Path]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the summary of `compare_models`, and the paired tests of volume Dice and of lesion-wise Dice.

    Args:
        networks: As for `read_lesion_scores`.

    Returns:
        The summary, and a row a score and pair: score, network_a, network_b, the keys of `paired_test`,
        p_holm (over the pairs of a score).
    """
    tables = {}
    for name, folders in networks.items():
        pairs = zip(*(RunFolder(folder).read_tables() for folder in folders), strict=True)
        tables[name] = tuple(pd.concat(each, ignore_index=True) for each in pairs)
    summary, _ = compare_models(tables)
    patients = {name: combine_cases(per_patient) for name, (per_patient, _) in tables.items()}
    found = []
    for score in ("dice", "mets2023_dice", "mets2026_dice"):
        rows = [
            {"score": score, "network_a": a, "network_b": b}
            | paired_test(patients[a][score], patients[b][score])
            for a, b in combinations(patients, 2)
        ]
        found += [
            row | {"p_holm": p} for row, p in zip(rows, holm([r["p_value"] for r in rows]), strict=True)
        ]
    return summary, pd.DataFrame(found)
