"""Signing secrets: rotate, revoke, encrypt anew."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError
from django.db import Error as DatabaseTrouble

from gemini_webhooks import registration
from gemini_webhooks.management.subcommands.base import (
    Options,
    Subcommand,
    confirm,
    endpoint_named,
    moment,
)
from gemini_webhooks.models import WebhookEndpoint


class Rotate(Subcommand):
    """``rotate``."""

    name = "rotate"
    summary = "make a new signing secret; the old one holds for 24 hours more"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Which endpoint, and what becomes of the old secret."""
        parser.add_argument("slug")
        parser.add_argument(
            "--now", action="store_true", help="after a leak: the old one stops to hold at once"
        )
        parser.add_argument(
            "--since",
            metavar="TIME",
            help="with --now: list what the old secret verified since this ISO 8601 time",
        )

    def run(self, options: Options) -> dict[str, Any]:
        """Rotate; after a leak, list what the old secret verified."""
        endpoint = endpoint_named(options["slug"])
        since = moment(options["since"]) if options["since"] else None
        if since and not options["now"]:
            raise CommandError("--since goes with --now: otherwise the old secret still holds.")
        rotation = registration.rotate(endpoint, revoke_immediately=options["now"])
        report: dict[str, Any] = {
            "rotated": endpoint.slug,
            "secret": rotation.secret.hint,
            "old_valid_until": rotation.old_valid_until or "none is valid any more",
        }
        if since:
            report["verified_by_old_secrets"] = self._verified(endpoint, since)
        return report

    def _verified(self, endpoint: WebhookEndpoint, since: datetime) -> list[str] | str:
        leaked = registration.verified_since(endpoint, since)
        try:
            return list(leaked.values_list("webhook_id", flat=True))
        except DatabaseTrouble as error:
            self.differs = True
            return (
                f"not listed ({type(error).__name__}), but the secret is rotated: look at “After "
                "a leak” on the endpoint's page in the admin"
            )


class Revoke(Subcommand):
    """``revoke``."""

    name = "revoke"
    summary = "end one signing secret here, at once; Google is not told"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Which one, and whether to ask."""
        parser.add_argument("slug")
        parser.add_argument("hint", help="as it is shown, or how it ends, such as 3frh")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def run(self, options: Options) -> dict[str, Any]:
        """End it."""
        endpoint = endpoint_named(options["slug"])
        secret = registration.named(endpoint, options["hint"])
        if not options["yes"]:
            question = f"Refuse from now on what {secret.hint} signs for “{endpoint.slug}”?"
            confirm(question, endpoint.slug, "Nothing was revoked.")
        registration.revoke(secret)
        left = [other.hint for other in registration.valid_secrets(endpoint).readable]
        return {
            "revoked": secret.hint,
            "valid": left or f"none; `manage.py gemini_webhooks rotate {endpoint.slug}` makes one",
        }


class Reencrypt(Subcommand):
    """``reencrypt``."""

    name = "reencrypt"
    summary = "encrypt the stored secrets with the first of ENCRYPTION_KEYS"

    def run(self, options: Options) -> dict[str, Any]:  # noqa: ARG002  # it has none
        """Encrypt them anew; exit code 1 if some cannot be read."""
        report = registration.reencrypt()
        if report.unreadable:
            self.differs = True
            self.stderr.write(
                "Restore the key in ENCRYPTION_KEYS and run this again, or rotate; do not remove "
                "old keys yet."
            )
        return asdict(report)
