"""One way of laying scans out in folders a module: of each file, which scan it belongs to, and what it is."""
