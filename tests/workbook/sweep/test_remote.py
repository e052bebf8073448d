"""Workers without a common disk: what one leaves, another one finds."""

import sys
from pathlib import Path

import pytest

from metseg.base.errors import MetsegError
from metseg.workbook.sweep import remote
from metseg.workbook.sweep.trial_process import Job, Outcome


@pytest.fixture
def machine(monkeypatch, tmp_path: Path):
    """A function that makes this process stand for another machine."""

    def become(name: str) -> Path:
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / name))
        return tmp_path / name

    return become


def run(job, *, report, why_stop) -> Outcome:
    """Two epochs, each with a checkpoint that takes the former one's place."""
    for _ in range(2):
        epoch = len(list(job.folder.glob("unet/epoch-*"))) + 1
        (job.folder / "unet" / "checkpoint").mkdir(parents=True, exist_ok=True)
        for former in job.folder.glob("unet/checkpoint/*"):
            former.unlink()
        (job.folder / "unet" / f"epoch-{epoch}").write_text("x")
        (job.folder / "unet" / "checkpoint" / f"{epoch}.npz").write_text("x")
        (job.folder / "unet" / ".half-written").write_text("x")
        report({"dice": [0.5] * epoch})
    return Outcome("died" if epoch == 2 else "done", 1.0)


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_trial_goes_on_where_another_machine_stopped(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(remote, "run_job", run)
    store, told = f"file://{tmp_path}/store", []
    job = Job("t", Path("n.ipynb"), {"model": "unet"}, Path("unused"))
    for name, state in (("first", "died"), ("second", "done")):
        home = machine(name)
        outcome = remote.run_remote_job(job, store, report=told.append, why_stop=lambda: None)
        assert outcome.state == state and files_below(home) == set()  # nothing is left behind
    assert [len(each["dice"]) for each in told] == [1, 2, 3, 4]
    epochs = {f"unet/epoch-{k}" for k in (1, 2, 3, 4)}
    assert files_below(tmp_path / "store" / "t") == {*epochs, "unet/checkpoint/4.npz"}
    assert remote.fetch(f"{store}/t", tmp_path / "here", for_reading=True)
    assert files_below(tmp_path / "here") == epochs
    assert not remote.fetch(f"{store}/absent", tmp_path / "there")


def test_a_store_that_fails_may_be_tried_again(machine, monkeypatch):
    machine("first")
    monkeypatch.setattr(remote, "run_job", run)
    job = Job("t", Path("n.ipynb"), {"model": "unet"}, Path("unused"))
    outcome = remote.run_remote_job(job, "nosuch://x", report=print, why_stop=lambda: None)
    assert outcome.state == "cut off" and "nosuch://x/t (Protocol not known" in outcome.reason


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "'', which is no address; write s3://"),
        ("outputs/store", "'outputs/store', which is no address; write s3://"),
        ("nosuch://x", "Protocol not known"),
        ("file:///dev/null/x", "cannot write results to file:///dev/null/x .*check the address"),
    ],
)
def test_an_address_that_is_of_no_use_is_found_before_the_first_trial(address, message):
    with pytest.raises(MetsegError, match=message):
        remote.complain_of_store(address)


@pytest.mark.parametrize(("address", "package"), [("s3://b/x", "s3fs"), ("gs://b/x", "gcsfs")])
def test_a_package_that_is_missing(monkeypatch, machine, address, package):
    machine("first")
    monkeypatch.setitem(sys.modules, package, None)  # importing it fails, installed or not
    loaded = sys.modules["fsspec.registry"]._registry  # by its name it is a view of that
    monkeypatch.delitem(loaded, address.partition(":")[0], raising=False)
    for check in (remote.complain_of_store, remote.local_data):
        with pytest.raises(MetsegError, match=f"{address} .*; pip install {package}$"):
            check(address)


def test_a_store_that_can_be_written(tmp_path):
    remote.complain_of_store(f"file://{tmp_path}/store/deep")
    assert [*(tmp_path / "store" / "deep").iterdir()] == []


def test_data_are_fetched_once(machine, tmp_path):
    home, scans = machine("first"), tmp_path / "lgg" / "P_1"
    scans.mkdir(parents=True)
    (scans / "a.tif").write_text("scan")
    address = f"file://{tmp_path}/lgg"
    assert remote.is_address(address) and not remote.is_address("../data/lgg") and not remote.is_address(3)
    folder = remote.local_data(address)
    assert (folder / "P_1" / "a.tif").read_text() == "scan" and folder.is_relative_to(home)
    (scans / "a.tif").unlink()
    assert (remote.local_data(address) / "P_1" / "a.tif").exists()
    with pytest.raises(MetsegError, match="cannot fetch the data from file:///nowhere"):
        remote.local_data("file:///nowhere")


@pytest.fixture
def bucket(monkeypatch) -> str:
    """The address of a bucket of a server of this machine that speaks S3."""
    server = pytest.importorskip("moto.server", reason="pip install 'moto[server]' s3fs").ThreadedMotoServer(
        "127.0.0.1", port=0
    )
    s3fs = pytest.importorskip("s3fs", reason="pip install 'moto[server]' s3fs")
    server.start()
    host, port = server.get_host_and_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("bucket")
    yield "s3://bucket"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_results_on_s3(machine, monkeypatch, tmp_path, bucket):
    monkeypatch.setattr(remote, "run_job", run)
    remote.complain_of_store(f"{bucket}/x")
    with pytest.raises(MetsegError, match="s3://buckett/x"):
        remote.complain_of_store("s3://buckett/x")  # and no such bucket is made
    job = Job("t", Path("n.ipynb"), {"model": "unet"}, Path("unused"))
    for name, state in (("first", "died"), ("second", "done")):
        machine(name)
        outcome = remote.run_remote_job(job, f"{bucket}/x", report=print, why_stop=lambda: None)
        assert outcome.state == state
    assert remote.fetch(f"{bucket}/x/t", tmp_path / "here")
    epochs = {f"unet/epoch-{k}" for k in (1, 2, 3, 4)}
    assert files_below(tmp_path / "here") == {*epochs, "unet/checkpoint/4.npz"}
