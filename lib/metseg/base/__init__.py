"""What every room stands on: files, errors, paths, the machine."""
