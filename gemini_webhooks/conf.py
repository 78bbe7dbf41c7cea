"""The ``GEMINI_WEBHOOKS`` setting: typed, with defaults, read live."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings as django_settings
from django.urls import NoReverseMatch, reverse

SETTING = "GEMINI_WEBHOOKS"
GOOGLE_API = "https://generativelanguage.googleapis.com"

#: The emulator's address, the site's own where it is not the usual one, and likewise the bucket
#: that results are in; and whether the site's own process is the worker. Set by ``runserver
#: --with-emulator``, and by hand for other processes.
EMULATOR = "GEMINI_WEBHOOKS_EMULATOR"
EMULATOR_SITE = "GEMINI_WEBHOOKS_EMULATOR_SITE"
EMULATOR_BUCKET = "GEMINI_WEBHOOKS_EMULATOR_BUCKET"
EMULATOR_WORKER = "GEMINI_WEBHOOKS_EMULATOR_WORKER"
USUAL_SITE = "http://127.0.0.1:8000"
USUAL_BUCKET = "gemini-emulator"
USUAL_KEY = "emulator"


class Settings:
    """Attributes are the keys of ``GEMINI_WEBHOOKS``; the values below are the defaults.

    Nothing is cached: a changed setting (``override_settings`` in a test) holds from the
    next read on.
    """

    SIGNING_SECRETS: Sequence[str] = []
    SECRET_BACKEND: str | None = None
    AUDIENCES: Sequence[str] = []
    JWKS_URL: str = f"{GOOGLE_API}/.well-known/jwks.json"
    JWKS_CACHE_SECONDS: int = 3600
    JWKS_TIMEOUT_SECONDS: float = 3
    TOLERANCE_SECONDS: int = 300
    MAX_BODY_BYTES: int = 262_144
    REQUIRE_SEAL: bool = True
    ISSUERS: Sequence[str] = []
    MAX_TOKEN_AGE_SECONDS: int = 3600
    ENCRYPTION_KEYS: Sequence[str] = []
    API_KEYS: Mapping[str, str | None] = {}
    PUBLIC_BASE_URL: str | None = None
    FETCH_RESULTS: bool = True
    RESULT_STORAGE: str = "default"
    ALLOWED_BUCKETS: Sequence[str] = []
    MAX_RESULT_BYTES: int = 10 * 1024**3
    MAX_ATTEMPTS: int = 8
    RETRY_BASE_SECONDS: float = 10
    RETRY_MAX_SECONDS: float = 3600
    QUEUE_ROUTER: str | None = None
    LANE_ROUTER: str | None = None
    RETENTION_DAYS: Mapping[str, int | None] = {
        "payloads": 30,
        "results": 90,
        "deliveries": 365,
        "rejections": 7,
    }
    FAILURE_EMAILS: bool | Sequence[str] = False
    FAILURE_EMAIL_MINUTES: int = 15
    REDACT: Mapping[str, Sequence[str]] = {"store": [], "display": [], "rows": []}

    def __getattribute__(self, name: str) -> Any:
        if name not in KEYS:
            raise AttributeError(f"{SETTING} has no key {name!r}")
        configured = getattr(django_settings, SETTING, None) or {}
        if name == "API_KEYS":
            return configured.get(name) or {"default": os.environ.get("GEMINI_API_KEY")}
        if name == "RETENTION_DAYS":
            return {**Settings.RETENTION_DAYS, **configured.get(name, {})}
        value = configured[name] if name in configured else getattr(Settings, name)
        return _emulated(name, value) if name in EMULATED and is_emulated() else value


def is_emulated() -> bool:
    """Whether the emulator stands for Google, which takes a site in development (``DEBUG``)."""
    return bool(os.environ.get(EMULATOR)) and bool(django_settings.DEBUG)


def works_itself() -> bool:
    """Whether the site beside the emulator is its own worker: ``runserver --with-worker``."""
    return is_emulated() and bool(os.environ.get(EMULATOR_WORKER))


def lead_to_emulator() -> None:
    """Have Google's clients in this process talk to the emulator, if it stands for Google."""
    if is_emulated():
        for name in ("GOOGLE_GEMINI_BASE_URL", "STORAGE_EMULATOR_HOST"):
            os.environ.setdefault(name, _address(EMULATOR))
        os.environ.setdefault("GEMINI_API_KEY", USUAL_KEY)


def _emulated(name: str, value: Any) -> Any:
    """What ``value`` is while Google is the emulator and the site is on this machine."""
    site = _address(EMULATOR_SITE) or USUAL_SITE
    if name == "JWKS_URL":
        return f"{_address(EMULATOR)}/.well-known/jwks.json"
    if name == "PUBLIC_BASE_URL":
        return site
    # What is no list is for a system check to see.
    if name == "ALLOWED_BUCKETS" and isinstance(value, list | tuple):
        return [*value, os.environ.get(EMULATOR_BUCKET) or USUAL_BUCKET]
    if name == "AUDIENCES" and isinstance(value, list | tuple):
        return [*value, *_root_address(site)]
    return value


def _address(variable: str) -> str:
    """Without the slash that people may write at its end; empty if it is not set."""
    return os.environ.get(variable, "").rstrip("/")


def _root_address(site: str) -> list[str]:
    try:
        return [site + reverse("gemini_webhooks:receive")]
    except NoReverseMatch:
        return []


KEYS = frozenset(Settings.__annotations__)
#: Those that differ while Google is the emulator.
EMULATED = frozenset({"JWKS_URL", "PUBLIC_BASE_URL", "ALLOWED_BUCKETS", "AUDIENCES"})

settings = Settings()
