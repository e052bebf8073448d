"""One file format a module: files become arrays."""
