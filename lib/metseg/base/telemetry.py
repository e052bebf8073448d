"""Nothing is sent to a library's maker: what ONNX Runtime and OpenVINO would send is switched off.

Once imported, each would write an identifier below HOME and look up an address of its maker.
"""

import os
import sys


def switch_off() -> None:
    """Switches it off for this process and those that it starts, before either library is imported."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # OpenVINO has a stub of its own for where this package cannot be imported.
    sys.modules.setdefault("openvino_telemetry", None)
