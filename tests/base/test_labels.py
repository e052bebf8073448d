import pytest

from metseg.base.labels import label_of


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("nested_unet", "U-Net++"),
        ("run/unet", "run · U-Net"),
        ("lgg-nested_unet", "Glioma (FLAIR) · U-Net++"),
        ("mets-attention_unet", "Metastases · Attention U-Net"),
        ("own-unet", "own · U-Net"),
        ("my-run/attention_unet", "my-run · Attention U-Net"),
        ("another-network", "another-network"),
    ],
)
def test_networks_as_papers_write_them(name, label):
    assert label_of(name) == label
    assert label_of(name, "efficientnet_lite0") == f"{label} on EfficientNet-Lite0"
