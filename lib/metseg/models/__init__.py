"""A name becomes a network; the only package that knows keras-unet-collection."""

from functools import partial

from metseg.base.backend import keras
from metseg.models.nested_unet import build_nested_unet
from metseg.models.unet import build_unet

BUILDERS = {
    "nested_unet": build_nested_unet,
    "attention_unet": partial(build_unet, gated=True),
    "unet": build_unet,
}
ENCODERS = ("plain", "efficientnet_lite0")


def build_model(name: str, *, encoder: str = "plain", **options) -> keras.Model:
    """Builds a network by name; the options are those of its builder.

    Raises:
        ValueError: There is no such network or encoder, or the encoder cannot have such filters or channels.
    """
    for kind, given, valid in (("model", name, BUILDERS), ("encoder", encoder, ENCODERS)):
        if given not in valid:
            raise ValueError(f"unknown {kind} {given!r}; valid are {', '.join(valid)}")
    return BUILDERS[name](encoder=encoder, **options)
