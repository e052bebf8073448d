"""Masks in, numbers out; and what the numbers of many patients say."""
