"""Scans become network input, in training and in serving by one function."""
