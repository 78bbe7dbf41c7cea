from __future__ import annotations

raise RuntimeError("a URLconf that cannot be imported")
