"""Several trained networks become one, whose probability is the mean of theirs."""

from collections.abc import Sequence
from pathlib import Path

from metseg.base.backend import keras
from metseg.base.errors import MetsegError
from metseg.base.files import (
    file_sha256,
    read_json,
    replacing,
    shown,
    sole_writer,
    taking_apart,
    write_json,
    write_text,
)
from metseg.data.split import read_split, write_split
from metseg.models.inspect import inference_model
from metseg.training.runs import ENSEMBLE
from metseg.training.trained import load_network, merged_slices, seen_patients, seen_slices, trained_config


def build_ensemble(members: Sequence[Path], model_dir: Path) -> Path:
    """Writes a model that averages the probabilities of several trained networks.

    It leaves behind what a training does, so that it is exported, scored and released as any network:
    `config.json` (that of the first member), `split.json`, `model.keras` and, last, `manifest.json`.

    Args:
        members: Folders of finished trainings on one split, with one preprocessing.
        model_dir: Folder to write to.

    Returns:
        `model_dir`.

    Raises:
        MetsegError: There are fewer than two members, one is there twice or an ensemble itself, two differ in
            their split or preprocessing, or another process writes to the folder. What was there stays then.
    """
    members, model_dir = list(map(Path, members)), Path(model_dir)
    if len(members) < 2:
        raise MetsegError("an ensemble needs two trained networks or more; name their runs or folders")
    manifests = [read_json(folder / "manifest.json") for folder in members]
    for folder, manifest in zip(members, manifests, strict=True):
        if manifest.get("members"):
            raise MetsegError(f"{shown(folder)} is an ensemble already; name the networks themselves")
    configs = [trained_config(folder) for folder in members]
    described = [_described(folder, each) for folder, each in zip(members, manifests, strict=True)]
    if len({each["sha256"] for each in described}) < len(members):
        raise MetsegError("an ensemble has each network once; name different ones")
    split = read_split(members[0] / "split.json")
    for folder, config in zip(members, configs, strict=True):
        if read_split(folder / "split.json") != split:
            raise MetsegError(f"{_pair(members[0], folder)} have different splits; train both with one")
        if config.preprocessing != configs[0].preprocessing:
            raise MetsegError(
                f"{_pair(members[0], folder)} have different preprocessing; train both with the same"
            )
    network = mean_network([load_network(folder / "model.keras") for folder in members])
    # It has one output, whatever its members have.
    config = configs[0].model_copy(update={"deep_supervision": False})
    seen = [seen_patients(folder) for folder in members]
    before = {
        "learned_from": sorted(set().union(*(each.learned_from for each in seen))),
        "chosen_on": sorted(set().union(*(each.chosen_on for each in seen))),
        "slice_hashes": merged_slices(map(seen_slices, members)),
    }
    manifest = {
        **{name: value for name, value in manifests[0].items() if name != "predicts_nothing"},
        "model": ENSEMBLE,
        "members": described,
        "config": config.model_dump(mode="json"),
        "finished": max(each["finished"] for each in manifests),
        "parameters": network.count_params(),
        "epochs_trained": sum(each["epochs_trained"] for each in manifests),
        "train_seconds": sum(each["train_seconds"] for each in manifests),
        "best_epoch": None,
        # Where none of them gets to the threshold, their mean does not.
        "predicts_nothing": all(each.get("predicts_nothing", False) for each in manifests),
        "validation_dice": None,
        "extended": [],
        "start": before if any(manifest.get("start") for manifest in manifests) else None,
    }
    with sole_writer(model_dir):
        with replacing(model_dir / "model.keras") as partial:
            network.save(partial)
            for name in ("manifest.json", "model.json", "evaluation/evaluation.json"):
                (model_dir / name).unlink(missing_ok=True)  # of a former one, now that this one has room
        write_split(split, model_dir / "split.json")
        write_text(model_dir / "config.json", config.model_dump_json(indent=1))
        manifest["network_sha256"] = file_sha256(model_dir / "model.keras")
        write_json(model_dir / "manifest.json", manifest)
    return model_dir


def is_scored_ensemble(model_dir: Path, members: Sequence[Path]) -> bool:
    """Returns whether a folder holds the ensemble of just these networks, with its scores."""
    model_dir = Path(model_dir)
    if not (model_dir / "evaluation" / "evaluation.json").is_file():
        return False
    of = [member["sha256"] for member in read_json(model_dir / "manifest.json").get("members", ())]
    return of == [_sha256(folder) for folder in members]


def mean_network(networks: Sequence[keras.Model]) -> keras.Model:
    """Returns a model from the same image to the mean of the networks' probabilities, (B, H, W, 1).

    The heads of a network with deep supervision are averaged first, as where it is served alone.
    """
    image = keras.Input(networks[0].input_shape[1:], name="image")
    outputs = []
    for k, network in enumerate(networks):
        single = inference_model(network)
        # Two members may be of one kind; as layers they need names of their own.
        outputs.append(keras.Model(single.input, single.output, name=f"member_{k}_{network.name}")(image))
    return keras.Model(
        image, keras.layers.Average(name="mean_of_members", dtype="float32")(outputs), name=ENSEMBLE
    )


def _described(folder: Path, manifest: dict) -> dict:
    with taking_apart(folder / "manifest.json"):
        config, revision = manifest["config"], manifest["git_revision"]
        filters, model = config["filters"], manifest["model"]
    return {
        "model": model,
        "run": folder.resolve().parent.name,
        "encoder": config.get("encoder", "plain"),
        "filters": filters,
        "config": config,
        "extended": manifest.get("extended", []),
        "sha256": _sha256(folder),
        "git_revision": revision,
    }


def _sha256(folder: Path) -> str:
    path = Path(folder) / "model.keras"
    if not path.is_file():
        raise MetsegError(f"{shown(path)} is missing; train the network again or name another one")
    return file_sha256(path)


def _pair(a: Path, b: Path) -> str:
    return f"{shown(a)} and {shown(b)}"
