"""A signed request, and the ways to show it."""

from __future__ import annotations

import json
import shlex
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is posted, signed."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def pretty_body(self) -> str:
        """The body for people."""
        try:
            return json.dumps(json.loads(self.body), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            return self.body.decode(errors="backslashreplace")

    @property
    def curl(self) -> str:
        """A line for a shell that posts the same bytes."""
        words = ["curl", "-i", self.url]
        for name, value in self.headers.items():
            words += ["-H", f"{name}: {value}"]
        text = self.body.decode(errors="replace")
        if text.encode() == self.body and text.isprintable():
            return shlex.join([*words, "--data-raw", text])
        encoded = b64encode(self.body).decode()
        return f"echo {encoded} | base64 -d | {shlex.join([*words, '--data-binary', '@-'])}"

    def as_json(self) -> dict[str, Any]:
        """All of it, fit for JSON."""
        return {
            "url": self.url,
            "headers": dict(self.headers),
            "body": self.body.decode(errors="backslashreplace"),
        }
