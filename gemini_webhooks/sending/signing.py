"""Signs as Google would: with a secret of this site, or by the emulator that it believes."""

from __future__ import annotations

import base64
import hmac
import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gemini_webhooks import endpoints
from gemini_webhooks.conf import GOOGLE_API, SETTING, settings
from gemini_webhooks.exceptions import ConfigurationError
from gemini_webhooks.sending.posting import post
from gemini_webhooks.verification import SigningKey, parse_secret, secret_hint

#: Where an emulator signs.
SIGN_PATH = "/emulator/sign"
START_EMULATOR = (
    "start `manage.py runserver --with-emulator` and run the export lines that it prints, or "
    f"`manage.py gemini_emulator` and set {SETTING}['JWKS_URL'] as it says."
)


def signing_key(slug: str, variable: str | None = None) -> SigningKey:
    """The secret to sign with.

    Args:
        slug: the endpoint's; empty is the root endpoint.
        variable: name of an environment variable that holds another secret.

    Raises:
        ConfigurationError: there is none, or it cannot be read; the message says what to do.
        UnknownEndpoint: there is no such endpoint, or it is disabled here.
        django.db.Error: it cannot be looked up.
    """
    if variable is not None:
        return _from_environment(variable)
    acceptance = endpoints.accepted_at(slug)
    usable = [key for key in acceptance.own if key is not None]
    if usable:
        # The endpoint's newest is its last; of the settings, the first is the one in use.
        return usable[-1] if slug else usable[0]
    if acceptance.keys:
        return acceptance.keys[0]
    if acceptance.unusable:
        raise ConfigurationError(
            f"{_subject(slug)} has {acceptance.unusable} signing secret(s), but none can be read: "
            "`manage.py gemini_webhooks doctor` says why."
        )
    raise ConfigurationError(f"{_subject(slug)} has no signing secret: {_how_to_get_one(slug)}")


def only_dynamic(slug: str) -> bool:
    """Whether the address has no signing secret, but an emulator signs what it believes.

    Raises:
        UnknownEndpoint, django.db.Error: as for :func:`signing_key`.
    """
    acceptance = endpoints.accepted_at(slug)
    has_secrets = bool(acceptance.keys or acceptance.unusable)
    return not has_secrets and not _is_google(str(settings.JWKS_URL))


def sign_static(key: SigningKey, *, webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a static webhook (Standard Webhooks 1.0.0).

    Args:
        key: the secret.
        webhook_id: of the event.
        timestamp: Unix seconds of this attempt.
        body: what is signed.
    """
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    digest = hmac.digest(key.key, signed, "sha256")
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def sign_dynamic(
    *, webhook_id: str, timestamp: int, body: bytes, audience: str, token: str | None = None
) -> dict[str, str]:
    """The headers of a dynamic webhook, made by the emulator whose keys this site believes.

    Args:
        webhook_id: of the event.
        timestamp: Unix seconds of this attempt.
        body: UTF-8 text.
        audience: the ``aud`` of the token.
        token: what it vouches for, one of :data:`verification.types.Binding`; ``None`` leaves it
            to the emulator.

    Raises:
        ConfigurationError: ``JWKS_URL`` is no emulator's, or the emulator refused.
        Unreachable: no emulator answers.
    """
    origin = _emulator()
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(
            "The emulator signs text, and this body is not UTF-8: send it with --static."
        ) from None
    asked = {
        "webhook_id": webhook_id,
        "timestamp": timestamp,
        "body": text,
        "audience": audience,
        **({"token": token} if token else {}),
    }
    answer = post(
        f"{origin}{SIGN_PATH}",
        {"content-type": "application/json"},
        json.dumps(asked).encode(),
        hint=START_EMULATOR,
    )
    headers = answer.body.get("headers") if isinstance(answer.body, dict) else None
    if not answer.accepted or not isinstance(headers, dict):
        raise ConfigurationError(_refusal(origin, answer.status, answer.body))
    sent = {str(name).lower(): str(value) for name, value in headers.items()}
    return {name: value for name, value in sent.items() if name.startswith("webhook-")}


def audience_of(slug: str, url: str) -> str:
    """The ``aud`` that the address accepts; its URL if none is configured.

    Raises:
        UnknownEndpoint, django.db.Error: as for :func:`signing_key`.
    """
    return next(iter(endpoints.accepted_at(slug).token_rules.audiences), url)


def tampered(body: bytes) -> bytes:
    """``body`` with one byte that is another one, as if somebody had changed it on the way."""
    if not body:
        return b"!"
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def _from_environment(variable: str) -> SigningKey:
    text = os.environ.get(variable)
    if not text:
        raise ConfigurationError(f"The environment variable {variable} is not set.")
    return SigningKey(key=parse_secret(text), hint=secret_hint(text))


def _subject(slug: str) -> str:
    return f"The endpoint “{slug}”" if slug else "The root endpoint"


def _how_to_get_one(slug: str) -> str:
    elsewhere = "or name with --secret-env an environment variable that holds one."
    if slug:
        return f"`manage.py gemini_webhooks rotate {slug}` makes one; {elsewhere}"
    return (
        f"put one into {SETTING}['SIGNING_SECRETS'], name a registered endpoint with --endpoint, "
        f"{elsewhere} Without any, an emulator signs for it (--dynamic): {START_EMULATOR}"
    )


def _emulator() -> str:
    parts = urlsplit(str(settings.JWKS_URL))
    if _is_google(str(settings.JWKS_URL)):
        raise ConfigurationError(
            f"Only Google can sign what this site believes, as {SETTING}['JWKS_URL'] is Google's: "
            f"{START_EMULATOR}"
        )
    return f"{parts.scheme}://{parts.netloc}"


def _is_google(url: str) -> bool:
    """Likewise if it is no address at all: no emulator is there."""
    parts = urlsplit(url)
    return parts.hostname == urlsplit(GOOGLE_API).hostname or not parts.netloc


def _refusal(origin: str, status: int, body: Any) -> str:
    error = body.get("error") if isinstance(body, Mapping) else None
    message = error.get("message") if isinstance(error, Mapping) else None
    if status == 400 and message:
        return f"The emulator does not sign this: {message}"
    return f"What answers at {origin} is no emulator that signs (HTTP {status}): {START_EMULATOR}"
