"""A scored network becomes one that dashboard and service offer."""
