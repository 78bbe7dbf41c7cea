"""A registered webhook and the secrets that sign for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from gemini_webhooks.emulator.resources import iso, new_id, now
from gemini_webhooks.emulator.signing import new_secret

ENABLED = "enabled"
DISABLED = "disabled"
DISABLED_BY_FAILURES = "disabled_due_to_failed_deliveries"


@dataclass(frozen=True, kw_only=True)
class SigningSecret:
    """One secret; it signs until ``expires``, or for ever."""

    value: str = field(default_factory=new_secret, repr=False)
    expires: datetime | None = None

    def as_json(self) -> dict[str, str]:
        """The end of the secret, never all of it."""
        shown = {"truncated_secret": f"whsec_...{self.value[-4:]}"}
        return shown if self.expires is None else {**shown, "expire_time": iso(self.expires)}


@dataclass(kw_only=True)
class Webhook:
    """A registered webhook.

    Attributes:
        project: whose it is; nobody else sees it.
        secrets: newest first; replaced as a whole, as deliveries read it at any time.
        failed_events: how many events in a row were given up.
        deleted: set when it is unregistered; deliveries under way may still hold it.
    """

    id: str = field(default_factory=lambda: new_id("webhook_"))
    name: str
    uri: str
    subscribed_events: list[str]
    project: str = field(default="", repr=False)
    secrets: tuple[SigningSecret, ...] = field(default_factory=lambda: (SigningSecret(),))
    state: str = ENABLED
    failed_events: int = 0
    deleted: bool = False
    created: datetime = field(default_factory=now)
    updated: datetime = field(default_factory=now)

    @property
    def receives(self) -> bool:
        """Whether anything is delivered to it."""
        return self.state == ENABLED and not self.deleted

    @property
    def valid_secrets(self) -> list[SigningSecret]:
        """Those that sign now, newest first."""
        moment = now()
        return [one for one in self.secrets if one.expires is None or one.expires > moment]

    def rotate(self, *, grace: timedelta) -> SigningSecret:
        """Make a new secret; the others end after ``grace``, if they would not end before."""
        end = now() + grace
        old = [replace(one, expires=min(one.expires or end, end)) for one in self.valid_secrets]
        new = SigningSecret()
        self.secrets = (new, *old)
        self.updated = now()
        return new

    def change(self, values: dict[str, Any]) -> None:
        """Set fields; a webhook that is enabled starts without failures."""
        for name, value in values.items():
            setattr(self, name, value)
        if values.get("state") == ENABLED:
            self.failed_events = 0
        self.updated = now()

    def as_json(self) -> dict[str, Any]:
        """The resource; never a whole secret."""
        return {
            "id": self.id,
            "name": self.name,
            "uri": self.uri,
            "subscribed_events": self.subscribed_events,
            "state": self.state,
            "signing_secrets": [secret.as_json() for secret in self.valid_secrets],
            "create_time": iso(self.created),
            "update_time": iso(self.updated),
        }
