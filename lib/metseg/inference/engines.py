"""What runs an exported network: ONNX Runtime slices in float32, OpenVINO all else."""

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np

from metseg.base.hardware import cores, multiplies

Precision = Literal["fp32", "bf16", "int8"]
_first_core = threading.Lock()


class Engine:
    """A network that is ready to run, from as many threads at once as there are cores.

    A run takes one slice, or one patch of a network of volumes. That keeps the slice in a core's cache, is
    faster than a batch, and makes a result independent of the slices around it.
    """

    library: str
    precision: Precision
    input_shape: tuple[int, ...]  # (S, S, C), or (Z, Y, X, C)
    outputs: tuple[str, ...]

    def __init__(self):
        self._made, self._lock = dict[int, Any](), threading.Lock()

    def run(self, outputs: Sequence[str], image: np.ndarray, *, all_cores: bool = False) -> list[np.ndarray]:
        """Returns for each name, which is one of `outputs`, float32 for a float32 image of `input_shape`.

        With `all_cores` as suits a slice that comes alone, else with one, as suits one of many. The numbers
        are the same, to the rounding of sums at most.
        """
        raise NotImplementedError

    def _form(self, *, all_cores: bool) -> Any:
        """Returns the network made ready for one core or for all, each when it is first asked for."""
        threads = cores() if all_cores else 1
        if threads not in self._made:
            with self._lock:  # whoever wants the other form need not wait
                if threads not in self._made:
                    self._made[threads] = self._make(threads)
        return self._made[threads]


def native(precision: Precision) -> Precision:
    """Returns a precision where the CPU multiplies it natively, else `fp32`: emulated it would be slower."""
    return precision if precision == "fp32" or multiplies(precision) else "fp32"


def open_engine(content: bytes, precision: Precision, *, of_volumes: bool = False) -> Engine:
    """Loads the content of an ONNX file into what runs it fastest here; where not native, in float32.

    Convolutions of volumes take ONNX Runtime twice as long as OpenVINO, in float32 too.

    Raises:
        Exception: It is no network; each library has kinds of its own.
    """
    precision = native(precision)
    if precision == "fp32" and not of_volumes:
        return OnnxRuntimeEngine(content)
    return OpenVinoEngine(content, precision)


class OnnxRuntimeEngine(Engine):
    """ONNX Runtime, in float32."""

    library, precision = "ONNX Runtime", "fp32"

    def __init__(self, content: bytes):
        super().__init__()
        self._content = content
        session = self._form(all_cores=True)
        (taken,) = session.get_inputs()
        self._input, self.input_shape = taken.name, tuple(taken.shape[1:])
        self.outputs = tuple(output.name for output in session.get_outputs())

    def run(self, outputs: Sequence[str], image: np.ndarray, *, all_cores: bool = False) -> list[np.ndarray]:
        session = self._form(all_cores=all_cores)
        return [output[0] for output in session.run(list(outputs), {self._input: image[None]})]

    def _make(self, threads: int) -> Any:
        import onnxruntime  # here, for a process needs one of the two libraries at most

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Without VNNI its integer kernels sum products in 16 bits, which overflow.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        return onnxruntime.InferenceSession(self._content, options, providers=["CPUExecutionProvider"])


@cache
def _openvino_core() -> Any:
    """Returns the one core of a process, which stays.

    Each has a stack of its own for signals (openvinotoolkit/openvino#11894). Where two ended in the order in
    which they began, the stack of the first was left in place though freed, and Ctrl-C ended the process with
    a segmentation fault.
    """
    import openvino

    # Two threads that made a process's first tensor at once were seen to wait for each other for ever.
    openvino.Tensor(np.zeros(1, np.float32))
    return openvino.Core()


class OpenVinoEngine(Engine):
    """OpenVINO, in bfloat16, in int8 with bfloat16 for what is left, or in float32."""

    library = "OpenVINO"

    def __init__(self, content: bytes, precision: Precision):
        super().__init__()
        with _first_core:
            self._core = _openvino_core()
        self._network = self._core.read_model(content, b"")
        # With the batch left open its code was slower by 12 % in bfloat16 and by 39 % in int8.
        self.input_shape = tuple(side.get_length() for side in self._network.input().partial_shape[1:])
        self._network.reshape([1, *self.input_shape])
        self.precision = precision
        self.outputs = tuple(output.any_name for output in self._network.outputs)

    def run(self, outputs: Sequence[str], image: np.ndarray, *, all_cores: bool = False) -> list[np.ndarray]:
        # A request serves one thread; to make one is cheap.
        request = self._form(all_cores=all_cores).create_infer_request()
        request.infer([np.ascontiguousarray(image[None])], share_inputs=True)
        return [request.get_tensor(name).data[0].copy() for name in outputs]

    def _make(self, threads: int) -> Any:
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if self.precision != "fp32" and multiplies("bf16") else "f32",
            "INFERENCE_NUM_THREADS": cores(),
            "NUM_STREAMS": cores() // threads,
            "ENABLE_CPU_PINNING": False,  # several processes would be pinned to the same core
        }
        return self._core.compile_model(self._network, "CPU", settings)
