"""Registers, changes and removes endpoints at Google, and keeps their signing secrets.

Admin, API and commands call these functions. Calls to Google happen outside any transaction of
ours: an answer may take seconds, and a rollback would not undo what Google did.
"""

from gemini_webhooks.exceptions import KeyRefused, RegistrationError
from gemini_webhooks.registration.changing import delete, disable, enable, ping, update
from gemini_webhooks.registration.creating import create
from gemini_webhooks.registration.failures import NOTHING_REFUSED, Failures, Refusals, failures
from gemini_webhooks.registration.rotating import Rotation, rotate, verified_since
from gemini_webhooks.registration.secrets import (
    Reencryption,
    ValidSecrets,
    named,
    not_shown,
    reencrypt,
    reveal,
    revoke,
    valid_secrets,
)
from gemini_webhooks.registration.syncing import Compared, Drift, SyncReport, sync, sync_all

__all__ = [
    "NOTHING_REFUSED",
    "Compared",
    "Drift",
    "Failures",
    "KeyRefused",
    "Reencryption",
    "Refusals",
    "RegistrationError",
    "Rotation",
    "SyncReport",
    "ValidSecrets",
    "create",
    "delete",
    "disable",
    "enable",
    "failures",
    "named",
    "not_shown",
    "ping",
    "reencrypt",
    "reveal",
    "revoke",
    "rotate",
    "sync",
    "sync_all",
    "update",
    "valid_secrets",
    "verified_since",
]
