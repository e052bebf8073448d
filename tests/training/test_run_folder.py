"""What a network's folder says of its training, export and scores."""

import keras
import numpy as np
import pandas as pd
import pytest
from tiny_scans import tiny_config

from metseg.base.errors import MetsegError
from metseg.base.files import write_json
from metseg.data.split import Split, write_split
from metseg.training.run_folder import RunFolder


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return RunFolder(tmp_path)


def test_patients_seen(run):
    write_split(Split(train=("a", "b"), validation=("c",), test=("d",), seed=0, fingerprint="0"), run.split)
    hashes = {name: name * 16 for name in "abcd"}
    write_json(run.manifest, {"slice_hashes": hashes})
    assert run.seen_patients() == {"a", "b", "c"}
    assert run.seen_slices() == {name: hashes[name] for name in "abc"}


def test_network(run):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.save(run.network)
    np.testing.assert_array_equal(run.load_network().get_weights()[0], network.get_weights()[0])
    write_json(run.manifest, {"network_sha256": "0" * 64})
    with pytest.raises(MetsegError, match=r"model\.keras is damaged, or was replaced"):
        run.load_network()
    run.manifest.unlink()
    for damage in (b"", b"no model"):
        run.network.write_bytes(damage)
        with pytest.raises(MetsegError, match="model.keras is missing, is damaged, or carries code"):
            run.load_network()


def test_parameters(run):
    config = tiny_config("scans")
    manifest = {"config": config.flat(), "git_revision": "abc123"}
    del manifest["config"]["encoder"]  # of a training from before there was one
    write_json(run.manifest, manifest)
    assert run.trained_config() == config
    del manifest["config"]["split_seed"]  # when one seed was for the split as well
    write_json(run.manifest, {**manifest, "config": {**manifest["config"], "seed": 5}})
    again = run.trained_config()
    assert (again.learning.seed, again.division.split_seed) == (5, 5)
    for changes in ({"loss": "of another time"}, {"start_from": "another"}):
        write_json(run.manifest, {**manifest, "config": {**manifest["config"], **changes}})
        with pytest.raises(MetsegError, match="abc123"):
            run.trained_config()


SERVED = {"postprocessing": {"threshold": 0.5}, "tta_flip": True, "sha256": "0"}


@pytest.mark.parametrize(
    ("served", "same"),
    [
        ({}, True),
        ({"precision": "fp32", "min_volume_share": 0}, True),  # which went without saying
        ({"postprocessing": {"threshold": 0.4}}, False),
        ({"tta_flip": False}, False),
        ({"min_volume_share": 0.3}, False),
        ({"precision": "bf16"}, False),
        ({"sha256": "1"}, False),
        ({"without_sequences": {"t1": {"postprocessing": {"threshold": 0.5}}}}, False),
    ],
)
def test_scores_are_of_what_serves(run, served, same):
    assert not run.scored_as_served
    write_json(run.scored, SERVED)
    write_json(run.description, {**SERVED, **served})
    assert run.scored_as_served is same


def test_tables_keep_names_that_look_like_numbers(run):
    run.evaluation.mkdir()
    for table in ("per_patient", "per_slice"):
        pd.DataFrame({"patient_id": ["007", "NA"], "case_id": ["0071", "1e5"], "dice": [0.5, None]}).to_csv(
            run.evaluation / f"{table}.csv", index=False
        )
    for table in run.read_tables():
        assert list(table.patient_id) == ["007", "NA"] and list(table.case_id) == ["0071", "1e5"]
        assert table.dice[0] == 0.5 and pd.isna(table.dice[1])


@pytest.mark.parametrize(
    ("manifest", "nothing"),
    [
        ({"predicts_nothing": True, "validation_dice": 0.1}, True),
        ({"predicts_nothing": False, "validation_dice": 0.0}, False),
        ({"validation_dice": 0.0}, True),  # of a training that does not tell
        ({"validation_dice": 0.2}, False),
        ({}, False),
    ],
)
def test_what_predicts_nothing(run, manifest, nothing):
    write_json(run.manifest, manifest)
    assert run.predicts_nothing is nothing
