"""A folder is read only as it was exported, and what is wrong with it is named."""

import hashlib
import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_runs import add_int8, change_description, write_bright_model

from metseg.base.errors import MetsegError, MetsegWarning, OutOfMemory
from metseg.base.files import read_json
from metseg.inference.description import install, open_exported
from metseg.inference.probe import probe


@pytest.fixture
def model_dir(tmp_path) -> Path:
    return write_bright_model(tmp_path)


def test_an_int8_file_that_is_missing_changed_or_not_described(model_dir, monkeypatch):
    monkeypatch.setattr("metseg.inference.engines.multiplies", lambda number_format: True)
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
    with pytest.raises(MetsegError, match=r"model\.json is damaged .*precision.*; export the model again"):
        open_exported(model_dir)


def test_a_changed_byte_is_found(model_dir):
    content = bytearray((model_dir / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (model_dir / "model.onnx").write_bytes(content)
    with pytest.raises(MetsegError, match=r"model\.onnx is not the file that model\.json describes; export"):
        open_exported(model_dir)


def interrupted_import(*_, **__):
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt as error:
        raise ImportError("initialization failed") from error


def test_an_interrupt_while_a_library_is_loaded_is_no_fault_of_the_model(model_dir, monkeypatch):
    """An extension made with pybind11 turns it into an ImportError."""
    monkeypatch.setattr("metseg.inference.description.open_engine", interrupted_import)
    with pytest.raises(KeyboardInterrupt):
        open_exported(model_dir)


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (MemoryError(), OutOfMemory),
        (RuntimeError("Loading input model\nstd::bad_alloc\n"), OutOfMemory),  # as OpenVINO says it
        (RuntimeError("Protobuf parsing\nfailed."), MetsegError),
    ],
)
def test_why_a_network_cannot_be_opened(model_dir, monkeypatch, raised, told):
    def fail(*_, **__):
        raise raised

    monkeypatch.setattr("metseg.inference.description.open_engine", fail)
    with pytest.raises(MetsegError, match=r"model\.onnx") as caught:
        open_exported(model_dir)
    assert type(caught.value) is told and caught.value.__cause__ is raised
    assert "\n" not in str(caught.value) and ("Protobuf" in str(caught.value)) == (told is MetsegError)


@pytest.mark.parametrize("name", ["model.onnx", "model.json"])
def test_a_missing_file_is_named(model_dir, name):
    (model_dir / name).unlink()
    with pytest.raises(MetsegError, match=f"{name} is missing"):
        open_exported(model_dir)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace('"threshold"', '"treshold"'),
        lambda text: text.replace('"sha256"', '"md5"'),
        lambda text: text.replace('"image_size": 32', '"image_size": "large"'),
        lambda text: text.replace('"threshold": 0.5', '"threshold": 1.0'),
        lambda text: text.replace('"min_lesion_px": 0', '"min_lesion_px": -1'),
        lambda text: text.replace('"tta_flip"', '"flips"'),
        lambda text: text.replace('"tta_flip": false', '"tta_flip": "false"').replace(
            '"tta_flip": true', '"tta_flip": "true"'
        ),
        lambda text: text.replace('"name": ', '"name": [], "was": ', 1),
        lambda text: text.rstrip().removesuffix("}") + ', "min_volume_share": 7}',
        lambda text: text.rstrip().removesuffix("}") + ', "min_volume_share": NaN}',
        lambda text: "[" * 200_000,
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


@pytest.mark.parametrize(
    ("of_input", "precision"), [({"image_size": 48}, "bf16"), ({"neighbours": 1}, "fp32")]
)
def test_a_description_of_another_network_input_is_named(model_dir, monkeypatch, of_input, precision):
    monkeypatch.setattr("metseg.inference.engines.multiplies", lambda number_format: True)
    settings = json.loads((model_dir / "model.json").read_text())["preprocessing"]
    change_description(model_dir, preprocessing={**settings, **of_input}, precision=precision)
    with pytest.raises(MetsegError, match=r"another input than model\.onnx's, 32 × 32 × 3; export"):
        open_exported(model_dir)


@pytest.mark.parametrize("name", ["../other", "a\\b", "..", "", "a\0b", "C:x"])
def test_a_name_that_leads_out_of_its_folder_is_refused(model_dir, name):
    change_description(model_dir, name=name)
    with pytest.raises(MetsegError, match=r"model\.json is damaged .*name.*; export the model again"):
        open_exported(model_dir)


def test_weights_in_another_file_are_refused(model_dir):
    """They have no hash, and their path may lead anywhere."""
    path = model_dir / "model.onnx"
    network = onnx.load(path)
    onnx.save(network, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (model_dir / "weights.bin").exists()
    change_description(model_dir, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(MetsegError, match=r"model\.onnx keeps weights in other files; export"):
        open_exported(model_dir)


def test_a_layer_called_location_is_no_other_file(model_dir):
    path = model_dir / "model.onnx"
    network = onnx.load(path)
    network.graph.node[0].name = "location"
    onnx.save(network, path)
    change_description(model_dir, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert open_exported(model_dir).onnx == path


def test_another_preprocessing_than_it_was_exported_with_is_told(model_dir):
    config = open_exported(model_dir).known.preprocessing  # of an older export, which does not tell
    change_description(model_dir, probe=probe(config), opencv="4.0.0")
    open_exported(model_dir)
    change_description(model_dir, probe=[mean + 0.01 for mean in probe(config)])
    with pytest.warns(MetsegWarning, match=r"gives unet another input now .*OpenCV 4\.0\.0, here "):
        open_exported(model_dir)


# put in place


class Killed(BaseException):
    """In the place of `kill -9`: from some step on nothing is done any more, not even clearing up."""


def killed_at(patch, step: int) -> None:
    """Lets so many changes to the disk pass, and none after them."""
    steps = itertools.count()

    def mortal(original):
        def call(*args, **options):
            if next(steps) >= step:
                raise Killed
            return original(*args, **options)

        return call

    for module, name in ((os, "replace"), (os, "unlink"), (os, "fsync"), (shutil, "copyfile")):
        patch.setattr(module, name, mortal(getattr(module, name)))


@pytest.mark.parametrize("int8", ["neither", "former", "next"])
def test_a_kill_at_any_step_leaves_a_model_that_serves(tmp_path, monkeypatch, int8):
    """The former one or the next, whole; and the next call leaves nothing else."""
    monkeypatch.setattr("metseg.inference.engines.multiplies", lambda number_format: number_format == "int8")
    former = write_bright_model(tmp_path / "former", validation_dice=0.1)
    following = write_bright_model(tmp_path / "next", channels=(1.0, 0.0, 0.0), validation_dice=0.2)
    if int8 != "neither":
        add_int8(tmp_path / int8)
    networks = {name: following / name for name in ("model.onnx", "model.int8.onnx")}
    networks = {name: path for name, path in networks.items() if path.exists()}
    description = read_json(following / "model.json")
    hashes = [open_exported(each).sha256 for each in (former, following)]
    shutil.rmtree(former / "blind", ignore_errors=True)
    serving = []
    for step in itertools.count():
        target = tmp_path / f"killed at {step}"
        shutil.copytree(former, target)
        try:
            with monkeypatch.context() as patch:
                killed_at(patch, step)
                install(networks, description, target)
            finished = True
        except Killed:
            finished = False
        found = open_exported(target)
        serving.append(hashes.index(found.sha256))
        assert found.description["validation_dice"] == (0.1, 0.2)[serving[-1]]
        assert hashlib.sha256(found.onnx.read_bytes()).hexdigest() == found.sha256
        # Killed again on the way, and again it serves.
        for again in (0, 3):
            with monkeypatch.context() as patch, pytest.raises(Killed):
                killed_at(patch, again)
                install(networks, description, target)
            assert open_exported(target).sha256 in hashes
        install(networks, description, target)
        assert open_exported(target).sha256 == hashes[1]
        left = {path.name for path in target.iterdir() if not path.name.startswith(f".{os.getpid()}.")}
        assert left == {*networks, "model.json"}
        if finished:
            break
    assert serving == sorted(serving) and set(serving) == {0, 1} and len(serving) > 6


def test_a_reader_that_comes_between_description_and_network_reads_again(model_dir, tmp_path, monkeypatch):
    following = write_bright_model(tmp_path / "next", channels=(1.0, 0.0, 0.0))
    read_bytes, done = Path.read_bytes, []

    def replaced_meanwhile(path):
        if path == model_dir / "model.onnx" and not done:
            done.append(path)
            install({"model.onnx": following / "model.onnx"}, read_json(following / "model.json"), model_dir)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", replaced_meanwhile)
    assert open_exported(model_dir).sha256 == read_json(following / "model.json")["sha256"]
    assert done


def test_a_damaged_description_does_not_keep_a_new_model_out(model_dir, tmp_path):
    (model_dir / "model.json").write_text("torn")
    (model_dir / ".next.model.onnx").write_bytes(b"left by a kill")
    following = write_bright_model(tmp_path / "next", channels=(1.0, 0.0, 0.0))
    install({"model.onnx": following / "model.onnx"}, read_json(following / "model.json"), model_dir)
    assert open_exported(model_dir).engine.run(["prob"], np.zeros((32, 32, 3), np.float32))[0].max() < 0.5


def test_scores_of_a_former_model_count_no_longer(tmp_path):
    former, following = (write_bright_model(tmp_path / name) for name in ("former", "next"))
    (former / "evaluation").mkdir()
    (former / "evaluation" / "evaluation.json").write_text("{}")
    install({"model.onnx": following / "model.onnx"}, read_json(following / "model.json"), former)
    assert not (former / "evaluation" / "evaluation.json").exists()
