"""What a network was found to find in its validation scans, threshold by threshold, as `model.json` keeps it.

A voxel is part of a lesion from one threshold on, and a lesion is kept if its `lesion_score` reaches
another. The second is the operating point: the higher it is, the fewer false positives, and the fewer small
lesions.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from metseg.base.errors import MetsegError
from metseg.masks.components import expit, log_odds
from metseg.masks.postprocess import Postprocessing

SERVED_AT = 1.0  # false positives a scan, at most


class OperatingPoint(BaseModel):
    """What is found of validation scans at one threshold."""

    model_config = ConfigDict(frozen=True)

    lesion_threshold: float
    false_positives_per_scan: float
    found: dict[str, int]  # {class of diameter: lesions}, and `all`


class OperatingPoints(BaseModel):
    """What is found of validation scans at several thresholds.

    Attributes:
        rule: How lesions are matched, one of `lesion_matching.MATCHINGS`.
        score: What of a lesion's probabilities must reach the threshold; the highest had to, once.
        patients, scans: How many were asked.
        lesions: {class of diameter in mm: how many there are}, and `all`.
        set_aside: How many more the references have that count neither as found nor as missed: of the own
            tumours of brains that metastases were drawn into.
        points: The lowest threshold first.
    """

    model_config = ConfigDict(frozen=True)

    rule: str
    score: Literal["mean log odds"]
    patients: int
    scans: int
    lesions: dict[str, int]
    set_aside: int = 0
    points: list[OperatingPoint] = Field(min_length=1)

    def at(self, lesion_threshold: float) -> OperatingPoint:
        """Returns the point whose threshold is nearest."""
        return min(self.points, key=lambda each: abs(each.lesion_threshold - lesion_threshold))

    def within(self, false_positives_per_scan: float) -> OperatingPoint | None:
        """Returns the point that finds most lesions at no more false positives a scan; None if there is none.

        Of those that find as many the one with the fewest false positives; of equal ones the middle one, for
        at either end a lesion is about to be lost or a false positive to come.
        """
        able = [each for each in self.points if each.false_positives_per_scan <= false_positives_per_scan]
        worth = [(each.found["all"], -each.false_positives_per_scan) for each in able]
        best = [each for each, of in zip(able, worth, strict=True) if of == max(worth)]
        return best[len(best) // 2] if best else None

    def fewest(self) -> OperatingPoint:
        """Returns the point with the fewest false positives, and of those the one that finds most."""
        return self.within(min(each.false_positives_per_scan for each in self.points))

    def told(self, point: OperatingPoint) -> str:
        """Returns a sentence: "Expected: 0.8 false positives a scan; finds 56 % of lesions < 3 mm, …"."""
        sizes = {name: of for name, of in self.lesions.items() if of and name != "all"}
        shares = [
            f"{100 * point.found[name] / of:.0f} % of {'lesions ' * (k == 0)}{_in_words(name)} (n = {of})"
            for k, (name, of) in enumerate(sizes.items())
        ]
        false = f"{point.false_positives_per_scan:.2g}"
        return (
            f"Expected: {false} false positive{'s' * (false != '1')} a scan; "
            f"finds {', '.join(shares)} (validation, {self.lesions['all']} lesions of "
            f"{self.patients} patient{'s' * (self.patients != 1)}, on whom the thresholds were chosen)."
        )


class LesionCalibration(BaseModel):
    """How probable it is that what a network marks is a lesion, by its `lesion_score`.

    P = 1 / (1 + exp(−slope · ln(s / (1 − s)) − intercept)), s the score.

    Attributes:
        slope, intercept: None where it is not calibrated.
        least: The threshold from which voxels made a candidate; below, nothing is known.
        candidates: What was marked from it on in validation scans.
        lesions: How many of these were lesions.
    """

    model_config = ConfigDict(frozen=True)

    slope: float | None = None
    intercept: float | None = None
    least: float
    candidates: int
    lesions: int

    def probability(self, score: float | None) -> float | None:
        """Returns how probable a lesion is of this score; None where unknown."""
        if self.slope is None or score is None or score < self.least:
            return None
        return float(expit(self.slope * log_odds(score) + self.intercept))

    @property
    def told(self) -> str:
        """What the probability is, in a sentence."""
        of = f"{self.candidates} candidate{'s' * (self.candidates != 1)} in validation scans"
        if self.slope is None:
            false = self.candidates - self.lesions
            few = f"{of}, {false} of them false, are too few to calibrate by"
            return f"The score of a lesion, the mean of its voxels' log odds, is not calibrated: {few}."
        return (
            "Probability a lesion: of validation candidates with a score like this, that share "
            f"were lesions (logistic fit; n = {self.candidates}, {self.lesions} of them lesions)."
        )


def least_of(calibration: LesionCalibration | None) -> float:
    """Returns the probability from which a lesion's voxels make the score that was calibrated; 0: all do."""
    return calibration.least if calibration else 0.0


def _in_words(size: str) -> str:
    return f"{size[2:]} mm and more" if size.startswith("≥") else f"{size} mm"  # fonts of paper lack ≥


def expected(
    points: OperatingPoints | None, own: Postprocessing, used: Postprocessing
) -> OperatingPoint | None:
    """Returns what is to be expected of a network's masks; None where validation does not tell.

    Args:
        points: The network's; None where it has none.
        own: The network's own settings, which the points are of, apart from the `lesion_threshold`.
        used: Those that the masks are made with.
    """
    chosen = used.lesion_threshold
    if points is None or chosen is None or used != own.detecting_from(chosen):
        return None
    return points.at(chosen)


def told_of(points: OperatingPoints | None, own: Postprocessing, used: Postprocessing) -> str:
    """Returns what is `expected`, in a sentence; nothing where validation does not tell."""
    point = expected(points, own, used)
    if point is None:
        return ""
    return f"Lesions from a score of {used.lesion_threshold:g} on. {points.told(point)}"


class MaskSettings(BaseModel):
    """How masks are made of the probabilities of scans with the same sequences, and what is known of them.

    Attributes:
        postprocessing: The settings.
        operating_points, lesion_calibration: What was found of such validation volumes; None where nothing
            tells.
    """

    model_config = ConfigDict(frozen=True)

    postprocessing: Postprocessing
    operating_points: OperatingPoints | None = None
    lesion_calibration: LesionCalibration | None = None

    def within(self, false_positives_per_scan: float, name: str) -> "MaskSettings":
        """Returns the same at the operating point with at most so many false positives a scan.

        Args:
            false_positives_per_scan: The most that are wanted.
            name: The network's, for an error.

        Raises:
            MetsegError: There are no operating points, or none with so few.
        """
        points = self.operating_points
        if points is None:
            text = f"{name} has no operating points from validation"
            raise MetsegError(f"{text}; export a network of volumes anew, or leave out the false positives")
        point = points.within(false_positives_per_scan)
        if point is None:
            least = points.fewest().false_positives_per_scan
            text = f"{name} has no operating point with {false_positives_per_scan:g} false positives a scan"
            raise MetsegError(f"{text} or fewer; the fewest in validation were {least:.2g}")
        return self.model_copy(
            update={"postprocessing": self.postprocessing.detecting_from(point.lesion_threshold)}
        )
