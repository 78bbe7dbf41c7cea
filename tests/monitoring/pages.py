"""The examples of docs/monitoring.md, without what only a test process has."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "monitoring.md"


def example(words: str) -> str:
    """The one Python example of the page that has ``words`` in it."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    [found] = [code for code in blocks if words in code]
    return found
