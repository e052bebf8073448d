"""What a trial gets of a machine."""

import pytest

from metseg.base.hardware import cores
from metseg.workbook.sweep.resources import memory_share, one_gpu, thread_limits, visible_gpus


def test_trials_share_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(8), raising=False)
    limits = thread_limits(3)
    assert limits["OMP_NUM_THREADS"] == limits["TF_NUM_INTRAOP_THREADS"] == "2"
    assert thread_limits(99)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # as in the trial itself
    assert cores() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert cores() == 8


def test_memory_is_shared():
    assert memory_share(4) == pytest.approx(memory_share(1) / 4, abs=1) and memory_share(1) > 2**28


@pytest.mark.parametrize(
    ("told", "names"), [("", []), ("-1", []), ("2, 5", ["2", "5"]), ("GPU-a", ["GPU-a"])]
)
def test_gpus_of_this_process(monkeypatch, told, names):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", told)
    assert visible_gpus() == names


def test_a_gpu_each_as_long_as_there_are_some(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    with one_gpu() as first:
        with one_gpu() as second:
            assert [first, second] == [{"CUDA_VISIBLE_DEVICES": "2"}, {"CUDA_VISIBLE_DEVICES": "5"}]
            with one_gpu() as third:
                assert third["CUDA_VISIBLE_DEVICES"] in ("2", "5")
        with one_gpu() as again:
            assert again == second
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with one_gpu() as none:
        assert none == {}
