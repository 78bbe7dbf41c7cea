"""``manage.py gemini_webhooks SUBCOMMAND``: what operators and scripts do, by hand or by cron."""

from __future__ import annotations

import getpass
import json
import math
import signal
import sys
import threading
from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseTrouble
from django.utils.timezone import is_aware, make_aware

from gemini_webhooks import clock, processing, registration, replay, tasks
from gemini_webhooks import reconcile as reconciliation
from gemini_webhooks.deliveries import rows
from gemini_webhooks.doctor import Finding, Scope, Status, examine
from gemini_webhooks.events import CATALOGUE
from gemini_webhooks.exceptions import GeminiWebhooksError, KeyRefused
from gemini_webhooks.models import WebhookDelivery, WebhookEndpoint
from gemini_webhooks.reconcile import DISCOVER_SINCE
from gemini_webhooks.storable import is_storable

#: More of anything is a slip, and too much for dates and databases.
MAX_NUMBER = 1_000_000
NEVER_REGISTERED = (
    "was never registered at Google, or its creation broke off: delete it and create it again"
)


class Command(BaseCommand):
    """Parses arguments, calls one use-case, prints what it did."""

    _differs = False
    help = "Endpoints, deliveries and their processing. Exit code 0 means done, 1 means not."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the subcommands."""
        subcommands = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")

        def add(name: str, summary: str) -> ArgumentParser:
            sub = subcommands.add_parser(name, help=summary, description=summary)
            sub.add_argument("--json", action="store_true", help="print JSON for scripts")
            return sub

        add("endpoints", "list the registered endpoints")

        create = add("create", "register a webhook at Google and keep its signing secret")
        create.add_argument("slug", help="last part of the address")
        create.add_argument("--name", default="", help="for people; the slug by default")
        create.add_argument(
            "--event",
            action="append",
            dest="events",
            metavar="TYPE",
            help=f"event type, may be repeated; all by default: {', '.join(CATALOGUE)}",
        )
        create.add_argument("--api-key", default="default", metavar="NAME", help="one of API_KEYS")
        create.add_argument("--audience", action="append", dest="audiences", metavar="AUD")

        _add_update(add)
        _add_secret_commands(add)

        delete = add("delete", "remove an endpoint at Google and here; its deliveries stay")
        delete.add_argument("slug")
        delete.add_argument("--yes", action="store_true", help="do not ask")
        delete.add_argument(
            "--only-here",
            action="store_true",
            help="leave it at Google as it is, when the API key is gone",
        )

        _add_sync(add)

        add("reencrypt", "encrypt the stored secrets with the first of ENCRYPTION_KEYS")

        ping = add("ping", "have Google send a test event to an endpoint")
        ping.add_argument("slug")

        again = add("replay", "run the receivers of a stored delivery again")
        again.add_argument("webhook_id", metavar="WEBHOOK_ID")
        again.add_argument("--receiver", action="append", dest="receivers", metavar="NAME")
        again.add_argument("--actor", help="who asks for it; the login name by default")

        sweep = add("sweep", "hand on what was lost between database and broker")
        sweep.add_argument("--limit", type=_count, default=500, help="rows of each kind at most")

        drain = add("drain", "process what is due straight from the database, without a broker")
        how_long = drain.add_mutually_exclusive_group()
        how_long.add_argument("--limit", type=_count, help="end after so many steps")
        how_long.add_argument(
            "--forever", action="store_true", help="go on until SIGTERM or Ctrl-C: a whole worker"
        )

        reconcile = add("reconcile", "ask Google about jobs whose event is overdue")
        reconcile.add_argument(
            "--limit", type=_count, default=100, help="jobs at most (%(default)s)"
        )
        reconcile.add_argument(
            "--discover", action="store_true", help="look for batches that are not in the ledger"
        )
        reconcile.add_argument(
            "--hours",
            type=_amount,
            default=DISCOVER_SINCE.total_seconds() / 3600,
            help="with --discover: leave out what ended longer ago (%(default)g)",
        )
        reconcile.add_argument("--api-key", metavar="NAME", help="one of API_KEYS; all by default")

        doctor = add("doctor", "try the whole way of an event, and say what to do")
        doctor.add_argument("--endpoint", metavar="SLUG", help="look at this endpoint alone")
        doctor.add_argument("--no-ping", action="store_true", help="send no test events")
        doctor.add_argument(
            "--timeout",
            type=_amount,
            default=Scope.timeout,
            metavar="SECONDS",
            help="how long test events may take (%(default)s)",
        )
        doctor.add_argument(
            "--strict", action="store_true", help="exit with 1 for warnings as well"
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Let ``doctor`` start whatever is wrong: it reports the system checks itself."""
        if options["subcommand"] == "doctor":
            options["skip_checks"] = True
        return super().execute(*args, **options)

    def handle(self, *_: Any, subcommand: str, **options: Any) -> None:
        """Run one subcommand."""
        _require_text(options)
        try:
            report = getattr(self, f"_{subcommand}")(options)
        except GeminiWebhooksError as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=2, default=str))
        else:
            self.stdout.write("\n".join(_lines(report)))
        if self._differs:
            sys.exit(1)

    def _endpoints(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:  # noqa: ARG002  # same signature for all
        return [_endpoint(endpoint) for endpoint in rows(WebhookEndpoint).all()]

    def _create(self, options: Mapping[str, Any]) -> dict[str, Any]:
        endpoint = registration.create(
            options["slug"],
            name=options["name"],
            subscribed_events=options["events"] or tuple(CATALOGUE),
            api_key_name=options["api_key"],
            audiences=options["audiences"] or (),
        )
        return _endpoint(endpoint)

    def _update(self, options: Mapping[str, Any]) -> dict[str, Any]:
        endpoint = _find(options["slug"])
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
        return _endpoint(endpoint)

    def _rotate(self, options: Mapping[str, Any]) -> dict[str, Any]:
        endpoint = _find(options["slug"])
        since = _time(options["since"]) if options["since"] else None
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
            self._differs = True
            return (
                f"not listed ({type(error).__name__}), but the secret is rotated: look at “After "
                "a leak” on the endpoint's page in the admin"
            )

    def _revoke(self, options: Mapping[str, Any]) -> dict[str, Any]:
        endpoint = _find(options["slug"])
        secret = registration.named(endpoint, options["hint"])
        if not options["yes"]:
            answer = input(
                f"Refuse from now on what {secret.hint} signs for “{endpoint.slug}”? "
                f"Type {endpoint.slug} to go on: "
            )
            if answer != endpoint.slug:
                raise CommandError("Nothing was revoked.")
        registration.revoke(secret)
        left = [other.hint for other in registration.valid_secrets(endpoint).readable]
        return {
            "revoked": secret.hint,
            "valid": left or f"none; `manage.py gemini_webhooks rotate {endpoint.slug}` makes one",
        }

    def _delete(self, options: Mapping[str, Any]) -> dict[str, Any]:
        endpoint = _find(options["slug"])
        if not options["yes"]:
            where = "here only" if options["only_here"] else "at Google and here"
            answer = input(
                f"Remove “{endpoint.slug}” ({endpoint.uri}) {where}? "
                f"Type {endpoint.slug} to go on: "
            )
            if answer != endpoint.slug:
                raise CommandError("Nothing was removed.")
        try:
            registration.delete(endpoint, only_here=options["only_here"])
        except KeyRefused as error:
            way = f"`manage.py gemini_webhooks delete {endpoint.slug} --only-here` does the latter."
            raise CommandError(f"{error} {way}") from None
        return {"deleted": endpoint.slug}

    def _sync(self, options: Mapping[str, Any]) -> dict[str, Any]:
        if not options["all"]:
            return self._compared(registration.sync(options["api_key"]), options)
        projects: dict[str, dict[str, Any]] = {}
        for compared in registration.sync_all():
            if compared.report is None:
                projects[compared.api_key_name] = {"error": compared.error}
                self._differs = True
            else:
                projects[compared.api_key_name] = self._compared(compared.report, options)
        if options["json"]:
            return projects
        return {
            f"{name} {word}": found
            for name, report in projects.items()
            for word, found in report.items()
        }

    def _compared(
        self, report: registration.SyncReport, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        self._differs |= report.differs
        return {
            "compared": report.compared,
            "adopted": report.adopted,
            "missing": report.missing,
            "unregistered": [
                slug if options["json"] else f"{slug} {NEVER_REGISTERED}"
                for slug in report.unregistered
            ],
            "switched_off": [
                asdict(why) if options["json"] else f"{why.slug} {why.in_words}"
                for why in report.failures
            ],
            "drift": [
                f"{drift.slug}: {drift.field} is {drift.here} here, {drift.there} at Google"
                for drift in report.drift
            ],
        }

    def _reencrypt(self, options: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002  # same signature for all
        report = registration.reencrypt()
        if report.unreadable:
            self._differs = True
            self.stderr.write(
                "Restore the key in ENCRYPTION_KEYS and run this again, or rotate; do not remove "
                "old keys yet."
            )
        return asdict(report)

    def _ping(self, options: Mapping[str, Any]) -> dict[str, Any]:
        endpoint = _find(options["slug"])
        registration.ping(endpoint)
        return {"pinged": endpoint.slug, "uri": endpoint.uri}

    def _replay(self, options: Mapping[str, Any]) -> dict[str, Any]:
        delivery = rows(WebhookDelivery).filter(webhook_id=options["webhook_id"]).first()
        if delivery is None:
            raise CommandError(f"There is no delivery with the webhook id {options['webhook_id']}.")
        runs = replay.replay(
            delivery, receivers=options["receivers"], actor=options["actor"] or getpass.getuser()
        )
        return {"replayed": delivery.webhook_id, "runs": len(runs)}

    def _reconcile(self, options: Mapping[str, Any]) -> dict[str, Any]:
        report = reconciliation.reconcile(
            options["limit"],
            discover=options["discover"],
            api_key_name=options["api_key"],
            since=timedelta(hours=options["hours"]),
        )
        self._differs = bool(report.failed)
        return asdict(report)

    def _sweep(self, options: Mapping[str, Any]) -> dict[str, int]:
        counts: dict[str, int] = tasks.sweep(options["limit"], everything=True)
        return counts

    def _drain(self, options: Mapping[str, Any]) -> dict[str, int]:
        if options["forever"]:
            drained = self._drain_forever()
        else:
            drained = processing.drain(options["limit"])
        return {
            "deliveries": drained.deliveries,
            "runs": drained.runs,
            "results": drained.results,
        }

    def _drain_forever(self) -> processing.Drained:
        stop = threading.Event()

        def end(number: int, frame: object) -> None:  # noqa: ARG001  # as signal calls it
            stop.set()
            signal.signal(number, signal.SIG_DFL)  # a second one does not wait

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        self.stderr.write("Processing what comes in; SIGTERM or Ctrl-C ends it after this run.")
        return processing.drain_forever(stop)

    def _doctor(self, options: Mapping[str, Any]) -> Any:
        scope = Scope(
            endpoint=options["endpoint"], ping=not options["no_ping"], timeout=options["timeout"]
        )
        found: list[Finding] = []
        for finding in examine(scope):
            found.append(finding)
            if not options["json"]:
                self._tell(finding)
        counted = Counter(finding.status for finding in found)
        self._differs = bool(counted["failure"] or (options["strict"] and counted["warning"]))
        if options["json"]:
            return [asdict(finding) for finding in found]
        return {status: counted[status] for status in get_args(Status)}

    def _tell(self, finding: Finding) -> None:
        styles = {"ok": "SUCCESS", "warning": "WARNING", "failure": "ERROR", "skipped": "NOTICE"}
        status = getattr(self.style, styles[finding.status])(f"{finding.status:<8}")
        self.stdout.write(f"{status} {finding.name}: {finding.message}")
        if finding.hint:
            self.stdout.write(f"{'':<8}   {finding.hint}")
        self.stdout.flush()


def _add_secret_commands(add: Callable[[str, str], ArgumentParser]) -> None:
    rotate = add("rotate", "make a new signing secret; the old one holds for 24 hours more")
    rotate.add_argument("slug")
    rotate.add_argument(
        "--now", action="store_true", help="after a leak: the old one stops to hold at once"
    )
    rotate.add_argument(
        "--since",
        metavar="TIME",
        help="with --now: list what the old secret verified since this ISO 8601 time",
    )

    revoke = add("revoke", "end one signing secret here, at once; Google is not told")
    revoke.add_argument("slug")
    revoke.add_argument("hint", help="as it is shown, or how it ends, such as 3frh")
    revoke.add_argument("--yes", action="store_true", help="do not ask")


def _add_update(add: Callable[[str, str], ArgumentParser]) -> None:
    update = add(
        "update",
        "change an endpoint here and at Google; not its API key, as a webhook belongs to the "
        "project that registered it",
    )
    update.add_argument("slug")
    update.add_argument("--name")
    update.add_argument("--uri", help="a new address")
    update.add_argument("--event", action="append", dest="events", metavar="TYPE")
    audiences = update.add_mutually_exclusive_group()
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
    state = update.add_mutually_exclusive_group()
    state.add_argument("--enable", action="store_true", help="take up deliveries again")
    state.add_argument("--disable", action="store_true", help="stop deliveries")


def _add_sync(add: Callable[[str, str], ArgumentParser]) -> None:
    sync = add("sync", "compare the endpoints with Google; exit code 1 if they differ")
    which = sync.add_mutually_exclusive_group()
    which.add_argument("--api-key", default="default", metavar="NAME", help="one of API_KEYS")
    which.add_argument("--all", action="store_true", help="every one of API_KEYS")


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= MAX_NUMBER:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1 to {MAX_NUMBER}")
    return number


def _amount(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= MAX_NUMBER:  # nan is neither
        raise ArgumentTypeError(f"{text!r} is no number from 0 to {MAX_NUMBER}")
    return number


def _require_text(options: Mapping[str, Any]) -> None:
    """Refuse bytes that are not UTF-8, which reach us as halves of surrogate pairs."""
    for value in options.values():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not is_storable(text):
                raise CommandError(f"{text!r} is not valid text.")


def _find(slug: str) -> WebhookEndpoint:
    endpoint = rows(WebhookEndpoint).filter(slug=slug).first()
    if endpoint is None:
        raise CommandError(f"There is no endpoint “{slug}”.")
    return endpoint


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text} is no ISO 8601 time, such as 2026-11-20T14:00Z.") from None
    try:
        moment = moment if is_aware(moment) else make_aware(moment)
        # Whatever the time zone of the database, it stays within what a time can be.
        for margin in (-timedelta(days=2), timedelta(days=2)):
            clock.for_database(moment.astimezone(UTC) + margin)
    except (ValueError, OverflowError):
        raise CommandError(
            f"{text} is too far away; give a time such as 2026-11-20T14:00Z."
        ) from None
    return moment


def _endpoint(endpoint: WebhookEndpoint) -> dict[str, Any]:
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


def _lines(report: Any) -> list[str]:
    if isinstance(report, list):
        return ["  ".join(str(row[key]) for key in ("slug", "state", "uri")) for row in report] or [
            "No endpoints yet; `manage.py gemini_webhooks create SLUG` registers one."
        ]
    return [
        f"{key}: {', '.join(value) if isinstance(value, list | tuple) else value}"
        for key, value in report.items()
    ]
