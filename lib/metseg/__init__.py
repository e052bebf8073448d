"""metseg: segment brain lesions in MRI with Nested U-Net and Attention U-Net."""

__version__ = "0.1.0"
