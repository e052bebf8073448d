"""The pretrained encoder: its features against numbers of PyTorch's, and its file read safely."""

import pickle
import struct

import keras
import numpy as np
import pytest

from metseg.base.errors import MetsegError
from metseg.models import build_model
from metseg.models.encoders import efficientnet_lite as lite

# Of the features of `ramp` by the package efficientnet_lite_pytorch 0.1.0 on PyTorch 2.13, finest first:
# standard deviation, mean of channel 3, and the last channel at the upper left.
BY_PYTORCH = [
    ((32, 32, 16), 6.979377, -2.350889, -2.338022),
    ((16, 16, 24), 8.757651, 5.551860, 1.014226),
    ((8, 8, 40), 8.905401, -13.237215, -13.790543),
    ((4, 4, 112), 6.699644, 2.885017, 7.186526),
    ((2, 2, 320), 2.437041, -0.394935, -0.975627),
]


@pytest.fixture(scope="module")
def ramp() -> np.ndarray:
    """(1, 64, 64, 3): three ramps that differ."""
    y, x = np.mgrid[:64, :64].astype(np.float32) / 63
    return np.stack([y, x, 1 - y * x], axis=-1)[None]


def features_of(levels: int, *, channels: int = 3) -> keras.Model:
    image = keras.Input((None, None, channels))
    return keras.Model(image, lite.encoder_features(image, levels))


def test_features_are_those_of_pytorch(ramp):
    model = features_of(lite.DEEPEST)
    lite.load_imagenet(model)
    features = model.predict_on_batch(ramp)
    for found, (shape, deviation, mean, corner) in zip(features, BY_PYTORCH, strict=True):
        assert found.shape == (1, *shape)
        assert float(found.std()) == pytest.approx(deviation, rel=1e-4)
        assert float(found[..., 3].mean()) == pytest.approx(mean, rel=1e-4)
        assert float(found[0, 0, 0, -1]) == pytest.approx(corner, rel=1e-4)


def test_neighbours_begin_without_a_say(ramp):
    single, beside = features_of(2), features_of(2, channels=9)
    for model in (single, beside):
        lite.load_imagenet(model)
    among_others = np.concatenate([ramp, 1 - ramp, ramp[:, ::-1]], axis=-1)
    for a, b in zip(beside.predict_on_batch(among_others), single.predict_on_batch(ramp), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.ptp(b))  # sums of 81 terms and of 27


def test_only_the_encoder_is_given_weights():
    keras.utils.set_random_seed(0)
    model = build_model("attention_unet", filters=(4, 8), encoder="efficientnet_lite0")
    before = {layer.name: layer.get_weights() for layer in model.layers}
    lite.load_imagenet(model)
    for layer in model.layers:
        same = all(np.array_equal(a, b) for a, b in zip(layer.get_weights(), before[layer.name], strict=True))
        assert same != (layer.name.startswith("encoder_") and bool(layer.weights)), layer.name


def test_without_the_package_the_remedy_is_told(monkeypatch):
    monkeypatch.setattr(lite, "_PACKAGE", "no_such_package")
    with pytest.raises(MetsegError, match="needs its weights, the package no-such-package; install"):
        lite.load_imagenet(features_of(2))


class Tensor:
    """Where a tensor's numbers lie in a storage."""

    def __init__(self, key: str, offset: int, shape: tuple, strides: tuple):
        self.parts = (key, offset, shape, strides)


def written(path, tensors: dict, storages: dict, *, rebuild: bytes = b"torch._utils _rebuild_tensor_v2"):
    """Writes a file of PyTorch before 1.6 by hand, opcode by opcode."""

    def word(text: str) -> bytes:
        return b"X" + struct.pack("<I", len(text)) + text.encode()

    module, function = rebuild.split()
    body = b"\x80\x02ccollections\nOrderedDict\n)R("
    for name, tensor in tensors.items():
        key, offset, shape, strides = tensor.parts
        body += word(name) + b"c" + module + b"\n" + function + b"\n("
        body += b"(" + word("storage") + b"ctorch\nFloatStorage\n" + word(key) + word("cpu")
        body += pickle.dumps(len(storages[key]), 2)[2:-1] + b"NtQ"
        body += pickle.dumps(offset, 2)[2:-1]
        for numbers in (shape, strides):
            body += b"(" + b"".join(pickle.dumps(n, 2)[2:-1] for n in numbers) + b"t"
        body += b"\x89ccollections\nOrderedDict\n)RtR"
    body += b"u."
    with path.open("wb") as file:
        for header in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(header, file, protocol=2)
        file.write(body)
        pickle.dump(list(storages), file, protocol=2)
        for numbers in storages.values():
            file.write(struct.pack("<q", len(numbers)) + np.asarray(numbers, "<f4").tobytes())
    return path


def test_tensors_are_read_with_offset_and_strides(tmp_path):
    tensors = {
        "rows": Tensor("0", 1, (2, 3), (3, 1)),
        "columns": Tensor("0", 0, (3, 2), (1, 3)),
        "other": Tensor("1", 0, (1,), (1,)),
    }
    read = lite.read_tensors(written(tmp_path / "x.pth", tensors, {"0": range(7), "1": [0.5]}))
    assert list(read) == ["rows", "columns", "other"]
    np.testing.assert_array_equal(read["rows"], [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(read["columns"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(read["other"], [0.5])


def test_a_file_that_asks_for_code_is_refused(tmp_path):
    path = written(tmp_path / "x.pth", {"a": Tensor("0", 0, (1,), (1,))}, {"0": [1]}, rebuild=b"os system")
    with pytest.raises(pickle.UnpicklingError, match=r"os\.system is no part of a file of tensors"):
        lite.read_tensors(path)


@pytest.mark.parametrize("shape", [(2, 4), (8,)])
def test_a_tensor_beyond_its_storage_is_refused(tmp_path, shape):
    tensor = Tensor("0", 0, shape, (4, 1)[-len(shape) :])
    with pytest.raises(ValueError, match="buffer"):
        lite.read_tensors(written(tmp_path / "x.pth", {"a": tensor}, {"0": range(7)}))


def test_a_damaged_file_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(lite, "_FILE", tmp_path / "weights.pth")
    whole = written(tmp_path / "whole.pth", {"a": Tensor("0", 0, (7,), (1,))}, {"0": range(7)}).read_bytes()
    for content in (b"", b"words", whole[:40], whole[:-10]):
        (tmp_path / "weights.pth").write_bytes(content)
        with pytest.raises(MetsegError, match="weights.pth is missing or damaged; install its package again"):
            lite.load_imagenet(features_of(2))
