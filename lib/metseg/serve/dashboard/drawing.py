"""The state as what the page shows of it, by the names of the traits: PNG files, tables, sentences."""

from dataclasses import asdict

import cv2

from metseg.masks.encode import overlay
from metseg.preprocessing.pipeline import Preprocessing
from metseg.release.released import kind_of
from metseg.serve.dashboard import pictures
from metseg.serve.dashboard.pictures import for_page
from metseg.serve.dashboard.state import OPACITY, DashboardState
from metseg.serve.examples import EXAMPLES, load_example

_LISTED = 100  # lesions in a table and in a picture; a file has all
_THUMB_PX = 96


def slice_pictures(state: DashboardState) -> dict:
    """Returns the slice itself."""
    if state.upload is None:
        return {}
    return {"size": state.upload.image.shape[1::-1], "original": for_page(state.picture())}


def contrast_pictures(state: DashboardState) -> dict:
    """Returns the contrast that the network gets."""
    if state.upload is None:
        return {}
    config = Preprocessing(**state.models[state.network]["preprocessing"])
    return {"contrast": for_page(pictures.clahe_picture(state.upload.image, state.channel, config))}


def mask_pictures(state: DashboardState) -> dict:
    """Returns the masks over the slice, one a network shown, and compared with the reference."""
    if state.upload is None:
        return {}
    picture, strength = state.picture(), {"opacity": state.opacity}
    masks = [each.mask for each in state.results]
    compared = [] if state.reference is None else masks
    return {
        "labels": [state.label_of(each.network) for each in state.results],
        "overlay": [for_page(overlay(picture, mask, **strength)) for mask in masks],
        "comparison": [
            for_page(pictures.comparison_picture(picture, mask, state.reference, **strength))
            for mask in compared
        ],
        "outlines": [pictures.outlines(each.numbers, _LISTED) for each in state.results],
    }


def heat_pictures(state: DashboardState) -> dict:
    """Returns the probabilities, one a network shown."""
    return {"heat": [for_page(pictures.heat_picture(each.prob_map)) for each in state.results]}


def gate_pictures(state: DashboardState) -> dict:
    """Returns the attention gates; a network that has none gets an empty list.

    They take a run of the network, so only those who look at them wait for it.
    """
    gates = []
    for result in state.results if state.view == "gates" else ():
        picture = pictures.channel_picture(state.upload.image, state.channel)
        maps = state.networks.gates(result.network)
        gates.append([for_page(pictures.gate_picture(picture, gate)) for gate in maps])
    return {"gates": gates}


def findings(state: DashboardState) -> dict:
    """Returns the tables of lesions, and the agreement with a reference."""
    tables, agreements = [], []
    for result in state.results:
        label = state.label_of(result.network)
        listed = [asdict(lesion) for lesion in result.lesions[:_LISTED]]
        tables.append({"network": label, "lesions": listed, "more": len(result.lesions) - len(listed)})
        if state.reference is not None:
            agreements.append({"network": label, **result.agreement(state.reference)})
    spacing_mm = state.upload and state.upload.spacing_mm
    pixel_mm2 = 0.0 if spacing_mm is None else spacing_mm[1] * spacing_mm[2]
    return {"pixel_mm2": pixel_mm2, "tables": tables, "agreements": agreements}


def file_names(state: DashboardState) -> dict:
    """Returns what is loaded."""
    if state.upload is None:
        return {}
    height, width = state.upload.image.shape[:2]
    size = "of unknown size"
    if state.upload.spacing_mm is not None:
        _, y, x = state.upload.spacing_mm
        size = f"{x:.3g} mm" if x == y else f"{x:.3g} × {y:.3g} mm"
    unlike = state.results[0].notes if state.results else ()
    notes = [*state.remarks, *unlike, *state.upload.notes]
    given = {"name": state.file_name, "details": f"{width} × {height} px, {size}", "notes": notes}
    reference = {"name": state.reference_name} if state.reference_name else {}
    return {"slice_file": given, "reference_file": reference}


def changed(state: DashboardState) -> dict:
    """Returns whether a setting differs from the network's own."""
    return {"changed": state.settings != state.defaults or state.opacity != OPACITY}


def about(state: DashboardState) -> dict:
    """Returns what each network shown is, and what it must not be taken for."""
    facts = []
    for network in state.shown:
        model = state.models[network]
        alone, whole = model.get("validation_dice_single_slices"), model.get("validation_dice")
        score = "unknown" if whole is None else f"{whole:.2f}"
        # Slices come one by one, which some networks are not made for; volumes go to those of metastases.
        if alone is not None and kind_of(model) != "mets":
            score = f"{alone:.2f} (single slices)"
        data = {name: model["data"][name] for name in ("licence", "caution")}
        told = {"label": state.label_of(network), "data": model["data"]["name"], **data}
        facts.append({**told, "score": f"validation Dice {score}"})
    return {"about": facts}


def example_buttons() -> list[dict]:
    """Returns the examples with a small picture of each."""
    buttons = []
    for name, example in EXAMPLES.items():
        flair = pictures.channel_picture(load_example(name)[0].image, "FLAIR")
        small = cv2.resize(flair, (_THUMB_PX, _THUMB_PX), interpolation=cv2.INTER_AREA)
        buttons.append({"name": name, "title": example.title, "picture": for_page(small)})
    return buttons
