"""Every figure: data in, Axes out; nothing here shows or saves."""
