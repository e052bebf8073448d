"""Cases become a trained network."""
