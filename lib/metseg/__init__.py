"""metseg: segment brain lesions in MRI with Nested U-Net and Attention U-Net."""

from metseg.base.onednn import use_onednn
from metseg.base.telemetry import switch_off

__version__ = "0.1.0"
switch_off()  # here, for whatever is imported of metseg, these run before it
use_onednn()
