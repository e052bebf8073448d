"""The state as the values of the widgets' traits: PNG files, tables, sentences."""

from dataclasses import asdict

import cv2
import numpy as np

from metseg.base.labels import label_of
from metseg.masks.encode import overlay
from metseg.serve.dashboard import pictures
from metseg.serve.dashboard.state import OPACITY, DashboardState
from metseg.serve.examples import EXAMPLES, load_example

_LISTED = 100  # lesions in a table and in a picture; a file has all
_THUMB_PX = 96


def slice_pictures(state: DashboardState) -> dict:
    """Returns what a `Stage` shows of the slice itself."""
    if state.upload is None:
        return {}
    size = state.upload.image.shape[1::-1]
    return {"number": state.number, "size": size, "original": pictures.for_page(_windowed(state))}


def contrast_pictures(state: DashboardState) -> dict:
    """Returns what a `Stage` shows of the contrast that the network gets."""
    if state.upload is None:
        return {}
    picture = pictures.clahe_picture(state.upload.image, state.channel, state.preprocessing)
    return {"contrast": pictures.for_page(picture)}


def mask_pictures(state: DashboardState) -> dict:
    """Returns what a `Stage` shows of the masks."""
    if state.upload is None:
        return {}
    picture = _windowed(state)
    masks = [each.mask for each in state.results]
    tints = [overlay(picture, mask, opacity=state.opacity) for mask in masks]
    compared = []
    if state.reference is not None:
        compared = [
            pictures.comparison_picture(picture, mask, state.reference, opacity=state.opacity)
            for mask in masks
        ]
    return {
        "networks": [label_of(each.network) for each in state.results],
        "overlay": [pictures.for_page(tint) for tint in tints],
        "comparison": [pictures.for_page(each) for each in compared],
        "outlines": [pictures.outlines(each.numbers, _LISTED) for each in state.results],
    }


def heat_pictures(state: DashboardState) -> dict:
    """Returns what a `Stage` shows of the probabilities."""
    heats = [pictures.heat_picture(each.prob_map) for each in state.results]
    return {"heat": [pictures.for_page(heat) for heat in heats]}


def gate_pictures(state: DashboardState) -> dict:
    """Returns what a `Stage` shows of the attention gates; a network that has none gets an empty list."""
    if state.upload is None:
        return {}
    picture = pictures.channel_picture(state.upload.image, state.channel)
    return {
        "gates": [
            [pictures.for_page(pictures.gate_picture(picture, gate)) for gate in state.gates(each.network)]
            for each in state.results
        ]
    }


def findings(state: DashboardState) -> dict:
    """Returns the tables and the agreement with a reference."""
    labels = [label_of(each.network) for each in state.results]
    spacing_mm = state.upload and state.upload.spacing_mm
    return {
        "pixel_mm2": 0.0 if spacing_mm is None else spacing_mm[1] * spacing_mm[2],
        "tables": [
            {
                "network": label,
                "lesions": [asdict(lesion) for lesion in each.lesions[:_LISTED]],
                "more": max(0, len(each.lesions) - _LISTED),
            }
            for label, each in zip(labels, state.results, strict=True)
        ],
        "agreements": [
            {"network": label, "dice": each.slice_dice, **asdict(each)}
            for label, each in zip(labels, state.comparisons(), strict=False)  # none without a reference
        ],
    }


def file_names(state: DashboardState) -> dict:
    """Returns what is loaded, for `Sources`."""
    if state.upload is None:
        return {"slice": {}, "reference": {}}
    height, width = state.upload.image.shape[:2]
    details = f"{width} × {height} px, "
    if state.upload.spacing_mm is None:
        details += "of unknown size"
    else:
        _, y, x = state.upload.spacing_mm
        details += f"{x:.3g} mm" if x == y else f"{x:.3g} × {y:.3g} mm"
    notes = [*state.remarks, *state.upload.notes]
    given = {"name": state.file_name, "details": details, "notes": notes}
    return {"slice": given, "reference": {"name": state.reference_name} if state.reference_name else {}}


def changed(state: DashboardState) -> dict:
    """Returns whether a setting differs from the network's own, for `Controls`."""
    return {"changed": state.settings != state.defaults or state.opacity != OPACITY}


def about(state: DashboardState) -> dict:
    """Returns what each network shown is, and what it must not be taken for, for the `Page`."""
    facts = []
    for network in state.networks:
        model = state.models[network]
        data = model["data"]
        facts.append(
            {
                "label": label_of(network),
                "data": data["name"],
                "licence": data["licence"],
                "score": _score(model),
                "caution": data["caution"],
            }
        )
    return {"about": facts}


def example_buttons() -> list[dict]:
    """Returns the examples with a small picture of each."""
    buttons = []
    for example in EXAMPLES:
        flair = load_example(example.name)[0].image[..., 1]
        small = cv2.resize(flair, (_THUMB_PX, _THUMB_PX), interpolation=cv2.INTER_AREA)
        buttons.append({"name": example.name, "title": example.title, "picture": pictures.for_page(small)})
    return buttons


def _windowed(state: DashboardState) -> np.ndarray:
    """What the masks are drawn on."""
    picture = pictures.channel_picture(state.upload.image, state.channel)
    return pictures.windowed(picture, state.window, state.level)


def _score(model: dict) -> str:
    """What a network is worth on slices that come one by one, which some are not made for."""
    alone, whole = model.get("validation_dice_single_slices"), model.get("validation_dice")
    if alone is not None:
        return f"validation Dice {alone:.2f} (single slices)"
    return "validation Dice unknown" if whole is None else f"validation Dice {whole:.2f}"
