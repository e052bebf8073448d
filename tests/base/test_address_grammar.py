import subprocess
import sys


def test_notebooks_are_read_and_checked_without_it():
    code = (
        "from metseg.base.address_grammar import skip_address_grammar\n"
        "skip_address_grammar()\n"
        "import sys, nbformat\n"
        "nbformat.validate(nbformat.v4.new_notebook())\n"
        "assert not any(name.startswith('rfc3987_syntax.') for name in sys.modules)\n"
        "try:\n    nbformat.validate({'nbformat': 4, 'cells': 1})\n"
        "except nbformat.ValidationError:\n    print('refused')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["refused"]
