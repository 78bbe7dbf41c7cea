"""Seals: proof that this site put the metadata into a job itself.

Anybody with a Gemini API key can name this site's address in a job of his own, and Google then
delivers a correctly signed event about it. The seal is what such a job cannot have. It holds
a signed copy of the metadata, because JSON that travels through other systems may come back with
other number types, and the endpoint that it was made for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.core import signing

from gemini_webhooks.exceptions import Unauthorised
from gemini_webhooks.storable import MAX_DEPTH, storable

#: Key of the seal within ``user_metadata``.
SEAL_KEY = "gemini_webhooks_seal"
SALT = "gemini_webhooks.seals"


def seal_metadata(metadata: Mapping[str, Any], *, endpoint: str) -> dict[str, Any]:
    """Add a seal to the metadata of a job.

    Args:
        metadata: a JSON object.
        endpoint: slug of the endpoint that is to be notified; empty is the root endpoint.

    Returns:
        The metadata in clear, and the seal under :data:`SEAL_KEY`.

    Raises:
        TypeError: the metadata holds something that JSON cannot.
        ValueError: it is not a JSON object, would come back changed, or uses the reserved key.
    """
    copy = checked(metadata)
    # Compressed because the metadata travels twice, and Google limits its size.
    seal = signing.dumps({"endpoint": endpoint, "metadata": copy}, salt=SALT, compress=True)
    return {**copy, SEAL_KEY: seal}


def checked(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the metadata, if a job can carry it.

    Raises:
        TypeError, ValueError: as for :func:`seal_metadata`.
    """
    copy = _as_json(metadata)
    if SEAL_KEY in copy:
        raise ValueError(f"user_metadata must not use the key {SEAL_KEY!r}: it is reserved")
    return copy


def open_seal(metadata: Mapping[str, Any], *, endpoint: str) -> dict[str, Any] | None:
    """Read what the seal says; what the clear part says does not matter.

    A seal has no end of its own: a batch takes a day, a replay comes later still.

    Args:
        metadata: as it came with an event.
        endpoint: slug of the endpoint that it came to; empty is the root endpoint.

    Returns:
        The sealed copy; ``None`` without a seal.

    Raises:
        Unauthorised: codes ``seal_invalid``, ``seal_wrong_endpoint``.
    """
    if SEAL_KEY not in metadata:
        return None
    sealed = _unsigned(metadata[SEAL_KEY])
    if sealed["endpoint"] != endpoint:
        raise Unauthorised(
            "seal_wrong_endpoint", f"the seal was made for {_address(sealed['endpoint'])}"
        )
    copy: dict[str, Any] = sealed["metadata"]
    return copy


def strip_seal(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The clear part of the metadata."""
    return {name: value for name, value in metadata.items() if name != SEAL_KEY}


def _as_json(metadata: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(metadata, Mapping):
        raise TypeError("user_metadata must be a mapping: it travels as a JSON object")
    plain = dict(metadata)
    try:
        copy: dict[str, Any] = json.loads(json.dumps(plain, allow_nan=False))
    except TypeError as error:
        raise TypeError(f"user_metadata cannot be written as JSON: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"user_metadata cannot be written as JSON: {error}") from None
    if storable(copy) != copy:
        raise ValueError(
            f"user_metadata must not hold NUL or lone surrogates, nor {MAX_DEPTH} or more levels"
        )
    if copy != plain:
        raise ValueError(
            "user_metadata would come back changed: JSON has only text as keys, and lists where "
            "Python has tuples"
        )
    return copy


def _unsigned(seal: object) -> dict[str, Any]:
    try:
        sealed: dict[str, Any] = signing.loads(str(seal), salt=SALT)
    except (signing.BadSignature, ValueError):  # ValueError: text that UTF-8 cannot hold
        raise Unauthorised(
            "seal_invalid",
            "the seal is not one of this site: altered, or made with a SECRET_KEY that is neither "
            "in use nor in SECRET_KEY_FALLBACKS",
        ) from None
    return sealed


def _address(slug: str) -> str:
    return f"the endpoint “{slug}”" if slug else "the root endpoint"
