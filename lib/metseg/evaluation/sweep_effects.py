"""What each parameter of a sweep does: effects with intervals over patients, and its share of all variance.

Both come of one additive linear model of the trials' Dice on the levels of the parameters. On a whole grid
its coefficients are differences of means, and its shares those of functional ANOVA; in a search, or where
trials failed, they are adjusted for the other parameters.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from metseg.base.labels import label_of
from metseg.evaluation.sweep_results import parameters_of
from metseg.metrics.statistics import holm, paired_test

ALL = "all"  # networks together
_MOST_LEVELS, _BINS = 6, 3
_SHUFFLES = 5_000


def levels_of(values: pd.Series) -> pd.Series:
    """Returns a parameter's levels as ordered categories: numbers by size, words in the table's order.

    More than six different numbers, as a search draws them, are binned into three of equal counts.
    """
    if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        words = values.astype(str)
        return pd.Series(pd.Categorical(words, words.sort_index().unique(), ordered=True), values.index)
    found = np.sort(values.unique())
    if len(found) <= _MOST_LEVELS:
        labels = [f"{each:g}" for each in found]
        codes = np.searchsorted(found, values)
        return pd.Series(pd.Categorical.from_codes(codes, labels, ordered=True), values.index)
    bins = pd.qcut(values, _BINS, duplicates="drop", labels=False)
    parts = values.groupby(bins)
    labels = [f"{low:.3g}–{high:.3g}" for low, high in zip(parts.min(), parts.max(), strict=True)]
    return pd.Series(pd.Categorical.from_codes(bins, labels, ordered=True), values.index)


class _Design(NamedTuple):
    """Trials by what may explain them: a constant, and a column for each level but a parameter's first."""

    matrix: np.ndarray  # (trials, columns)
    columns: list[tuple[str, str]]  # (parameter, level) of all columns but the first

    @classmethod
    def of(cls, levels: dict[str, pd.Series]) -> "_Design":
        columns = [(name, level) for name, each in levels.items() for level in each.cat.categories[1:]]
        others = [(levels[name] == level).to_numpy(float) for name, level in columns]
        return cls(np.stack([np.ones(len(next(iter(levels.values())))), *others], axis=1), columns)

    def without(self, name: str) -> np.ndarray:
        kept = [True, *(each != name for each, _ in self.columns)]
        return self.matrix[:, kept]


def seed_spread(done: pd.DataFrame, names: list[str]) -> tuple[float, int]:
    """Returns how much the mean Dice of trials spreads that differ in their seed alone.

    Returns:
        Standard deviation and degrees of freedom; (nan, 0) where each setting was tried with one seed.
    """
    same = done.groupby(names or ["state"]).validation_dice
    freedom = len(done) - same.ngroups
    squares = float(((done.validation_dice - same.transform("mean")) ** 2).sum())
    return ((squares / freedom) ** 0.5, freedom) if freedom else (float("nan"), 0)


def training_spread(done: pd.DataFrame, levels: dict[str, pd.Series]) -> tuple[float, int]:
    """Returns how much the mean Dice of one setting spreads from training to training.

    That is `seed_spread`; where each setting has one seed, what the additive model leaves over, which holds
    also how parameters act together; (nan, 0) where that leaves nothing over.
    """
    spread, freedom = seed_spread(done, [*levels])
    if freedom == 0:
        matrix, dice = _Design.of(levels).matrix, done.validation_dice.to_numpy(float)
        freedom = len(done) - int(np.linalg.matrix_rank(matrix))
        left = dice - matrix @ (np.linalg.pinv(matrix) @ dice)
        spread = (float(left @ left) / freedom) ** 0.5 if freedom else float("nan")
    return spread, freedom


def effects(done: pd.DataFrame, patients: pd.DataFrame) -> pd.DataFrame:
    """Estimates what each level of each parameter changes in Dice, against that parameter's first level.

    Within each patient, averaged over (on an unbalanced table: adjusted for) the other parameters and the
    seeds; then the mean over patients, with a bootstrap over them.

    Args:
        done: `done_trials`.
        patients: `patient_dice` of the same sweep; those are taken whom all trials have.

    Returns:
        A row a level: `network` (`all`, then each by itself where there are several), `parameter`, `level`,
        `first` (what it is held against), `trials` (with that level), `patients`, `difference`,
        `difference_low`, `difference_high` (95 %), `training_margin` (half of the 95 % interval by chance
        between trainings: `training_spread`), `p_value` (Wilcoxon), `p_holm` (over all rows); `is_told`:
        whether p_holm is below 0.05 and the difference above that margin. NaN where trials leave it open.
    """
    levels, networks = {n: levels_of(done[n]) for n in parameters_of(done)}, done.model.sort_index().unique()
    done = done[done.trial.isin(patients.index)]
    parts = [(ALL, done, levels)] if len(networks) > 1 else []
    others = {name: each for name, each in levels.items() if name != "model"}
    parts += [(network, done[done.model == network], others) for network in networks]
    rows = [row for part in parts for row in _effects(*part, patients.dropna(axis=1))]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    table["p_holm"] = holm(table.p_value)
    return table.assign(is_told=(table.p_holm < 0.05) & (table.difference.abs() > table.training_margin))


_COLUMNS = ["network", "parameter", "level", "first", "trials", "patients", "difference"]
_COLUMNS += ["difference_low", "difference_high", "training_margin", "p_value"]


def _effects(
    network: str, done: pd.DataFrame, levels: dict[str, pd.Series], patients: pd.DataFrame
) -> list[dict]:
    levels = {name: each[done.index] for name, each in levels.items()}
    levels = {name: each for name, each in levels.items() if len(each.unique()) > 1}
    if not levels:
        return []
    design, dice = _Design.of(levels), patients.loc[done.trial]
    inverse = np.linalg.pinv(design.matrix)
    of_patients = inverse @ dice.to_numpy()  # (columns, patients)
    known = np.isclose(np.diag(inverse @ design.matrix), 1)  # else the trials leave it open
    spread, freedom = training_spread(done, levels)
    margins = spread * stats.t.ppf(0.975, freedom) * np.sqrt((inverse**2).sum(axis=1))
    rows = []
    for k, (name, level) in enumerate(design.columns, start=1):
        change = pd.Series(of_patients[k] if known[k] else np.nan, dice.columns, dtype=float)
        test = paired_test(change, change * 0)
        own = {"difference" + end: test["mean_difference" + end] for end in ("", "_low", "_high")}
        own |= {"training_margin": margins[k] if known[k] else np.nan, "p_value": test["p_value"]}
        first, trials = levels[name].cat.categories[0], int((levels[name] == level).sum())
        at = {"parameter": name, "level": level, "first": first, "trials": trials, "patients": test["n"]}
        rows.append({"network": network, **at, **own})
    return rows


def importance(done: pd.DataFrame) -> pd.DataFrame:
    """Shares the variance of the trials' validation Dice among the parameters.

    Args:
        done: `done_trials`.

    Returns:
        A row a parameter, the largest first: `share` (of all variance, what it explains beyond the others),
        `chance` (what 95 % of shuffles stay below), `p_holm` (5,000 shuffles, over all parameters), `is_told`
        (p_holm below 0.05). Then `seed` (the same settings with another seed; if there are several) and
        `rest` (parameters that act together; and the seeds, if there is one). All is NaN where there are
        no more trials than levels, or all have one Dice.

    Reference:
        Hutter et al. (2014), ICML, functional ANOVA, whose main effects these are on a whole grid; Freedman &
        Lane (1983), J. Bus. Econ. Stat. 1:292-298, for the shuffles.
    """
    names, dice = parameters_of(done), done.validation_dice.to_numpy(float)
    if not names:
        return pd.DataFrame(columns=["parameter", "share", "chance", "p_holm", "is_told"])
    design, dice = _Design.of({name: levels_of(done[name]) for name in names}), dice - dice.mean()
    rank, total = np.linalg.matrix_rank(design.matrix), float(dice @ dice)
    if rank >= len(done) or np.isclose(total, 0):
        unknown = dict.fromkeys(("share", "chance", "p_holm"), np.nan)
        return pd.DataFrame({"parameter": names, **unknown, "is_told": False})
    rng, rows = np.random.default_rng(0), []
    orders = rng.permuted(np.tile(np.arange(len(dice)), (_SHUFFLES, 1)), axis=1).T  # (trials, shuffles)
    for name in names:
        others = _orthonormal(design.without(name))
        own = _orthonormal(design.matrix - others @ (others.T @ design.matrix))
        left = dice - others @ (others.T @ dice)  # what the others do not explain
        (found,), drawn = (_explained(each, own, others) for each in (left[:, None], left[orders]))
        p_value = (1 + np.count_nonzero(drawn >= found - 1e-12)) / (1 + _SHUFFLES)
        scale = float(left @ left) / total
        rows.append((name, scale * found, scale * np.quantile(drawn, 0.95), p_value))
    table = pd.DataFrame(rows, columns=["parameter", "share", "chance", "p_value"])
    table["p_holm"] = holm(table.pop("p_value"))
    table = table.assign(is_told=table.p_holm < 0.05).sort_values("share", ascending=False, kind="stable")
    everything = _orthonormal(design.matrix)
    rest = 1 - float(np.sum((everything.T @ dice) ** 2)) / total
    spread, freedom = seed_spread(done, names)
    seeds = spread**2 * freedom / total if freedom else None
    others = [{"parameter": "seed", "share": seeds}] if seeds is not None else []
    others.append({"parameter": "rest", "share": max(0.0, rest - (seeds or 0))})
    return pd.concat([table, pd.DataFrame(others).assign(is_told=False)], ignore_index=True)


def _orthonormal(columns: np.ndarray) -> np.ndarray:
    """Returns an orthonormal basis of the space that columns span."""
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, sizes > 1e-9 * max(1.0, sizes.max())]


def _explained(left: np.ndarray, own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the share of each column, the others' part taken off, that lies in a parameter's own space."""
    left = left - others @ (others.T @ left)
    return ((own.T @ left) ** 2).sum(axis=0) / np.maximum((left**2).sum(axis=0), 1e-300)


def effects_told(table: pd.DataFrame) -> list[str]:
    """Returns a sentence a parameter, of all networks together, and what no sentence can tell."""
    if table.empty:
        return ["No two settings are done whose patients' Dice was kept: there is nothing to compare."]
    patients, lines = int(table.patients.max()), []
    if patients == 0:
        return [
            "The trials share no validation patient whose Dice was kept, so none can be held against another."
        ]
    for (network, name), rows in table.groupby(["network", "parameter"], sort=False):
        if network != table.network.iloc[0]:
            continue
        called = label_of if name == "model" else str
        told = []
        for row in rows[rows.is_told].itertuples():
            interval = f"{row.difference_low:+.3f} to {row.difference_high:+.3f}"
            told.append(f"{called(row.level)} {row.difference:+.3f} ({interval})")
        unknown = [called(row.level) for row in rows[~rows.is_told].itertuples()]
        parts = [*told, *([f"{', '.join(unknown)} cannot be told from it"] if unknown else [])]
        what = "network" if name == "model" else name
        lines.append(f"{what}, against {called(rows['first'].iloc[0])}: {'; '.join(parts)}.")
    least = 2.0 ** (1 - patients) * len(table)
    if least >= 0.05:
        lines.append(
            f"{patients} validation patients are too few: whatever the difference, Wilcoxon's p-value for "
            f"{len(table)} comparisons cannot fall below {min(1.0, least):.2g}."
        )
    if table.training_margin.isna().all():
        lines.append("There are as few trainings as levels: nothing tells a difference from the luck of one.")
    return lines
