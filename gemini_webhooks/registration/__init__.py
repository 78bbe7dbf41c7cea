"""Registers, changes and removes endpoints at Google, and keeps their signing secrets.

Admin, API and commands call these functions. Calls to Google happen outside any transaction of
ours: an answer may take seconds, and a rollback would not undo what Google did.
"""

from gemini_webhooks.exceptions import RegistrationError
from gemini_webhooks.registration.changing import delete, disable, enable, ping, update
from gemini_webhooks.registration.creating import create
from gemini_webhooks.registration.rotating import Rotation, rotate, verified_since
from gemini_webhooks.registration.secrets import Reencryption, reencrypt
from gemini_webhooks.registration.syncing import Drift, SyncReport, sync

__all__ = [
    "Drift",
    "Reencryption",
    "RegistrationError",
    "Rotation",
    "SyncReport",
    "create",
    "delete",
    "disable",
    "enable",
    "ping",
    "reencrypt",
    "rotate",
    "sync",
    "update",
    "verified_since",
]
