"""The web service: one slice in, its mask and lesions out."""
