"""What the curves of a training say, in words."""

import pandas as pd

_RISE = 1.1  # times the lowest validation loss: above it a rise is no wobble
_FEWEST = 4  # epochs of one size


def describe_history(history: pd.DataFrame) -> str:
    """Returns two sentences on `history.csv`: which epoch was kept, and whether the network over-fits.

    Losses are compared among epochs of the last one's image size.
    """
    same = history[history.image_size == history.image_size.iloc[-1]]
    nothing = same.get("predicts_nothing", pd.Series(False, same.index)).astype(bool)
    of_regions = same.filter(regex="^val_dice").mean(axis=1)
    ranked = same.assign(mean=of_regions, predicts=~nothing).sort_values(["mean", "predicts", "epoch"])
    best = ranked.iloc[-1]  # as `schedule.best_epoch`
    text = f"Kept: epoch {best.epoch:.0f} of {len(history)}, validation Dice {best.val_dice:.3f}."
    if not best.predicts:
        return f"{text} It predicts nothing: train longer, or with another learning rate."
    if len(same) < _FEWEST:
        return f"{text} {len(same)} epochs of one size are too few to tell whether it over-fits."
    lowest, last = same.loc[same.val_loss.idxmin()], same.iloc[-1]
    if last.val_loss > _RISE * lowest.val_loss and last.loss < lowest.loss:
        return (
            f"{text} The validation loss was lowest in epoch {lowest.epoch:.0f} and has risen by "
            f"{last.val_loss / lowest.val_loss - 1:.0%} since, while the training loss fell: from there on "
            "the network over-fits."
        )
    if lowest.epoch > last.epoch - max(1, len(same) // 5):
        return f"{text} The validation loss was still falling at the end: more epochs may help."
    return f"{text} The validation loss has levelled off: more epochs alone will hardly help."
