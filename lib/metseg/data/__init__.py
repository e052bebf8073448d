"""Scans and masks, from disk or generated, as cases of patients."""
