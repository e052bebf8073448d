"""What the scans were like that a network has seen, as its `model.json` keeps it."""

import json

import numpy as np
from tiny_runs import write_bright_model
from tiny_scans import write_scans

from metseg.data.cases import find_cases, read_scan_of
from metseg.data.volume import Volume
from metseg.export.scan_ranges import set_trust, trust_of
from metseg.inference.predictor import Predictor
from metseg.inference.trust import measure
from metseg.preprocessing.pipeline import Preprocessing, network_input
from metseg.training.run_folder import RunFolder

CONFIG = Preprocessing(image_size=32, clip_limit=0, intensity="volume")


def test_ranges_hold_what_prediction_measures(tmp_path):
    cases = find_cases(write_scans(tmp_path, patients=3, slices=4))
    known = trust_of(cases, CONFIG)
    assert known.patients == 3
    volumes = [read_scan_of(case) for case in cases]
    found = [measure(volume, network_input(volume, CONFIG)) for volume in volumes]
    for key, (low, high) in known.volume.items():
        values = [each[key] for each in found]
        np.testing.assert_allclose([low, high], [min(values), max(values)], atol=1e-4)
    alone = [Volume.of_slice(volume.channels_last[z]) for volume in volumes for z in (0, 3)]
    found = [measure(each, network_input(each, CONFIG))["head"] for each in alone]
    np.testing.assert_allclose(known.slice["head"], np.quantile(found, (0.01, 0.99)), atol=1e-4)
    assert not known.oriented


def test_only_whom_the_network_has_seen_and_nothing_else_changes(tmp_path):
    cases = find_cases(write_scans(tmp_path / "scans", patients=3))
    folder = write_bright_model(tmp_path / "model", seen=[case.patient_id for case in cases[:2]])
    before = json.loads((folder / "model.json").read_text())
    set_trust(RunFolder(folder), cases)
    after = json.loads((folder / "model.json").read_text())
    assert after.pop("trust")["patients"] == 2 and before.pop("trust")["patients"] == 0
    assert before == after and Predictor(folder).trust.patients == 2
