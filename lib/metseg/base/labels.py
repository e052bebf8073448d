"""Networks as papers write them."""

_LABELS = {
    "nested_unet": "Nested U-Net",
    "attention_unet": "Attention U-Net",
    "unet": "U-Net",
    "ensemble": "Ensemble",
}


def label_of(label: str) -> str:
    """Returns a network's name as papers write it; `run/network` keeps the run in front."""
    *run, model = label.rsplit("/", 1)
    return " · ".join([*run, _LABELS.get(model, model)])
