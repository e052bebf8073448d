"""Networks by what they are, as papers write them."""

_LABELS = {"nested_unet": "U-Net++", "attention_unet": "Attention U-Net", "unet": "U-Net"}
# What released networks know, the first part of their names.
_KINDS = {"lgg": "Glioma (FLAIR)", "mets": "Metastases", "phantom": "Phantom"}
_ENCODERS = {"efficientnet_lite0": "EfficientNet-Lite0"}


def label_of(label: str, encoder: str = "plain") -> str:
    """Returns a network's name, with its pretrained encoder's: `U-Net++ on EfficientNet-Lite0`.

    Of `run/network` the run stays in front; of `lgg-nested_unet` what it knows: `Glioma (FLAIR) · U-Net++`.
    """
    *front, model = label.rsplit("/", 1)
    kind, _, network = model.rpartition("-")
    if kind and network in _LABELS:
        front, model = [*front, _KINDS.get(kind, kind)], network
    name = _LABELS.get(model, model)
    on = "" if encoder == "plain" else f" on {_ENCODERS.get(encoder, encoder)}"
    return " · ".join([*front, f"{name}{on}"])
