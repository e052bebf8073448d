"""Notebooks as programs: their parameters, their runs, cross-validation."""
