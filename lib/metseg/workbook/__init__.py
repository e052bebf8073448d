"""Notebooks as programs: their parameters, their runs, sweeps of them."""
