"""Networks trained on other images, whose features a decoder of `models` joins."""
