"""What README and the pages beside the results name is there."""

import re
from pathlib import Path

import pytest
import yaml

import metseg

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", ROOT / "data" / "README.md"]
TEXTS += sorted((ROOT / "outputs" / "reference").rglob("*.md"))


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors_of(path: Path) -> set[str]:
    """The names that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", without_code(path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    broken = []
    for link in re.findall(r"\]\(([^)]+)\)", without_code(path.read_text(encoding="utf-8"))):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not link.startswith("https://") and (
            not target.exists() or (anchor and anchor not in anchors_of(target))
        ):
            broken.append(link)
    assert broken == []


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["version"] == metseg.__version__


def test_every_parameter_has_a_row():
    recipe = yaml.safe_load((ROOT / "notebooks" / "params" / "quick.yml").read_text(encoding="utf-8"))
    table = (ROOT / "outputs" / "reference" / "parameters.md").read_text(encoding="utf-8")
    names = [name for name, value in recipe.items() if not isinstance(value, dict)]
    assert [name for name in names if f"| `{name}` |" not in table] == []
