import numpy as np
import pytest

from metseg.base.paths import released_dir
from metseg.inference.predictor import Predictor
from metseg.masks.components import number_lesions
from metseg.release.released import kind_of, released_models
from metseg.serve import examples
from metseg.serve.examples import EXAMPLES, FOLDER, load_example, write_examples
from metseg.serve.upload import read_upload


def test_they_are_what_the_phantom_draws(tmp_path, monkeypatch):
    """But for a grey value where another machine's blur rounds the other way."""
    monkeypatch.setattr(examples, "EXAMPLES", {name: EXAMPLES[name] for name in ("glioma", "ring")})
    write_examples(tmp_path)
    for name in ("glioma", "ring"):
        drawn = read_upload((tmp_path / f"{name}.png").read_bytes()).image
        shipped, mask = load_example(name)
        assert np.abs(drawn.astype(int) - shipped.image).max() <= 2
        again = read_upload((tmp_path / f"{name}_mask.png").read_bytes()).image[..., 0] > 0
        assert np.count_nonzero(again != mask) <= 2


def test_each_is_a_small_slice_with_lesions_to_see():
    for name in EXAMPLES:
        upload, mask = load_example(name)
        assert upload.image.shape == (160, 160, 3) and upload.image.dtype == np.uint8
        assert upload.spacing_mm == (5.0, 1.25, 1.25)
        assert mask.shape == (160, 160) and mask.sum() >= 50
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 260_000


@pytest.mark.parametrize(
    "network", [name for name, known in released_models(released_dir()).items() if kind_of(known) == "lgg"]
)
def test_the_released_networks_of_glioma_know_what_one_example_shows(network):
    """The others show metastases."""
    upload, mask = load_example("glioma")
    (found,) = Predictor(released_dir() / network).mask(upload.volume)
    assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) > 0.9
    assert number_lesions(found)[0].max() == 1
