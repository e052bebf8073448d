"""A name becomes a network; the only room that knows keras-unet-collection."""

from metseg.backend import keras
from metseg.models.nested_unet import build_nested_unet
from metseg.models.unets import build_attention_unet, build_unet

BUILDERS = {
    "nested_unet": build_nested_unet,
    "attention_unet": build_attention_unet,
    "unet": build_unet,
}


def build_model(name: str, **options) -> keras.Model:
    """Builds a network by name; the options are those of its builder.

    Raises:
        ValueError: There is no such network.
    """
    if name not in BUILDERS:
        raise ValueError(f"unknown model {name!r}; valid are {', '.join(BUILDERS)}")
    return BUILDERS[name](**options)
