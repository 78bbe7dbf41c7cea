"""The keys that verify the tokens of dynamic webhooks."""

from __future__ import annotations

from typing import Any

from gemini_webhooks.emulator.dispatch import Call, view


def keys(call: Call) -> dict[str, Any]:
    """The JSON Web Key Set."""
    return call.emulator.signer.jwks()


jwks = view(public=True, GET=keys)
