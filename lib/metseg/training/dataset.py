"""A training's data: its slices as network input, and who is in which set."""

from pathlib import Path
from typing import NamedTuple

from metseg.base.errors import MetsegError
from metseg.data.cases import find_cases, lesion_told
from metseg.data.check_people import doubtful
from metseg.data.split import Split, kfold_by_patient, split_by_patient
from metseg.training.cache import SliceCache, open_cache
from metseg.training.config import TrainConfig
from metseg.training.seen import SeenSlices, joined_hashes


class Dataset(NamedTuple):
    cache: SliceCache
    split: Split
    lesion: str = ""  # which labels are a lesion, see `lesion_told`


def prepare_data(config: TrainConfig, *, cache_dir: Path) -> Dataset:
    """Finds the scans, fills or opens the cache, and splits the patients.

    Raises:
        MetsegError: There are no scans, one cannot be read, names leave open who is who, there are too few
            patients for the split, too few of them have a lesion, or the network would see none of it.
    """
    cases, division = find_cases(Path(config.data_dir), **config.reading), config.division
    if doubts := doubtful(cases):
        raise MetsegError(doubts[0])
    cache = open_cache(cases, config.preprocessing, folder=cache_dir)
    _complain_if_same_scans(cache)
    patients = cache.slices.patient_id
    shared = {
        "fingerprint": cache.fingerprint,
        "validation_fraction": division.validation_fraction,
        "seed": division.split_seed,
        "train_patients": division.train_patients,
        # On the scans' own grid: trainings on another image_size share their patients.
        "with_lesion": patients[cache.slices.scan_lesion_px > 0].unique(),
    }
    if division.folds:
        split = kfold_by_patient(patients, folds=division.folds, **shared)[division.fold]
    else:
        split = split_by_patient(patients, test_fraction=division.test_fraction, **shared)
    for role, chosen in (("training", split.train), ("validation", split.validation)):
        if len(cache.rows(chosen, exclude_empty=True)) == 0:
            raise MetsegError(
                f"at image_size={config.preprocessing.image_size} no lesion of the {role} patients is left; "
                "choose a larger image_size"
            )
    return Dataset(cache, split, lesion_told(cases))


def _complain_if_same_scans(cache: SliceCache) -> None:
    """One scan under two names would be on both sides of a split."""
    hashes = cache.slices.groupby("patient_id", observed=True).image_hash.agg(list).to_dict()
    known = SeenSlices({patient: joined_hashes(own) for patient, own in hashes.items()})
    for patient, own in hashes.items():
        if others := [name for name in known.names_of(own) if name != patient]:
            raise MetsegError(
                f"patients {patient} and {others[0]} have the same scan; give the person one name, in "
                "patients.csv, or remove one of them"
            )
