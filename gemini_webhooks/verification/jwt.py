"""Dynamic webhooks: the signature header is a token (RFC 7519), signed by Google with RS256.

Google does not document which claims its tokens carry, so what a token vouches for is read
from the token: see :data:`~gemini_webhooks.verification.types.Binding`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

import jwt

from gemini_webhooks.exceptions import Unauthorised
from gemini_webhooks.verification import bindings
from gemini_webhooks.verification.headers import SignedHeaders
from gemini_webhooks.verification.jwks import KeySet
from gemini_webhooks.verification.types import TokenRules, VerifiedRequest

ALGORITHM = "RS256"
#: Unix seconds; a later time is no time but nonsense.
LATEST_TIME = 10**11

_signatures = jwt.PyJWS(algorithms=[ALGORITHM])


def verify(
    headers: SignedHeaders, body: bytes, key_set: KeySet, rules: TokenRules, now: datetime
) -> VerifiedRequest:
    """Verify the token of a dynamic webhook and all that it vouches for.

    Args:
        headers: with a token as ``signature``.
        body: the raw bytes.
        key_set: where the public keys are.
        rules: what the token must satisfy.
        now: aware.

    Raises:
        Unauthorised: codes ``dynamic_not_enabled``, ``malformed_token``, ``unknown_key``,
            ``signature_mismatch``, ``wrong_audience``, ``wrong_issuer``,
            ``token_without_lifetime``, ``token_expired``, ``token_too_old``,
            ``token_not_yet_valid``, ``webhook_id_mismatch``, ``body_mismatch``.
        Undecided: ``key_set_unavailable``.
    """
    if not rules.audiences:
        raise Unauthorised(
            "dynamic_not_enabled", "a dynamic webhook came, but no audience is configured here"
        )
    token = headers.signature
    key_id = _key_id(token)
    claims = _signed_claims(token, key_set.find(key_id))
    _check_audience(claims, rules)
    _check_issuer(claims, rules)
    expires = _check_lifetime(claims, rules, now.timestamp())
    binding, vouched_body = bindings.check(claims, headers.webhook_id, body)
    return VerifiedRequest(
        webhook_id=headers.webhook_id,
        body=vouched_body,
        signing="jwt",
        binding=binding,
        key_hint=key_id,
        token_digest=hashlib.sha256(token.encode()).hexdigest(),
        token_expires_at=datetime.fromtimestamp(expires, UTC),
    )


def _malformed(diagnosis: str) -> NoReturn:
    raise Unauthorised("malformed_token", diagnosis)


def _key_id(token: str) -> str:
    header = _header(token)
    # Checked before the key is looked up: nonsense must not make the key set be fetched.
    if header.get("alg") != ALGORITHM or "crit" in header:
        _malformed(f"the token cannot be read, or is not signed with plain {ALGORITHM}")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not 0 < len(key_id) <= 255:
        _malformed("the token does not name its key")
    return key_id


def _header(token: str) -> dict[str, Any]:
    """What the token says of itself; empty if that cannot be read.

    Only names the key: PyJWT reads it again, with the signature that covers it.
    """
    encoded = token.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}


def _signed_claims(token: str, key: Any) -> dict[str, Any]:
    try:
        payload = _signatures.decode(token, key, algorithms=[ALGORITHM])
        claims = json.loads(payload)
    except jwt.InvalidSignatureError:
        raise Unauthorised(
            "signature_mismatch", "the token's signature does not match its key"
        ) from None
    except Exception:  # noqa: BLE001  # unauthenticated input; PyJWT promises no closed set
        claims = None
    if not isinstance(claims, dict):
        _malformed("the token does not hold a JSON object")
    return claims


def _check_audience(claims: Mapping[str, Any], rules: TokenRules) -> None:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if any(entry in rules.audiences for entry in audiences):
        return
    raise Unauthorised(
        "wrong_audience", f"the token's audience is {_shown(audience)}, which is not accepted here"
    )


def _check_issuer(claims: Mapping[str, Any], rules: TokenRules) -> None:
    issuer = claims.get("iss")
    if rules.issuers and issuer not in rules.issuers:
        raise Unauthorised(
            "wrong_issuer", f"the token's issuer is {_shown(issuer)}, which is not accepted here"
        )


def _check_lifetime(claims: Mapping[str, Any], rules: TokenRules, now: float) -> float:
    """Returns when it ends: by its own words, else by its age."""
    issued, expires, begins = (_time(claims, name) for name in ("iat", "exp", "nbf"))
    tolerance = rules.tolerance_seconds
    if issued is None and expires is None:
        raise Unauthorised(
            "token_without_lifetime", "the token says neither when it was made nor when it ends"
        )
    if expires is not None and now >= expires + tolerance:
        raise Unauthorised("token_expired", f"the token expired {now - expires:.0f} s ago")
    if issued is not None and now - issued > rules.max_age_seconds:
        raise Unauthorised("token_too_old", f"the token is {now - issued:.0f} s old")
    for start in (issued, begins):
        if start is not None and start - now > tolerance:
            raise Unauthorised(
                "token_not_yet_valid", f"the token begins to be valid in {start - now:.0f} s"
            )
    return (issued or now) + rules.max_age_seconds if expires is None else expires


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        _malformed(f"the token's {name} is not a number")
    if not 0 <= value <= LATEST_TIME:
        _malformed(f"the token's {name} is not a time")
    return float(value)


def _shown(value: object) -> str:
    """A claim of a token that is properly signed, but perhaps by a stranger, for the operator."""
    values = value if isinstance(value, list) else [value]
    text = ", ".join(entry for entry in values if isinstance(entry, str))
    if not text:
        return "missing"
    return "“" + "".join(char if " " <= char <= "~" else "?" for char in text[:200]) + "”"
