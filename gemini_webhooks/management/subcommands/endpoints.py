"""Registered endpoints: list, create, update, delete, ping."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from gemini_webhooks import registration
from gemini_webhooks.deliveries import rows
from gemini_webhooks.events import CATALOGUE
from gemini_webhooks.exceptions import KeyRefused
from gemini_webhooks.management.subcommands.base import (
    Options,
    Subcommand,
    confirm,
    endpoint_named,
)
from gemini_webhooks.models import WebhookEndpoint


def shown(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """What is printed of an endpoint."""
    return {
        "slug": endpoint.slug,
        "name": endpoint.name,
        "uri": endpoint.uri,
        "state": endpoint.state,
        "remote_id": endpoint.remote_id,
        "subscribed_events": endpoint.subscribed_events,
        "audiences": endpoint.audiences,
        "last_delivery_at": endpoint.last_delivery_at,
    }


class Endpoints(Subcommand):
    """``endpoints``."""

    name = "endpoints"
    summary = "list the registered endpoints"

    def run(self, options: Options) -> list[dict[str, Any]]:  # noqa: ARG002  # it has none
        """List them."""
        return [shown(endpoint) for endpoint in rows(WebhookEndpoint).all()]

    def lines(self, report: Any) -> list[str]:
        """One line each."""
        return ["  ".join(str(row[key]) for key in ("slug", "state", "uri")) for row in report] or [
            "No endpoints yet; `manage.py gemini_webhooks create SLUG` registers one."
        ]


class Create(Subcommand):
    """``create``."""

    name = "create"
    summary = "register a webhook at Google and keep its signing secret"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """What Google wants to know, and what holds here."""
        parser.add_argument("slug", help="last part of the address")
        parser.add_argument("--name", default="", help="for people; the slug by default")
        parser.add_argument(
            "--uri", help="where Google delivers, such as a relay; PUBLIC_BASE_URL says by default"
        )
        parser.add_argument(
            "--event",
            action="append",
            dest="events",
            metavar="TYPE",
            help=f"event type, may be repeated; all by default: {', '.join(CATALOGUE)}",
        )
        parser.add_argument("--api-key", default="default", metavar="NAME", help="one of API_KEYS")
        parser.add_argument("--audience", action="append", dest="audiences", metavar="AUD")

    def run(self, options: Options) -> dict[str, Any]:
        """Register it."""
        endpoint = registration.create(
            options["slug"],
            name=options["name"],
            subscribed_events=options["events"] or tuple(CATALOGUE),
            api_key_name=options["api_key"],
            audiences=options["audiences"] or (),
            uri=options["uri"],
        )
        return shown(endpoint)


class Update(Subcommand):
    """``update``."""

    name = "update"
    summary = (
        "change an endpoint here and at Google; not its API key, as a webhook belongs to the "
        "project that registered it"
    )

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """What can be changed."""
        parser.add_argument("slug")
        parser.add_argument("--name")
        parser.add_argument("--uri", help="a new address")
        parser.add_argument("--event", action="append", dest="events", metavar="TYPE")
        audiences = parser.add_mutually_exclusive_group()
        audiences.add_argument(
            "--audience",
            action="append",
            dest="audiences",
            metavar="AUD",
            help="accepted aud value of dynamic webhooks, may be repeated; replaces the others",
        )
        audiences.add_argument(
            "--no-audiences",
            action="store_const",
            const=[],
            dest="audiences",
            help="accept no dynamic webhooks any more",
        )
        state = parser.add_mutually_exclusive_group()
        state.add_argument("--enable", action="store_true", help="take up deliveries again")
        state.add_argument("--disable", action="store_true", help="stop deliveries")

    def run(self, options: Options) -> dict[str, Any]:
        """Change it."""
        endpoint = endpoint_named(options["slug"])
        registration.update(
            endpoint,
            name=options["name"],
            uri=options["uri"],
            subscribed_events=options["events"],
            audiences=options["audiences"],
        )
        if options["enable"]:
            registration.enable(endpoint)
        if options["disable"]:
            registration.disable(endpoint)
        return shown(endpoint)


class Delete(Subcommand):
    """``delete``."""

    name = "delete"
    summary = "remove an endpoint at Google and here; its deliveries stay"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Which one, and whether to ask."""
        parser.add_argument("slug")
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument(
            "--only-here",
            action="store_true",
            help="leave it at Google as it is, when the API key is gone",
        )

    def run(self, options: Options) -> dict[str, Any]:
        """Remove it."""
        endpoint = endpoint_named(options["slug"])
        if not options["yes"]:
            where = "here only" if options["only_here"] else "at Google and here"
            question = f"Remove “{endpoint.slug}” ({endpoint.uri}) {where}?"
            confirm(question, endpoint.slug, "Nothing was removed.")
        try:
            registration.delete(endpoint, only_here=options["only_here"])
        except KeyRefused as error:
            way = f"`manage.py gemini_webhooks delete {endpoint.slug} --only-here` does the latter."
            raise CommandError(f"{error} {way}") from None
        return {"deleted": endpoint.slug}


class Ping(Subcommand):
    """``ping``."""

    name = "ping"
    summary = "have Google send a test event to an endpoint"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Which one."""
        parser.add_argument("slug")

    def run(self, options: Options) -> dict[str, Any]:
        """Ask for it."""
        endpoint = endpoint_named(options["slug"])
        registration.ping(endpoint)
        return {"pinged": endpoint.slug, "uri": endpoint.uri}
