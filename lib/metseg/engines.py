"""What runs an exported network: ONNX Runtime in float32, OpenVINO in bfloat16 and in int8."""

from collections.abc import Sequence
from typing import Literal, Protocol, get_args

import numpy as np

from metseg.hardware import cores, multiplies

Precision = Literal["fp32", "bf16", "int8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


class Engine(Protocol):
    """A network that is ready to run, from as many threads at once as there are cores.

    A run takes one slice and one thread. That keeps the slice in one core's cache, is faster than a batch,
    and makes a result independent of the slices around it.

    Attributes:
        library: What runs it.
        precision: What it multiplies in.
        outputs: Names of what it returns.
    """

    library: str
    precision: Precision
    outputs: tuple[str, ...]

    def run(self, outputs: Sequence[str], image: np.ndarray) -> list[np.ndarray]:
        """Returns for each name, which is one of `outputs`, float32 for an (S, S, 3) float32 image."""
        ...


def native(precision: Precision) -> Precision:
    """Returns a precision where the CPU multiplies it natively, else `fp32`: emulated it would be slower."""
    return precision if precision == "fp32" or multiplies(precision) else "fp32"


def open_engine(content: bytes, precision: Precision) -> Engine:
    """Loads an ONNX file into what runs it fastest here.

    Args:
        content: Of the file.
        precision: `fp32` and `bf16` go with a network in float32, `int8` with one that carries the scales
            of its integers. Where it is not native, `fp32` takes its place; a file with integers keeps its
            rounded numbers, so whoever has the network in float32 as well opens that instead.

    Raises:
        Exception: The content is no network; each library has kinds of its own.
    """
    if native(precision) == "fp32":
        return OnnxRuntimeEngine(content)
    return OpenVinoEngine(content, precision)


class OnnxRuntimeEngine:
    """ONNX Runtime, in float32."""

    library, precision = "ONNX Runtime", "fp32"

    def __init__(self, content: bytes):
        import onnxruntime  # here, for a process needs one of the two libraries at most

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        # Without VNNI its integer kernels sum products in 16 bits, which overflow.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self.outputs = tuple(output.name for output in self._session.get_outputs())

    def run(self, outputs: Sequence[str], image: np.ndarray) -> list[np.ndarray]:
        """See `Engine`."""
        return [output[0] for output in self._session.run(list(outputs), {self._input: image[None]})]


class OpenVinoEngine:
    """OpenVINO, in bfloat16, or in int8 with bfloat16 for what is left."""

    library = "OpenVINO"

    def __init__(self, content: bytes, precision: Precision):
        import openvino

        core = openvino.Core()
        network = core.read_model(content, b"")
        # With the batch left open its code was slower by 12 % in bfloat16 and by 39 % in int8.
        network.reshape([1, *(side.get_length() for side in network.input().partial_shape[1:])])
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if multiplies("bf16") else "f32",
            "INFERENCE_NUM_THREADS": cores(),
            "NUM_STREAMS": cores(),  # a thread each
            "ENABLE_CPU_PINNING": False,  # several processes would be pinned to the same core
        }
        self._network = core.compile_model(network, "CPU", settings)
        self.precision = precision
        self.outputs = tuple(output.any_name for output in network.outputs)

    def run(self, outputs: Sequence[str], image: np.ndarray) -> list[np.ndarray]:
        """See `Engine`."""
        request = self._network.create_infer_request()  # a request serves one thread; to make one is cheap
        request.infer([np.ascontiguousarray(image[None])], share_inputs=True)
        return [request.get_tensor(name).data[0].copy() for name in outputs]
