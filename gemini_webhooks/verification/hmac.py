"""Static webhooks: HMAC-SHA256 with a shared secret (Standard Webhooks 1.0.0, ``v1``)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, product
from typing import Any

from gemini_webhooks.exceptions import ConfigurationError, Unauthorised
from gemini_webhooks.verification.headers import SignedHeaders
from gemini_webhooks.verification.types import SigningKey

PREFIX = "whsec_"
#: Bytes. The specification asks senders for 24 to 64; what is shorter than 16 can be guessed,
#: what is longer than 128 is no signing secret but something pasted by mistake.
MIN_KEY_LENGTH, MAX_KEY_LENGTH = 16, 128
#: Signatures in one header; a rotation has two.
MAX_SIGNATURES = 32
#: Limits of the search for an explanation, which an unauthorised sender can set off.
MAX_KEYS_TRIED, MAX_BODY_REENCODED = 200, 64 * 1024

JSON_LAYOUTS: tuple[dict[str, Any], ...] = (
    {"separators": (",", ":")},
    {"separators": (", ", ": ")},
    {"indent": 2},
)


def parse_secret(text: str) -> bytes:
    """Read a signing secret, as lenient as is safe.

    The prefix ``whsec_`` and the base64 padding may be missing, white space may surround it,
    and both base64 alphabets are read, though not mixed.

    Raises:
        ConfigurationError: it is no signing secret. The message does not quote it.
    """
    # A setting may hold anything: what is not text fails as text that is no secret.
    encoded = _encoded_key(str(text)).rstrip("=")
    if re.fullmatch(r"[A-Za-z0-9_-]+", encoded):
        encoded = encoded.replace("-", "+").replace("_", "/")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigurationError(
            "A signing secret is not base64. Use the whole text that was shown when it was made, "
            "not the shortened one from a list."
        ) from None
    if not MIN_KEY_LENGTH <= len(key) <= MAX_KEY_LENGTH:
        raise ConfigurationError(
            f"A signing secret has {len(key)} bytes; {MIN_KEY_LENGTH} to {MAX_KEY_LENGTH} are "
            "accepted and 24 to 64 usual. Was all of it copied?"
        )
    return key


def secret_hint(text: str) -> str:
    """A short text to tell secrets apart, such as ``whsec_…3frh``.

    Text too short for a signing secret gives away nothing.
    """
    encoded = _encoded_key(text)
    shortest = MIN_KEY_LENGTH * 8 // 6
    return f"{PREFIX}…{encoded[-4:] if len(encoded) > shortest else ''}"


def verify(headers: SignedHeaders, body: bytes, keys: Sequence[SigningKey]) -> SigningKey:
    """Find the secret that signed the request.

    Every secret is compared with every signature, so the time taken does not tell which
    one was close. Entries of other versions and malformed ones count for nothing.

    Returns:
        The key that matched.

    Raises:
        Unauthorised: ``signature_mismatch``.
    """
    matched = _matching(headers, body, keys)
    if matched is not None:
        return matched
    if not keys:
        diagnosis = "no signing secret is configured for this address"
    elif not _offered(headers):
        diagnosis = "the header holds no signature of version v1"
    else:
        diagnosis = f"no signature matches any of the {len(keys)} signing secret(s)"
    raise Unauthorised("signature_mismatch", diagnosis)


def explain_mismatch(
    headers: SignedHeaders,
    body: bytes,
    *,
    own: Sequence[SigningKey],
    others: Iterable[tuple[str, SigningKey]] = (),
) -> str:
    """Say why a signature may not match. For the operator, never for the sender.

    Args:
        headers: of the refused request.
        body: of the refused request.
        own: the secrets of the address that it came to.
        others: label and key of secrets at other addresses, such as ``("endpoint B", key)``.
    """
    if not _offered(headers):
        return "the header holds no signature of version v1"
    for label, key in islice(others, MAX_KEYS_TRIED):
        if _matching(headers, body, [key]):
            return f"signature matches {label}: it was sent to the wrong address"
    if len(body) <= MAX_BODY_REENCODED:
        for variant in _reencoded(body):
            if _matching(headers, variant, own[:8]):
                return (
                    "body looks re-encoded: a proxy or middleware changed its bytes on the way, "
                    "though not its meaning"
                )
    return (
        "signature matches no known secret: a forgery, a secret that this site does not have "
        "(rotated at Google?), or a body changed on the way"
    )


def _encoded_key(text: str) -> str:
    return text.strip().removeprefix(PREFIX)


def _offered(headers: SignedHeaders) -> list[bytes]:
    entries = headers.signature.split()
    usable = [entry.encode(errors="replace") for entry in entries if entry.startswith("v1,")]
    return usable[:MAX_SIGNATURES]


def _matching(headers: SignedHeaders, body: bytes, keys: Iterable[SigningKey]) -> SigningKey | None:
    offered = _offered(headers)
    matched = None
    for key in keys:
        expected = _sign(headers, body, key)
        for signature in offered:
            if hmac.compare_digest(expected, signature):
                matched = key
    return matched


def _sign(headers: SignedHeaders, body: bytes, key: SigningKey) -> bytes:
    signed = b"%b.%d.%b" % (headers.webhook_id.encode(), headers.timestamp, body)
    return b"v1," + base64.b64encode(hmac.digest(key.key, signed, hashlib.sha256))


def _reencoded(body: bytes) -> Iterator[bytes]:
    """What the body may have been before something in between parsed and wrote it again."""
    yield body.rstrip(b"\r\n")
    yield body + b"\n"
    try:
        document = json.loads(body)
        for sort, ascii_only, layout in product((False, True), (False, True), JSON_LAYOUTS):
            text = json.dumps(document, sort_keys=sort, ensure_ascii=ascii_only, **layout)
            yield text.encode()
    except (ValueError, RecursionError):
        return
