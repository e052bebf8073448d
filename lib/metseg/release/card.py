"""What a released model is, what it was made from and how far to trust it, as its README."""

from metseg.base.labels import label_of
from metseg.data.provenance import RESEARCH_USE

_SERVED = {
    "fp32": "float32",
    "bf16": "bf16 where the CPU multiplies that natively; elsewhere float32",
    "int8": "int8 where the CPU multiplies that natively; elsewhere float32, from a file of its own",
}

_GREY = {
    "slice": "percentiles of the slice",
    "volume": "percentiles of the volume",
    "tissue": "the volume's tissue brought to one median",
    "stored": "grey values as stored",
}


def model_card(description: dict, manifest: dict, scores: dict) -> str:
    """Returns the card in Markdown.

    Args:
        description: The model's `model.json`.
        manifest: The training's `manifest.json`.
        scores: `compare.summarise` of its scores on held-out patients, or, with `folds`, those of its recipe
            in a cross-validation.
    """
    data = description["data"]
    lines = [
        f"# {label_of(description['name'], manifest['config'].get('encoder', 'plain'))}",
        f"{RESEARCH_USE} {data['caution']}",
        _table(_facts(description, manifest)),
        "## Measured",
        f"{_scored(scores)} All slices, on the scans' own grid, with 95 % bootstrap intervals over patients. "
        f"{data['caution']}",
        _table(_held_out(scores)),
        f"{description['validation_patients']} validation patients, whose Dice flatters, for the epoch and "
        "how a mask is made were chosen on them:",
        _table(_validation(description)),
        "## Limits",
        f"One data set, {'' if 'folds' in scores else 'one split, '}one seed. Scans of other scanners, "
        "sequences or diseases than the data set's are untried. What the network takes from the whole "
        "volume, a slice by itself has to stand in for. `model.json` lists the patients it has seen; a "
        "figure of theirs would say nothing.",
    ]
    return "\n\n".join(lines) + "\n"


def _scored(scores: dict) -> str:
    undefined = ""
    if count := scores["n_dice_undefined"]:
        undefined = f" {count} of them, without lesion and rightly left empty, have no Dice."
    if folds := scores.get("folds"):
        masks = "" if scores["same_masks"] == folds else f", in {scores['same_masks']} of them"
        return (
            f"{scores['n_patients']} patients, each by the one of {folds} networks of the same recipe that "
            f"neither learned from nor was chosen on them ({folds}-fold cross-validation, in "
            f"{scores['scored_in']}, masks made as this network's are{masks}); this network was trained "
            "afterwards and has seen them all. The recipe may have been chosen with these patients in view, "
            f"which flatters it. The intervals are over patients, not over trainings.{undefined}"
        )
    return f"{scores['n_patients']} patients that it neither learned from nor was chosen on.{undefined}"


def _facts(description: dict, manifest: dict) -> dict[str, str]:
    data, hardware, config = manifest["data"], manifest["hardware"], manifest["config"]
    settings, chosen = description["preprocessing"], description["postprocessing"]
    channels = ", ".join(description["input"]["channels"])
    network = _network(config)
    size, tiles = settings["image_size"], settings["tile_grid"]
    count = settings.get("neighbours", 0)
    head = f", head L{prune} alone" if (prune := description.get("prune")) else ""
    beside = f" with {count} below and {count} above it" if count else ""
    cut = "cut to the head's box, " if settings.get("crop") else ""
    seen, chosen_on = len(description["seen"]), description["validation_patients"]
    dropped = f"of fewer than {chosen['min_lesion_px']} px dropped" if chosen["min_lesion_px"] else "all kept"
    if share := description.get("min_volume_share"):
        least = "the largest one" if share == 1 else f"those of {share:.0%} of the largest or more"
        dropped += f", in a whole volume only {least}"
    machine = hardware["gpus"][0] if hardware["gpus"] else f"{hardware['cores']} cores of {hardware['cpu']}"
    return {
        "input": f"one slice of {channels}{beside}, {cut}brought to {size} × {size} px; "
        f"{_GREY[settings['intensity']]}; CLAHE with clip limit {settings['clip_limit']:g} "
        f"on {tiles} × {tiles} tiles",
        "output": "the probability that a pixel is lesion, on the slice's own grid"
        + (", averaged with the mirrored slice's" if description["tta_flip"] else ""),
        "mask": f"probability of {chosen['threshold']:g} or more; lesions {dropped}; holes "
        f"{'filled' if chosen['fill_holes'] else 'left open'}; checked on the validation patients",
        "network": f"{network}{head}; {description['parameters']:,} parameters",
        "served in": _SERVED[description.get("precision", "fp32")],
        "trained on": f"{data['name']}: {seen - chosen_on} patients to learn from, "
        f"{chosen_on} for validation; "
        f"{manifest['epochs_trained']} epochs{_extended(manifest)}, "
        f"{manifest['train_seconds'] / 60:.0f} min on {machine}",
        "licence": f"{data['licence']}, as the data; the code is MIT",
        "training": f"revision {manifest['git_revision']}, finished {manifest['finished'][:10]}",
    }


def _network(config: dict) -> str:
    filters = f"filters {', '.join(map(str, config['filters']))}"
    if config.get("encoder", "plain") == "plain":
        return filters
    return f"encoder EfficientNet-Lite0 with weights from ImageNet, Apache-2.0; {filters}"


def _held_out(scores: dict) -> dict[str, str]:
    return {
        "mean volume Dice": _with_interval(scores, "dice_mean"),
        "median volume Dice": _with_interval(scores, "dice_median"),
        "pooled Dice": f"{scores['pooled_dice']:.3f}",
        "precision / recall": f"{scores['precision']:.3f} / {scores['recall']:.3f}",
        "lesion sensitivity": f"{scores['lesion_sensitivity']:.3f}",
        "false positives a patient": f"{scores['false_positives_per_patient']:.1f}",
    }


def _validation(description: dict) -> dict[str, str]:
    return {
        "mean volume Dice": f"{description['validation_dice']:.3f}",
        "the same, every slice uploaded by itself": f"{description['validation_dice_single_slices']:.3f}",
    }


def _table(rows: dict[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items())])


def _with_interval(scores: dict, name: str) -> str:
    return f"{scores[name]:.3f} ({scores[f'{name}_low']:.3f}–{scores[f'{name}_high']:.3f})"


def _extended(manifest: dict) -> str:
    """Returns after which epochs a training was told to go on for longer."""
    after = [str(each["after_epoch"]) for each in manifest.get("extended") or ()]
    return f" (told after epoch {', '.join(after)} to go on for longer)" if after else ""
