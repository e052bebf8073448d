"""A trained network becomes one that serves."""
