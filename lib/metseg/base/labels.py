"""Networks by what they are, as papers write them."""

_LABELS = {"nested_unet": "U-Net++", "attention_unet": "Attention U-Net", "unet": "U-Net"}
_ENCODERS = {"efficientnet_lite0": "EfficientNet-Lite0"}


def label_of(label: str, encoder: str = "plain") -> str:
    """Returns a network's name, with its pretrained encoder's: `U-Net++ on EfficientNet-Lite0`.

    Of `run/network` the run stays in front.
    """
    *run, model = label.rsplit("/", 1)
    name = _LABELS.get(model, model)
    return " · ".join([*run, name if encoder == "plain" else f"{name} on {_ENCODERS.get(encoder, encoder)}"])
