"""System checks: one bad value per row, and good ones that raise nothing."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.checks import run_checks

from gemini_webhooks.conf import KEYS, Settings
from tests.senders import new_secret


def found(settings: Any, configured: Any) -> list[str]:
    settings.GEMINI_WEBHOOKS = configured
    return [message.id for message in run_checks(tags=["gemini_webhooks"])]


BAD_VALUES = [
    ("E002", "SIGNING_SECRET", "whsec_x"),
    ("E003", "SIGNING_SECRETS", "whsec_not-a-list"),
    ("E003", "SIGNING_SECRETS", [None]),
    ("E003", "SIGNING_SECRETS", [""]),
    ("E003", "SIGNING_SECRETS", ["whsec_%%%"]),
    ("E004", "AUDIENCES", "https://one.example"),
    ("E004", "AUDIENCES", [None]),
    ("E004", "ISSUERS", "google"),
    ("E004", "ALLOWED_BUCKETS", "bucket"),
    ("E005", "ALLOWED_BUCKETS", ["gs://bucket"]),
    ("E006", "JWKS_URL", "http://keys.example/jwks.json"),
    ("E006", "JWKS_URL", "file:///etc/passwd"),
    ("E006", "JWKS_URL", "https://[broken"),
    ("E006", "JWKS_URL", None),
    ("E006", "PUBLIC_BASE_URL", "app.example.com"),
    ("E006", "PUBLIC_BASE_URL", "https://app.example.com/path"),
    ("E006", "PUBLIC_BASE_URL", "https://app.example.com?from=google"),
    ("E006", "PUBLIC_BASE_URL", "https://app.example.com#top"),
    ("W001", "PUBLIC_BASE_URL", "http://app.example.com"),
    ("E007", "JWKS_CACHE_SECONDS", 0),
    ("E007", "JWKS_TIMEOUT_SECONDS", 0),
    ("E007", "TOLERANCE_SECONDS", "300"),
    ("E007", "MAX_BODY_BYTES", 0),
    ("E007", "MAX_TOKEN_AGE_SECONDS", -1),
    ("E007", "MAX_RESULT_BYTES", 1.5),
    ("E007", "MAX_ATTEMPTS", 0),
    ("E007", "MAX_ATTEMPTS", True),
    ("E007", "RETRY_BASE_SECONDS", -1),
    ("E007", "RETRY_MAX_SECONDS", None),
    ("E008", "REQUIRE_SEAL", "False"),
    ("E008", "FETCH_RESULTS", 1),
    ("E009", "ENCRYPTION_KEYS", ["not a key"]),
    ("E009", "ENCRYPTION_KEYS", "one key"),
    ("E010", "API_KEYS", ["key"]),
    ("E010", "API_KEYS", {"default": 1}),
    ("E011", "RESULT_STORAGE", "nowhere"),
    ("E011", "RESULT_STORAGE", ["default"]),
    ("E012", "QUEUE_ROUTER", "no.such.module"),
    ("E012", "QUEUE_ROUTER", "django.conf.ENVIRONMENT_VARIABLE"),
    ("E012", "QUEUE_ROUTER", 5),
    ("E015", "LANE_ROUTER", "no.such.module"),
    ("E014", "SECRET_BACKEND", "no.such.module"),
    ("E014", "SECRET_BACKEND", "django.conf.ENVIRONMENT_VARIABLE"),
    ("E014", "SECRET_BACKEND", ["whsec_x"]),
    ("E013", "RETENTION_DAYS", 30),
    ("E013", "RETENTION_DAYS", {"payload": 30}),
    ("E013", "RETENTION_DAYS", {"payloads": 0}),
    ("E013", "RETENTION_DAYS", {"deliveries": 1}),
    ("E007", "FAILURE_EMAIL_MINUTES", 0),
    ("E018", "FAILURE_EMAILS", "ops@example.com"),
    ("E018", "FAILURE_EMAILS", 1),
    ("E018", "FAILURE_EMAILS", None),
    ("E018", "FAILURE_EMAILS", [("Ops", "ops@example.com")]),
    ("E018", "FAILURE_EMAILS", ["ops"]),
    ("E018", "FAILURE_EMAILS", ["ops@example.com\nBcc: all@example.com"]),
    ("W002", "FAILURE_EMAILS", True),
    ("E016", "REDACT", ["data.user_metadata.email"]),
    ("E016", "REDACT", {"stored": []}),
    ("E016", "REDACT", {"store": "data.user_metadata.email"}),
    ("E016", "REDACT", {"display": ["data..email"]}),
    ("E016", "REDACT", {"rows": [None]}),
    ("E016", "REDACT", {"store": ["no.such.module:redact"]}),
    ("E016", "REDACT", {"store": ["django.conf:ENVIRONMENT_VARIABLE"]}),
    ("E017", "REDACT", {"store": ["type"]}),
    ("E017", "REDACT", {"store": ["data"]}),
    ("E017", "REDACT", {"store": ["data.*"]}),
    ("E017", "REDACT", {"store": ["data.output_file_uri"]}),
]


@pytest.mark.parametrize(("check", "key", "value"), BAD_VALUES)
def test_bad_value(settings: Any, check: str, key: str, value: Any) -> None:
    assert f"gemini_webhooks.{check}" in found(settings, {key: value})


def test_every_setting_has_a_bad_value_here() -> None:
    assert {key for _, key, _ in BAD_VALUES} - {"SIGNING_SECRET"} == KEYS


@pytest.mark.parametrize("configured", [None, [], "GEMINI"])
def test_setting_that_is_no_dict(settings: Any, configured: Any) -> None:
    assert found(settings, configured) == ["gemini_webhooks.E001"]


def test_defaults_are_fine(settings: Any) -> None:
    assert found(settings, {}) == []
    assert found(settings, {key: getattr(Settings, key) for key in KEYS}) == []


def test_a_full_set_of_good_values_is_fine(settings: Any) -> None:
    good = {
        "SIGNING_SECRETS": [new_secret(), new_secret().removeprefix("whsec_").rstrip("=")],
        "AUDIENCES": ["https://app.example.com/webhooks/gemini/"],
        "JWKS_URL": "http://127.0.0.1:8090/.well-known/jwks.json",
        "PUBLIC_BASE_URL": "https://app.example.com/",
        "ENCRYPTION_KEYS": [Fernet.generate_key().decode()],
        "API_KEYS": {"default": None, "tenant": "k"},
        "ALLOWED_BUCKETS": ["results"],
        "QUEUE_ROUTER": "tests.test_receivers.route",
        "SECRET_BACKEND": "tests.test_secrets.store",
        "RETENTION_DAYS": {"payloads": None, "results": 1, "deliveries": 2},
        "REDACT": {
            "store": ["data.user_metadata.email", "tests.test_redaction:initials"],
            "display": ["data", "data.*", "type"],
        },
        "FAILURE_EMAILS": ["ops@example.com", "Ada <ada@example.com>"],
        "MAX_ATTEMPTS": 1,
        "RETRY_BASE_SECONDS": 0.5,
    }
    assert found(settings, good) == []


def test_admins_are_enough_for_failure_emails(settings: Any) -> None:
    settings.ADMINS = [("Ada", "ada@example.com")]

    assert found(settings, {"FAILURE_EMAILS": True}) == []
    assert found(settings, {"FAILURE_EMAILS": []}) == []


def test_messages_never_hold_the_secret(settings: Any) -> None:
    settings.GEMINI_WEBHOOKS = {
        "SIGNING_SECRETS": ["whsec_hunter2%%"],
        "ENCRYPTION_KEYS": ["hunter2"],
        "API_KEYS": ["hunter2"],
    }
    messages = run_checks(tags=["gemini_webhooks"])

    assert len(messages) == 3
    assert "hunter2" not in repr([(message.msg, message.hint) for message in messages])
