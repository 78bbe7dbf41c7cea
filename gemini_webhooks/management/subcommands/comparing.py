"""What is here against what is at Google: sync, reconcile, doctor."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from typing import Any, get_args

from gemini_webhooks import reconcile as reconciliation
from gemini_webhooks import registration
from gemini_webhooks.doctor import Finding, Scope, Status, examine
from gemini_webhooks.management.subcommands.base import Options, Subcommand, amount, count
from gemini_webhooks.reconcile import DISCOVER_SINCE

NEVER_REGISTERED = (
    "was never registered at Google, or its creation broke off: delete it and create it again"
)


class Sync(Subcommand):
    """``sync``."""

    name = "sync"
    summary = "compare the endpoints with Google; exit code 1 if they differ"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Which projects."""
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--api-key", default="default", metavar="NAME", help="one of API_KEYS")
        which.add_argument("--all", action="store_true", help="every one of API_KEYS")

    def run(self, options: Options) -> dict[str, Any]:
        """Compare one project, or all."""
        if not options["all"]:
            return self._compared(registration.sync(options["api_key"]), options)
        projects: dict[str, dict[str, Any]] = {}
        for compared in registration.sync_all():
            if compared.report is None:
                projects[compared.api_key_name] = {"error": compared.error}
                self.differs = True
            else:
                projects[compared.api_key_name] = self._compared(compared.report, options)
        if options["json"]:
            return projects
        return {
            f"{name} {word}": found
            for name, report in projects.items()
            for word, found in report.items()
        }

    def _compared(self, report: registration.SyncReport, options: Options) -> dict[str, Any]:
        self.differs |= report.differs
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


class Reconcile(Subcommand):
    """``reconcile``."""

    name = "reconcile"
    summary = "ask Google about jobs whose event is overdue"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """How many jobs, and whether to look for unknown ones."""
        parser.add_argument("--limit", type=count, default=100, help="jobs at most (%(default)s)")
        parser.add_argument(
            "--discover", action="store_true", help="look for batches that are not in the ledger"
        )
        parser.add_argument(
            "--hours",
            type=amount,
            default=DISCOVER_SINCE.total_seconds() / 3600,
            help="with --discover: leave out what ended longer ago (%(default)g)",
        )
        parser.add_argument("--api-key", metavar="NAME", help="one of API_KEYS; all by default")

    def run(self, options: Options) -> dict[str, Any]:
        """One pass; exit code 1 if Google could not be asked about some."""
        report = reconciliation.reconcile(
            options["limit"],
            discover=options["discover"],
            api_key_name=options["api_key"],
            since=timedelta(hours=options["hours"]),
        )
        self.differs = bool(report.failed)
        return asdict(report)


class Doctor(Subcommand):
    """``doctor``."""

    name = "doctor"
    summary = "try the whole way of an event, and say what to do"
    skips_checks = True  # it reports them itself

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """What to look at, and how strictly."""
        parser.add_argument("--endpoint", metavar="SLUG", help="look at this endpoint alone")
        parser.add_argument("--no-ping", action="store_true", help="send no test events")
        parser.add_argument(
            "--timeout",
            type=amount,
            default=Scope.timeout,
            metavar="SECONDS",
            help="how long test events may take (%(default)s)",
        )
        parser.add_argument(
            "--strict", action="store_true", help="exit with 1 for warnings as well"
        )

    def run(self, options: Options) -> Any:
        """Examine, telling each finding as it comes."""
        scope = Scope(
            endpoint=options["endpoint"], ping=not options["no_ping"], timeout=options["timeout"]
        )
        found: list[Finding] = []
        for finding in examine(scope):
            found.append(finding)
            if not options["json"]:
                self._tell(finding)
        counted = Counter(finding.status for finding in found)
        self.differs = bool(counted["failure"] or (options["strict"] and counted["warning"]))
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
