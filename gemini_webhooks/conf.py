"""The ``GEMINI_WEBHOOKS`` setting: typed, with defaults, read live."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings as django_settings

SETTING = "GEMINI_WEBHOOKS"
GOOGLE_API = "https://generativelanguage.googleapis.com"


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
        return configured[name] if name in configured else getattr(Settings, name)


KEYS = frozenset(Settings.__annotations__)

settings = Settings()
