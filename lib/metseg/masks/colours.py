"""Colours of masks and contours; free of matplotlib, so that serving shares them."""

REFERENCE_COLOUR = "#FFFFFF"
PREDICTION_COLOUR = "#F0A000"
