"""One file format a module: masks become files."""
