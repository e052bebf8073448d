"""Batch normalisation's statistics, by hand and against the batch's own."""

import json

import keras
import numpy as np
import pytest
from tiny_scans import tiny_config, write_scans

from metseg.metrics.overlap import lesion_dice
from metseg.models import build_model
from metseg.models.fused import FusedBatchNormalization, training_copy
from metseg.training.batches import EpochBatches
from metseg.training.dataset import Dataset, prepare_data
from metseg.training.fit import train
from metseg.training.losses import LOSSES
from metseg.training.normalisation import PopulationStatistics


class Pictures:
    """Batches of given images, as `EpochBatches` gives them where nothing is prepared ahead."""

    def __init__(self, *images: np.ndarray):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, k: int):
        return self.images[k], None

    def prepared_ahead(self):
        return self


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Dataset:
    home = tmp_path_factory.mktemp("data")
    return prepare_data(tiny_config(write_scans(home / "scans")), cache_dir=home / "cache")


def batches_of(data: Dataset, **changes) -> EpochBatches:
    rows = data.cache.rows(data.split.train)
    options = {"batch_size": 4, "augmentation": None, "seed": 0, "epoch": 0}
    return EpochBatches(data.cache, rows, **{**options, **changes})


def statistics_of(network: keras.Model) -> list[np.ndarray]:
    return [np.array(each) for each in network.non_trainable_variables]


def test_mean_and_variance_by_hand():
    """Of the pixels 1 2 3 6 and, in a last batch of half the size, 6 8.

    The mean is 26/6. Within: (4·14/4 + 2·1)/6, with Bessel's correction (4·14/3 + 2·2)/6; between:
    (4·3² + 2·7²)/6 − (26/6)².
    """
    layer = FusedBatchNormalization(momentum=0.9)
    network = keras.Sequential([keras.Input((1, 2, 1)), layer])
    first, last = np.float32([[1, 2], [3, 6]]).reshape(2, 1, 2, 1), np.float32([6, 8]).reshape(1, 1, 2, 1)
    for _ in range(2):  # what was there before does not matter
        PopulationStatistics(network).estimate(Pictures(first, last))
        np.testing.assert_allclose(np.asarray(layer.moving_mean), [26 / 6], rtol=1e-6)
        variance = (4 * 14 / 3 + 2 * 2) / 6 + (4 * 9 + 2 * 49) / 6 - (26 / 6) ** 2
        np.testing.assert_allclose(np.asarray(layer.moving_variance), [variance], rtol=1e-5)
        assert layer.momentum == 0.9
        layer.moving_mean.assign([100.0])


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "options", [{}, {"encoder": "efficientnet_lite0"}], ids=["plain", "efficientnet_lite0"]
)
def test_one_batch_is_seen_as_while_it_was_learned_from(data, precision, options):
    """With the statistics of the only batch there is, inference is what training sees."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        network = training_copy(build_model("unet", filters=(4, 8), **options))
    finally:
        keras.config.set_dtype_policy(policy)
    batches = batches_of(data, batch_size=100)
    before = network.get_weights()
    PopulationStatistics(network).estimate(batches)
    images = batches[0][0]
    seen, said = (np.asarray(network(images, training=each)) for each in (True, False))
    # Bessel's correction is 1/15359 here; bfloat16 has 8 bits.
    tolerance = 0.01 if precision == "float32" else 0.1
    np.testing.assert_allclose(said, seen, atol=tolerance * np.ptp(seen))
    network.set_weights(before)
    assert np.abs(np.asarray(network(images, training=False)) - seen).max() > 0.2 * np.ptp(seen)


def test_what_is_learned_stays_and_the_rest_is_repeatable(data):
    network = training_copy(build_model("unet", filters=(4, 8)))
    learned = [np.array(each) for each in network.trainable_variables]
    estimates, statistics = [], PopulationStatistics(network)
    for _ in range(2):
        statistics.estimate(batches_of(data, size=16))
        statistics.estimate(batches_of(data))
        estimates.append(statistics_of(network))
    for a, b in zip(*estimates, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(network.trainable_variables, learned, strict=True):
        np.testing.assert_array_equal(np.asarray(a), b)
    network.compile(keras.optimizers.Adam(0.01), LOSSES["bce_dice"])
    network.fit(batches_of(data).prepared_ahead(), verbose=0)  # and goes on with running statistics
    assert all(
        layer.momentum == 0.99 for layer in network.layers if isinstance(layer, FusedBatchNormalization)
    )


class Watched(PopulationStatistics):
    """Notes the Dice of training patients by the batch's own statistics, by the running, by the estimated."""

    data: Dataset
    dice: list[tuple[float, ...]]

    def __init__(self, network: keras.Model):
        super().__init__(network)
        self.network = network

    def estimate(self, batches: EpochBatches) -> None:
        own = self.network.get_weights()
        found = [self._dice(training=True)]
        self.network.set_weights(own)
        found.append(self._dice(training=False))
        super().estimate(batches)
        Watched.dice.append((*found, self._dice(training=False)))

    def _dice(self, *, training: bool) -> float:
        rows = self.data.cache.rows(self.data.split.train)
        logits = np.asarray(self.network(self.data.cache.network_input(rows), training=training))[..., 0]
        pred, ref = logits >= 0, self.data.cache.masks[rows]
        return lesion_dice(ref.sum((1, 2)), pred.sum((1, 2)), (ref & pred).sum((1, 2)))


def test_a_short_training_is_worth_what_it_has_learned(tmp_path, monkeypatch):
    """Two epochs: by running statistics the same weights score far below what they know."""
    changes = {"epochs": 2, "filters": (8, 16), "augment": False, "ema_momentum": 0.9}
    config = tiny_config(write_scans(tmp_path / "scans", patients=12), **changes)
    Watched.data, Watched.dice = prepare_data(config, cache_dir=tmp_path / "cache"), []
    monkeypatch.setattr("metseg.training.fit.PopulationStatistics", Watched)
    network = train(config, tmp_path / "unet", cache_dir=tmp_path / "cache")
    assert len(Watched.dice) == 2
    own, running, estimated = Watched.dice[-1]
    assert own > 0.3 and estimated == pytest.approx(own, abs=0.1) and running < own - 0.02
    # What is kept is what was validated.
    kept = json.loads((tmp_path / "unet" / "manifest.json").read_text())
    rows = Watched.data.cache.rows(Watched.data.split.validation)
    pred = np.asarray(network(Watched.data.cache.network_input(rows)))[..., 0] >= config.learning.threshold
    ref, patients = Watched.data.cache.masks[rows], Watched.data.cache.slices.patient_id.to_numpy()[rows]
    counts = [each.sum((1, 2)) for each in (ref, pred, ref & pred)]
    volumes = [[each[patients == who].sum() for who in np.unique(patients)] for each in counts]
    assert lesion_dice(*volumes) == pytest.approx(kept["validation_dice"], abs=1e-3)
    assert kept["predicts_nothing"] is False
