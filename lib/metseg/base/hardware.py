"""What this machine offers, and the number format that suits it."""

import os
import platform
from pathlib import Path

_FLAGS = {"bf16": {"avx512_bf16", "amx_bf16"}, "int8": {"avx512_vnni", "avx_vnni", "amx_int8"}}


def gpu_names() -> list[str]:
    """Returns the GPUs that Keras's backend sees, TensorFlow or JAX."""
    return [str(getattr(device, "name", device)) for device in _gpus()]


def _gpus() -> list:
    from metseg.base.backend import keras  # here, so that prediction can name the CPU without it

    if keras.backend.backend() == "jax":
        import jax

        return [device for device in jax.devices() if device.platform == "gpu"]
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
        from metseg.base.backend import keras

        if keras.backend.backend() != "tensorflow":
            return "mixed_bfloat16"  # which JAX's GPUs are trusted to multiply
        import tensorflow as tf

        details = tf.config.experimental.get_device_details(gpus[0])
        return "mixed_bfloat16" if details.get("compute_capability", (0, 0)) >= (8, 0) else "mixed_float16"
    return "mixed_bfloat16" if multiplies("bf16") else "float32"


def multiplies(number_format: str) -> bool:
    """Returns whether the CPU multiplies `bf16` or `int8` natively, as far as the system tells."""
    return not _FLAGS[number_format].isdisjoint(_cpuinfo("flags").split())


def cores() -> int:
    """Returns the cores that this process may use, which in a container are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_hardware() -> dict:
    """Returns what a manifest says of the machine."""
    return {"cpu": cpu_name(), "cores": os.cpu_count(), "gpus": gpu_names(), "system": platform.platform()}
