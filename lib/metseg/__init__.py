"""metseg: segment brain lesions in MRI with Nested U-Net and Attention U-Net."""

import os

# TensorFlow greets every machine without an NVIDIA card with errors; what matters is raised, not logged.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"
