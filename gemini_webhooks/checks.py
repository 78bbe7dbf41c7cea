"""System checks: what is wrong with the settings, said at start instead of at three at night.

Processes that check nothing register them too: what a check needs, it imports itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from email.utils import parseaddr
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings as django_settings
from django.core import mail
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  # its name
from django.core.exceptions import ValidationError
from django.core.files.storage import storages
from django.core.files.storage.handler import InvalidStorageError
from django.core.validators import validate_email
from django.urls import get_resolver
from django.utils.module_loading import import_string

from gemini_webhooks.conf import EMULATOR, KEYS, SETTING, Settings, settings
from gemini_webhooks.exceptions import ConfigurationError

#: Of ``gemini_webhooks.api.urls``, which is above this layer.
API_NAMESPACE = "gemini_webhooks_api"
LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}

Check = Callable[[], Iterable[CheckMessage]]


def _error(number: int, key: str, problem: str, hint: str) -> Error:
    return Error(f'{SETTING}["{key}"] {problem}.', hint=hint, id=f"gemini_webhooks.E{number:03}")


def _is_number(value: object, *, least: float, whole: bool) -> bool:
    kinds = (int,) if whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and value >= least


def _is_text_list(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) and item for item in value)


@register("gemini_webhooks")
def check_dict(**_: Any) -> list[CheckMessage]:
    """E001: the setting is a dict. E002: it has no unknown key."""
    configured = getattr(django_settings, SETTING, {})
    if not isinstance(configured, Mapping):
        return [Error(f"{SETTING} must be a dict.", id="gemini_webhooks.E001")]
    return [
        _error(2, str(key), "is not a setting", f"Known keys: {', '.join(sorted(KEYS))}.")
        for key in configured
        if key not in KEYS
    ]


def _checked(check: Check) -> Check:
    """Register ``check``; it has nothing to look at while the setting is no dict."""

    def run(**_: Any) -> list[CheckMessage]:
        if not isinstance(getattr(django_settings, SETTING, {}), Mapping):
            return []
        return list(check())

    run.__name__, run.__doc__ = check.__name__, check.__doc__
    register(run, "gemini_webhooks")
    return check


@_checked
def check_signing_secrets() -> Iterable[CheckMessage]:
    """E003: every signing secret can be read."""
    from gemini_webhooks.verification import parse_secret

    hint = "A list of the whsec_… secrets that Google showed when the webhook was created."
    if not _is_text_list(settings.SIGNING_SECRETS):
        yield _error(3, "SIGNING_SECRETS", "must be a list of texts, none of them empty", hint)
        return
    for position, secret in enumerate(settings.SIGNING_SECRETS):
        try:
            parse_secret(secret)
        except ConfigurationError:
            yield _error(
                3, "SIGNING_SECRETS", f"has no signing secret at position {position}", hint
            )


@_checked
def check_text_lists() -> Iterable[CheckMessage]:
    """E004: lists of texts are lists of texts, not one text."""
    for key in ("AUDIENCES", "ISSUERS", "ALLOWED_BUCKETS"):
        if not _is_text_list(getattr(settings, key)):
            yield _error(4, key, "must be a list of texts, none of them empty", "Use [] for none.")


@_checked
def check_buckets() -> Iterable[CheckMessage]:
    """E005: buckets are names, not URIs."""
    if not _is_text_list(settings.ALLOWED_BUCKETS):
        return
    for bucket in settings.ALLOWED_BUCKETS:
        if "/" in bucket:
            yield _error(
                5, "ALLOWED_BUCKETS", f"has {bucket!r}", "Name the bucket alone, without gs://."
            )


@_checked
def check_urls() -> Iterable[CheckMessage]:
    """E006: URLs are https; plain http only to this machine. W001 for the public address."""
    jwks = _host(settings.JWKS_URL)
    if jwks is None or not (_is_https(settings.JWKS_URL) or jwks in LOCAL_HOSTS):
        yield _error(6, "JWKS_URL", "must be an https URL", "Leave it out to use Google's.")
    base = settings.PUBLIC_BASE_URL
    if base is None:
        return
    host = _host(base)
    parts = urlsplit(base) if host is not None else None
    if parts is None or parts.path.strip("/") or parts.query or parts.fragment:
        yield _error(
            6, "PUBLIC_BASE_URL", "must be scheme and host alone", 'As "https://app.example.com".'
        )
    elif not _is_https(base) and host not in LOCAL_HOSTS:
        yield Warning(
            f'{SETTING}["PUBLIC_BASE_URL"] is not https.',
            hint="Google delivers only to https with a valid certificate.",
            id="gemini_webhooks.W001",
        )


@_checked
def check_numbers() -> Iterable[CheckMessage]:
    """E007: numbers are numbers, and large enough to make sense."""
    whole = {
        "JWKS_CACHE_SECONDS": 1,
        "TOLERANCE_SECONDS": 1,
        "MAX_BODY_BYTES": 1,
        "MAX_TOKEN_AGE_SECONDS": 1,
        "MAX_RESULT_BYTES": 1,
        "MAX_ATTEMPTS": 1,
        "FAILURE_EMAIL_MINUTES": 1,
    }
    broken = {"JWKS_TIMEOUT_SECONDS": 0.001, "RETRY_BASE_SECONDS": 0, "RETRY_MAX_SECONDS": 0}
    for key, least in {**whole, **broken}.items():
        if not _is_number(getattr(settings, key), least=least, whole=key in whole):
            kind = "whole number" if key in whole else "number"
            yield _error(
                7, key, f"must be a {kind} of at least {least:g}", "Leave it out for the default."
            )


@_checked
def check_switches() -> Iterable[CheckMessage]:
    """E008: switches are True or False; the text "False" would be true."""
    for key in ("REQUIRE_SEAL", "FETCH_RESULTS"):
        if not isinstance(getattr(settings, key), bool):
            yield _error(8, key, "must be True or False", "A text from the environment is neither.")


@_checked
def check_encryption_keys() -> Iterable[CheckMessage]:
    """E009: every encryption key is a Fernet key."""
    from gemini_webhooks import ciphers

    hint = "Make one with cryptography.fernet.Fernet.generate_key().decode()."
    if not _is_text_list(settings.ENCRYPTION_KEYS):
        yield _error(9, "ENCRYPTION_KEYS", "must be a list of texts, none of them empty", hint)
        return
    try:
        ciphers.encrypt("check")
    except ConfigurationError:
        yield _error(9, "ENCRYPTION_KEYS", "has an entry that is no Fernet key", hint)


@_checked
def check_api_keys() -> Iterable[CheckMessage]:
    """E010: API keys are texts by name."""
    keys: object = settings.API_KEYS
    if not isinstance(keys, Mapping) or not all(
        isinstance(name, str) and (value is None or isinstance(value, str))
        for name, value in keys.items()
    ):
        yield _error(10, "API_KEYS", "must be a dict of names and keys", 'As {"default": "…"}.')


@_checked
def check_result_storage() -> Iterable[CheckMessage]:
    """E011: the alias is in STORAGES."""
    try:
        storages[settings.RESULT_STORAGE]
    except (InvalidStorageError, TypeError, ImportError):
        yield _error(
            11,
            "RESULT_STORAGE",
            f"names {settings.RESULT_STORAGE!r}, which STORAGES does not have",
            "Use an alias of STORAGES.",
        )


@_checked
def check_queue_router() -> Iterable[CheckMessage]:
    """E012: the queue router can be imported and called."""
    if not _is_function(settings.QUEUE_ROUTER):
        yield _error(
            12,
            "QUEUE_ROUTER",
            "is not the dotted path of a function",
            "It is called with (event, receiver_name) and returns a queue name or None.",
        )


@_checked
def check_lane_router() -> Iterable[CheckMessage]:
    """E015: the lane router can be imported and called."""
    if not _is_function(settings.LANE_ROUTER):
        yield _error(
            15,
            "LANE_ROUTER",
            "is not the dotted path of a function",
            "It is called with (event, receiver_name) and returns a receivers.Lane or None.",
        )


@_checked
def check_retention() -> Iterable[CheckMessage]:
    """E013: retention periods are days or None, for things that are kept."""
    configured = getattr(django_settings, SETTING, {}).get("RETENTION_DAYS", {})
    # Google repeats an event for 24 hours: until then it has to be known.
    least = {**dict.fromkeys(Settings.RETENTION_DAYS, 1), "deliveries": 2}
    if not isinstance(configured, Mapping) or not all(
        name in least and (days is None or _is_number(days, least=least[name], whole=True))
        for name, days in configured.items()
    ):
        yield _error(
            13,
            "RETENTION_DAYS",
            f"must be a dict of days for {', '.join(sorted(least))}",
            "A whole number of at least 1, 2 for deliveries; None keeps for ever.",
        )


@_checked
def check_redaction() -> Iterable[CheckMessage]:
    """E016: every rule of REDACT can be read. E017: none takes out what processing needs."""
    from gemini_webhooks import redaction
    from gemini_webhooks.events import OUTPUT_FIELDS

    rules: object = settings.REDACT
    if (
        not isinstance(rules, Mapping)
        or not set(rules) <= set(redaction.KINDS)
        or not all(_is_text_list(of_kind) for of_kind in rules.values())
    ):
        yield _error(
            16,
            "REDACT",
            f"must be a dict of lists of texts for {', '.join(redaction.KINDS)}",
            'As {"store": ["data.user_metadata.email"]}.',
        )
        return
    wrong = [rule for of_kind in rules.values() for rule in of_kind if not _is_rule(rule)]
    for rule in wrong:
        yield _error(
            16,
            "REDACT",
            f"has {rule!r}, which is neither a path nor a function",
            "As data.items[*].name, or module:function.",
        )
    if not wrong:
        needed = {"type": "", "timestamp": "", "data": {"id": ""}}
        if settings.FETCH_RESULTS:
            needed["data"] = dict.fromkeys(("id", *OUTPUT_FIELDS), "")
        for rule in redaction.touching(rules.get("store", ()), needed):
            yield _error(
                17,
                "REDACT",
                f'takes out with {rule!r} in "store" what processing needs',
                'To hide it from people, put it into "display".',
            )


@_checked
def check_failure_emails() -> Iterable[CheckMessage]:
    """E018: it is known who is told of failures. W002: there is somebody."""
    recipients: Any = settings.FAILURE_EMAILS
    if recipients is True and not django_settings.ADMINS:
        yield Warning(
            f'{SETTING}["FAILURE_EMAILS"] is True, but ADMINS is empty: nobody is told.',
            hint="Fill ADMINS, or give a list of addresses.",
            id="gemini_webhooks.W002",
        )
    if isinstance(recipients, bool):
        return
    if not _is_text_list(recipients) or not all(map(_is_address, recipients)):
        yield _error(
            18,
            "FAILURE_EMAILS",
            "must be True, False or a list of e-mail addresses",
            'True is for ADMINS; otherwise as ["ops@example.com"].',
        )


@register("gemini_webhooks")
def check_api(**_: Any) -> list[CheckMessage]:
    """W003: where the API is included, REST framework can open its pages in a browser."""
    try:
        is_included = API_NAMESPACE in get_resolver().app_dict
    except Exception:  # noqa: BLE001  # of the site's URLconf, which Django's own checks look at
        return []
    if not is_included or apps.is_installed("rest_framework"):
        return []
    return [
        Warning(
            "The API is included in the URLs, but REST framework is not installed as an app: its "
            "pages do not open in a browser.",
            hint='Add "rest_framework" to INSTALLED_APPS.',
            id="gemini_webhooks.W003",
        )
    ]


@register("gemini_webhooks")
def check_emulator(**_: Any) -> list[CheckMessage]:
    """W004: the emulator stands for Google in development only."""
    # Test runners turn DEBUG off and replace the mailbox; nobody did anything wrong then.
    is_test = hasattr(mail, "outbox")
    if not os.environ.get(EMULATOR) or django_settings.DEBUG or is_test:
        return []
    return [
        Warning(
            f"The environment has {EMULATOR}, but DEBUG is off: it is ignored.",
            hint="Unset it here. The emulator is for development.",
            id="gemini_webhooks.W004",
        )
    ]


@_checked
def check_secret_backend() -> Iterable[CheckMessage]:
    """E014: the secret backend can be imported and called."""
    if not _is_function(settings.SECRET_BACKEND):
        yield _error(
            14,
            "SECRET_BACKEND",
            "is not the dotted path of a function",
            "It is called with the slug of an endpoint (empty: the root address) and returns the "
            "whsec_… secrets that are valid there.",
        )


def _is_address(text: str) -> bool:
    """Whether it is an e-mail address, alone or as in ``Ada <ada@example.com>``."""
    try:
        validate_email(parseaddr(text)[1])
    except ValidationError:
        return False
    return "\n" not in text and "\r" not in text


def _is_rule(rule: str) -> bool:
    from gemini_webhooks import redaction

    try:
        found = redaction.read(rule)
    except ConfigurationError:
        return False
    return isinstance(found, tuple) or _is_function(found)


def _is_function(path: Any) -> bool:
    """Whether a dotted path leads to something that can be called; ``None`` is no path at all."""
    try:
        return path is None or callable(import_string(path))
    except (ImportError, AttributeError, TypeError):
        return False


def _host(url: object) -> str | None:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
    except ValueError:
        return None
    return parts.hostname if parts.scheme in ("http", "https") else None


def _is_https(url: str) -> bool:
    return url.startswith("https://")
