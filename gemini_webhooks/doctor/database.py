"""The tables and what is in them: migrations, writing, signing secrets."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseTrouble
from django.db import connections, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils.connection import ConnectionDoesNotExist

from gemini_webhooks import endpoints
from gemini_webhooks.deliveries import alias, rows
from gemini_webhooks.doctor.findings import Finding, failure, ok, skipped, warning
from gemini_webhooks.doctor.site import NOTHING_OPEN, Site
from gemini_webhooks.exceptions import UnknownEndpoint
from gemini_webhooks.models import RejectedRequest, WebhookEndpoint

APP = "gemini_webhooks"
WAL = (
    'In DATABASES, set "OPTIONS": {"transaction_mode": "IMMEDIATE", '
    '"init_command": "PRAGMA journal_mode=WAL"}.'
)


def database(site: Site) -> Iterator[Finding]:
    """The tables are there and can be written to."""
    del site
    using = "?"
    try:
        using = alias()
        missing = _unapplied(using)
        if missing:
            to = "" if using == "default" else f" --database {using}"
            yield failure(
                "database",
                f"Not migrated: {', '.join(missing)}.",
                f"Run `manage.py migrate{to}`.",
            )
            return
        _write(using)
    except (DatabaseTrouble, ConnectionDoesNotExist, ImproperlyConfigured) as error:
        yield failure(
            "database",
            f"The database “{using}” cannot be used: {type(error).__name__}.",
            "Check that it runs, DATABASES, and that its user may read and write our tables: until "
            "then every event is answered 503.",
        )
        return
    yield ok("database", f"The tables are migrated and can be written to ({using}).")
    yield from _sqlite(using)


def disabled(site: Site) -> Iterator[Finding]:
    """Which endpoints the other checks pass over."""
    for endpoint in site.endpoints:
        if endpoint not in site.open_endpoints:
            yield warning(
                f"endpoint “{endpoint.slug}”",
                "It is disabled here: every event is refused.",
                f"`manage.py gemini_webhooks update {endpoint.slug} --enable`, or delete it.",
            )


def secrets(site: Site) -> Iterator[Finding]:
    """Each address has a signing secret that can be read, or audiences."""
    places: list[tuple[str, WebhookEndpoint | None]] = [("root", None)] if site.uses_root else []
    places += [(f"endpoint “{one.slug}”", one) for one in site.open_endpoints]
    if not places:
        yield skipped("secrets", NOTHING_OPEN)
    for label, endpoint in places:
        yield _secrets_of(f"secrets, {label}", endpoint)


def _unapplied(using: str) -> list[str]:
    executor = MigrationExecutor(connections[using])
    targets = executor.loader.graph.leaf_nodes(APP)
    return [
        migration.name
        for migration, _ in executor.migration_plan(targets)
        if migration.app_label == APP
    ]


def _write(using: str) -> None:
    with transaction.atomic(using=using):
        rows(RejectedRequest).create(reason="doctor", status=0, diagnosis="rolled back")
        transaction.set_rollback(True, using=using)


def _sqlite(using: str) -> Iterator[Finding]:
    connection = connections[using]
    if connection.vendor != "sqlite":
        return
    options = connection.settings_dict.get("OPTIONS", {})
    if str(options.get("transaction_mode", "")).upper() != "IMMEDIATE":
        yield warning(
            "database",
            "SQLite starts transactions without a lock: with several processes receivers fail "
            "with “database is locked”, and are tried again.",
            WAL,
        )


def _renew(endpoint: WebhookEndpoint | None) -> str:
    if endpoint is None:
        return "rotate the secret at Google."
    if endpoint.remote_id:
        return f"`manage.py gemini_webhooks rotate {endpoint.slug}`."
    # Google does not know it, so there is nothing that could be rotated.
    return (
        "delete it and create it again, or `manage.py gemini_webhooks sync`, which takes over a "
        "webhook at its address."
    )


def _secrets_of(name: str, endpoint: WebhookEndpoint | None) -> Finding:
    slug = endpoint.slug if endpoint else None
    try:
        accepted = endpoints.accepted_at(slug)
    except UnknownEndpoint as error:
        return failure(name, f"Events are refused: {error.diagnosis}.", "Give it a proper slug.")
    renew = _renew(endpoint)
    if accepted.unusable:
        return failure(
            name,
            f"{accepted.unusable} signing secret(s) cannot be read: the encryption key is not "
            "there, it is no secret, or SECRET_BACKEND failed.",
            "Restore the key in ENCRYPTION_KEYS (or the old SECRET_KEY in SECRET_KEY_FALLBACKS), "
            f"or get a new secret: {renew}",
        )
    if accepted.keys:
        return ok(name, f"{len(accepted.keys)} signing secret(s) can be read.")
    if accepted.token_rules.audiences:
        return ok(name, "No signing secret; dynamic webhooks are accepted.")
    if slug:
        return failure(
            name, "It has no valid signing secret: every event is refused.", f"Get one: {renew}"
        )
    return warning(
        name,
        "There is no endpoint, and the root address accepts nothing: neither SIGNING_SECRETS nor "
        "AUDIENCES is set.",
        "Register one: `manage.py gemini_webhooks create SLUG`, or set SIGNING_SECRETS.",
    )
