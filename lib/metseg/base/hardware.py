"""What this machine offers, the number format that suits it, and which state of the checkout runs on it."""

import os
import platform
import subprocess
from pathlib import Path

_FLAGS = {"bf16": {"avx512_bf16", "amx_bf16"}, "int8": {"avx512_vnni", "avx_vnni", "amx_int8"}}


def _gpus() -> list:
    from metseg.base.backend import keras  # here, so that prediction can name the CPU without it

    if keras.backend.backend() != "tensorflow":
        return []
    import tensorflow as tf

    return tf.config.list_physical_devices("GPU")


def cpu_name() -> str:
    """Returns the CPU's model name, as far as the system tells."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(field: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(field)), "")


def best_precision() -> str:
    """Returns the Keras dtype policy that trains fastest here.

    bfloat16 where the CPU (AVX512-BF16, AMX) or the GPU (from compute capability 8) multiplies it natively,
    float16 on older GPUs; float32 elsewhere, for a CPU that only emulates bfloat16 is slower with it.
    """
    if gpus := _gpus():
        import tensorflow as tf

        details = tf.config.experimental.get_device_details(gpus[0])
        return "mixed_bfloat16" if details.get("compute_capability", (0, 0)) >= (8, 0) else "mixed_float16"
    return "mixed_bfloat16" if multiplies("bf16") else "float32"


def multiplies(number_format: str) -> bool:
    """Returns whether the CPU multiplies `bf16` or `int8` natively, as far as the system tells."""
    return not _FLAGS[number_format].isdisjoint(_cpuinfo("flags").split())


def cores() -> int:
    """Returns the cores that this process may use: in a container, or where several trainings share a machine
    and OMP_NUM_THREADS tells each its share, they are fewer than the machine's."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(usable, int(told)) if told.isdecimal() and int(told) else usable


def describe_hardware() -> dict:
    """Returns what a manifest says of the machine."""
    gpus = [device.name for device in _gpus()]
    return {"cpu": cpu_name(), "cores": os.cpu_count(), "gpus": gpus, "system": platform.platform()}


def git_revision() -> str | None:
    """Returns the checkout's commit, with `+changes` if files differ from it; None outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+changes"]
    options = {"cwd": Path(__file__).parent, "capture_output": True, "text": True, "timeout": 10}
    try:
        return subprocess.run(command, **options, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
