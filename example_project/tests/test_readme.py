"""The README names what there is."""

from __future__ import annotations

import re
from pathlib import Path

from example_project.config import settings

EXAMPLE = Path(__file__).resolve().parents[1]
README = (EXAMPLE / "README.md").read_text()


def test_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]

    assert len(links) > 10
    assert [link for link in links if not (EXAMPLE / link).exists()] == []


def test_functions_and_settings_exist():
    code = "".join(path.read_text() for path in (EXAMPLE / "studio").glob("*.py"))
    functions = re.findall(r"`(\w+)\(\)`", README)
    variables = re.findall(r"`([A-Z]+_[A-Z_]+)", README)

    assert len(functions) > 5
    assert [name for name in functions if f"def {name}(" not in code] == []
    assert len(variables) > 4
    assert [name for name in variables if name not in (settings.__doc__ or "")] == []
