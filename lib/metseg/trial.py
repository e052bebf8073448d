"""A trial: one network trained, exported and scored, the one way for notebooks, commands and sweeps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from metseg.base.files import read_json
from metseg.data.cases import CaseFiles, find_cases
from metseg.data.provenance import provenance_of
from metseg.evaluation.evaluate import evaluate, unseen_cases
from metseg.export.precision import export
from metseg.inference.engines import Precision
from metseg.metrics.compare import combine_cases
from metseg.training.config import TrainConfig
from metseg.training.fit import train
from metseg.training.progress import told_in_a_sentence
from metseg.training.run_folder import RunFolder


@dataclass(frozen=True)
class Score:
    """What a trial came to."""

    validation_dice: float  # mean of validation patients with a lesion, on the scans' own grid; it flatters
    test_dice_mean: float | None  # of the patients held out; None if nobody was
    test_dice_median: float | None
    test_patients: int  # of whom how many have a Dice
    caution: str  # what the figures do not say, for these data

    def __str__(self) -> str:
        text = f"validation Dice {self.validation_dice:.3f}"
        if self.test_dice_mean is None:
            return f"{text}; nobody is held out. {self.caution}"
        return (
            f"{text}; volume Dice of {self.test_patients} held-out patients: mean {self.test_dice_mean:.3f}, "
            f"median {self.test_dice_median:.3f}. {self.caution}"
        )


def run_trial(
    config: TrainConfig,
    run: RunFolder,
    *,
    cache_dir: Path,
    restart: bool = False,
    is_to_serve: bool = True,
    on_case: Callable[[int, int], None] | None = None,
) -> Score:
    """Trains a network, exports it in float32, and scores it on the patients held out.

    What was done before is not done again: interrupted anywhere, even by `kill -9`, the same call goes on.

    Args:
        config, run, cache_dir, restart: As for `train`.
        is_to_serve: As for `export`.
        on_case: Called with (finished, of) after each scan that is segmented.

    Raises:
        MetsegError: As `train`, `export` and `evaluate`.
    """
    with told_in_a_sentence(run):
        train(config, run, cache_dir=cache_dir, restart=restart)
        cases = find_cases(Path(config.data_dir), **config.reading)
        if not run.is_exported:
            export(run, cases, is_to_serve=is_to_serve, on_case=on_case)
        if run.read_split().test and not run.scored_as_served:
            evaluate(run.path, unseen_cases(cases, run.path), run.evaluation, on_case=on_case)
    return read_score(run)


def read_score(run: RunFolder) -> Score:
    """Returns what an exported, and where somebody is held out scored, network came to."""
    mean = median = None
    count, names = 0, run.read_split().validation
    if run.is_scored:
        per_patient, _ = run.read_tables()
        dice, names = combine_cases(per_patient).dice, per_patient.case_id
        mean, median, count = float(dice.mean()), float(dice.median()), int(dice.count())
    return Score(
        validation_dice=read_json(run.description)["validation_dice"],
        test_dice_mean=mean,
        test_dice_median=median,
        test_patients=count,
        caution=provenance_of(names).caution,
    )


def export_and_score(
    run: RunFolder,
    cases: Sequence[CaseFiles],
    *,
    precision: Precision | None = None,
    prune: int | None = None,
    on_case: Callable[[int, int], None] | None = None,
) -> str:
    """Exports a trained network as it serves, scores it again, and returns in a line what changed.

    The cases are those of all its patients; `precision`, `prune` and `on_case` are as for `export`.
    """
    done = export(run, cases, precision=precision, prune=prune, on_case=on_case)
    what = "exported, and nobody is held out to score it"
    if run.read_split().test:
        evaluate(run.path, unseen_cases(cases, run.path), run.evaluation, on_case=on_case)
        what = "exported and scored"
    change = done.change
    text = (
        f"{what}: {run}; probabilities in float32 differ from the trained network's by at most "
        f"{done.largest_difference:.0e}; serves in {done.precision}, validation Dice {change.mean:+.4f} "
        f"against float32, slice by slice {change.mean_single_slices:+.4f}, of one patient by "
        f"{abs(change.largest):.4f} at most"
    )
    if done.change_of_head is not None:
        text += f"; head L{prune} {done.change_of_head:+.4f} against all heads"
    return text
