"""What goes together in a training of volumes, and what is for slices alone."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metseg.training.config import Network, TrainConfig

_OF_SLICES = {
    "neighbours": "preprocessing",
    "progressive_resizing": "learning",
    "training_patch": "learning",
    "copy_paste": "augmentation",
}


def complain_of_patch(network: "Network") -> None:
    """Raises a `ValueError` unless a network of rank 3 can be built for its patch."""
    if network.encoder != "plain":
        raise ValueError(f"encoder={network.encoder!r} was trained on pictures; rank=3 needs 'plain'")
    if network.flat_poolings > network.poolings:
        raise ValueError(
            f"flat_poolings={network.flat_poolings}, but these filters pool {network.poolings} times"
        )
    z, y, x = network.patch_size
    across = 2**network.poolings
    along = across // 2**network.flat_poolings
    # Twice: of width 1 at the deepest level, bfloat16 convolutions with a stride were wrong on some CPUs.
    if y != x or y % across or z % along or y < 2 * across or z < 2 * along:
        raise ValueError(
            f"patch_size={network.patch_size} does not go with these filters: z is a multiple of {along}, "
            f"{2 * along} at least, y and x are one multiple of {across}, {2 * across} at least"
        )


def complain_of_training_patch(config: "TrainConfig", multiple: int) -> None:
    """Raises a `ValueError` unless slices can be cut to the patch, a multiple of what a network needs."""
    patch, size = config.learning.training_patch, config.preprocessing.image_size
    if patch % multiple or patch > size:
        raise ValueError(
            f"training_patch={patch} is no multiple of {multiple}, which these filters need, up to "
            f"image_size={size}; choose another"
        )
    if patch and config.learning.progressive_resizing:
        raise ValueError("training_patch is cut from whole slices; set progressive_resizing to 0")


def complain_of_insertions(config: "TrainConfig") -> None:
    """Raises a `ValueError` where metastases cannot be inserted into what the network sees."""
    if strange := sorted({*config.regions} - {"TC", "ET", "WT"}):
        which = f"target={config.target!r} has {strange[0] or 'no name'}"
        raise ValueError(f"inserted_scans draws TC, ET and WT, but {which}; name regions, such as TC+ET+WT")
    given = config.preprocessing
    if given.clip_limit or given.intensity == "slice":
        raise ValueError(
            "inserted_scans draws into the network's grey values, which a whole volume must share; set "
            "clip_limit=0 and intensity to tissue, volume or stored"
        )


def complain_of_slices(config: "TrainConfig") -> None:
    """Raises a `ValueError` where a training of rank 3 has what is for slices, or too small slices."""
    for name, group in _OF_SLICES.items():
        if value := getattr(getattr(config, group), name):
            raise ValueError(f"{name}={value} is for slices; with rank=3 set it to 0")
    patch, size = config.network.patch_size, config.preprocessing.image_size
    if patch[1] > size:
        raise ValueError(f"patch_size={patch} is larger than image_size={size}; choose a smaller patch")
