"""Jupyter's packages, imported without what they never use."""

import sys


def skip_address_grammar() -> None:
    """Keeps jsonschema from compiling the grammar of internationalised addresses as it is imported.

    That takes 2 s, each time a notebook or the dashboard starts, and no schema of Jupyter has such an
    address. Call it in a process of metseg's own, before anything of Jupyter is imported.
    """
    sys.modules.setdefault("rfc3987_syntax", None)
