"""A folder is read only as it was exported, and what is wrong with it is named."""

import json
from pathlib import Path

import pytest
from tiny_runs import add_int8, change_description, write_bright_model

from metseg.errors import MetsegError
from metseg.exported import open_exported


@pytest.fixture
def model_dir(tmp_path) -> Path:
    return write_bright_model(tmp_path)


def test_an_int8_file_that_is_missing_changed_or_not_described(model_dir, monkeypatch):
    monkeypatch.setattr("metseg.engines.multiplies", lambda number_format: True)
    onnx = add_int8(model_dir)
    onnx.write_bytes(onnx.read_bytes()[:-1])
    with pytest.raises(MetsegError, match=r"model\.int8\.onnx is not the file that model\.json describes"):
        open_exported(model_dir)
    onnx.unlink()
    with pytest.raises(MetsegError, match=r"model\.int8\.onnx is missing"):
        open_exported(model_dir)
    change_description(model_dir, quantised=None)
    with pytest.raises(MetsegError, match=r"model\.json is damaged"):
        open_exported(model_dir)


def test_an_unknown_precision_is_damage(model_dir):
    change_description(model_dir, precision="fp7")
    with pytest.raises(MetsegError, match=r"model\.json is damaged .*fp7.*; export the model again"):
        open_exported(model_dir)


def test_a_changed_byte_is_found(model_dir):
    content = bytearray((model_dir / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (model_dir / "model.onnx").write_bytes(content)
    with pytest.raises(MetsegError, match=r"model\.onnx is not the file that model\.json describes; export"):
        open_exported(model_dir)


@pytest.mark.parametrize("name", ["model.onnx", "model.json"])
def test_a_missing_file_is_named(model_dir, name):
    (model_dir / name).unlink()
    with pytest.raises(MetsegError, match=f"{name} is missing"):
        open_exported(model_dir)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"threshold"', '"treshold"'),
        lambda text: text.replace('"sha256"', '"md5"'),
        lambda text: text.replace('"image_size": 32', '"image_size": "large"'),
        lambda text: text.replace('"clip_limit"', '"clahe"'),
        lambda text: text.replace('"threshold": 0.5', '"threshold": null'),
        lambda text: text.replace('"threshold": 0.5', '"threshold": 1.0'),
        lambda text: text.replace('"min_lesion_px": 0', '"min_lesion_px": -1'),
        lambda text: text.replace('"flip_average"', '"flips"'),
        lambda text: text.replace('"flip_average": false', '"flip_average": "false"').replace(
            '"flip_average": true', '"flip_average": "true"'
        ),
        lambda text: text.replace('"name": ', '"name": [], "was": ', 1),
        lambda text: text.rstrip().removesuffix("}") + ', "min_volume_share": 7}',
        lambda text: text.rstrip().removesuffix("}") + ', "min_volume_share": NaN}',
        lambda text: text.rstrip().removesuffix("}") + f', "min_volume_share": 1{"0" * 400}}}',
        lambda text: "[" * 200_000,
        lambda text: text.replace('"postprocessing"', '"threshold"'),  # as before there was more to it
        lambda text: b"\xff\xfe\x00".decode("latin1") + text,
    ],
)
def test_a_damaged_description_is_named(model_dir, damage):
    path = model_dir / "model.json"
    text = path.read_text(encoding="utf-8")
    assert damage(text) != text
    path.write_bytes(damage(text).encode("latin1", "replace"))
    with pytest.raises(MetsegError, match=r"model\.json is damaged .*; export the model again"):
        open_exported(model_dir)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("of_input", [{"image_size": 48}, {"neighbours": 1}])
def test_a_description_of_another_network_input_is_named(model_dir, monkeypatch, of_input, precision):
    monkeypatch.setattr("metseg.engines.multiplies", lambda number_format: True)
    settings = json.loads((model_dir / "model.json").read_text())["preprocessing"]
    change_description(model_dir, preprocessing={**settings, **of_input}, precision=precision)
    with pytest.raises(MetsegError, match=r"as network input, model\.onnx takes 32 × 32 × 3; export"):
        open_exported(model_dir)
