"""How fast metseg is beside its peers: every figure measured in one run, in turn, each in its own process."""
