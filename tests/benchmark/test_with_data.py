"""A data set of names and zeros opens as a real one does."""

from metseg.benchmark import with_data
from metseg.benchmark.plan import Measurement
from metseg.benchmark.with_data import epoch_batches, prepare, write_data_set


def test_opening_reads_no_scan(tmp_path):
    write_data_set(tmp_path, 100)
    scans = list((tmp_path / "scans").rglob("*.tif"))
    assert len(scans) == 200 and {path.stat().st_size for path in scans} == {0}
    (home,) = (path for path in (tmp_path / "cache").iterdir() if not path.name.startswith("."))
    before = sorted(home.iterdir())
    opened = prepare(Measurement("metseg", "open", size=100, batch=8, path=str(tmp_path)))
    assert len(opened.run(0.0)) == 1  # an empty file read would be an error
    assert sorted(home.iterdir()) == before


def test_batches_are_drawn(tmp_path, monkeypatch):
    write_data_set(tmp_path, 60)
    taken = []
    monkeypatch.setattr(with_data, "repeated", lambda step: lambda seconds: taken.append(step()))
    prepare(Measurement("metseg", "read", size=60, batch=4, path=str(tmp_path))).run(0.0)
    ((images, masks),) = taken
    assert images.shape == (4, 128, 128, 3) and masks.shape == (4, 128, 128, 1)


def test_a_training_reads_batches_of_its_own_size(tmp_path):
    write_data_set(tmp_path, 60, side=32)
    batches = epoch_batches(tmp_path, 4, side=32)
    images, masks = batches[0]
    assert images.shape == (4, 32, 32, 3) and masks.shape == (4, 32, 32, 1)
    assert len(batches) > 4
