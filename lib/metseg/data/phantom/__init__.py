"""Brain slices with metastases that metseg draws itself."""
