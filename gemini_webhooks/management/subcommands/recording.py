"""Deliveries as files: export one, load it elsewhere."""

from __future__ import annotations

import json
import os
import re
import sys
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from gemini_webhooks import recordings
from gemini_webhooks.deliveries import rows
from gemini_webhooks.management.subcommands.base import Options, Subcommand, printable
from gemini_webhooks.models import WebhookDelivery
from gemini_webhooks.recordings import InvalidRecording, Loaded, Recording
from gemini_webhooks.recordings.files import MAX_BYTES

STANDARD = "-"


class Export(Subcommand):
    """``export``."""

    name = "export"
    summary = "write a delivery to a file, to run its receivers on another machine"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Which one, where to, and what of it."""
        parser.add_argument("webhook_id", metavar="WEBHOOK_ID")
        parser.add_argument(
            "--output", metavar="FILE", help="WEBHOOK_ID.json by default; - is standard output"
        )
        parser.add_argument("--force", action="store_true", help="replace the file if it is there")
        parser.add_argument(
            "--redact",
            action="store_true",
            help="apply REDACT, and blank all values of the metadata and of the rows of results",
        )
        parser.add_argument(
            "--keep",
            action="append",
            metavar="KEY",
            help="with --redact: a key of the metadata whose value stays",
        )
        parser.add_argument("--results", action="store_true", help="with its result files, whole")

    def run(self, options: Options) -> dict[str, Any]:
        """Write the file."""
        if options["keep"] and not options["redact"]:
            raise CommandError("--keep goes with --redact: without it, all values stay.")
        delivery = delivery_named(options["webhook_id"])
        try:
            recording = recordings.export(
                delivery,
                redact=options["redact"],
                keep=options["keep"] or (),
                with_results=options["results"],
            )
        except InvalidRecording as error:
            raise CommandError(f"{delivery.webhook_id} cannot be exported: {error}.") from None
        text = recordings.write(recording)
        if options["output"] == STANDARD:
            return {"recording": json.loads(text)}
        usual = re.sub(r"[^\w.-]", "_", delivery.webhook_id)[:200] + ".json"
        path = Path(options["output"] or usual)
        _write(path, text, force=options["force"])
        return {"exported": delivery.webhook_id, "file": str(path), "redacted": recording.redacted}

    def lines(self, report: Any) -> list[str]:
        """The recording itself, if it is to be printed."""
        if "recording" in report:
            return json.dumps(report["recording"], indent=2).splitlines()
        return super().lines(report)


class Load(Subcommand):
    """``load``."""

    name = "load"
    summary = "store exported deliveries here; nothing runs unless --process says so"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Which files, and what then."""
        parser.add_argument("file", metavar="FILE", nargs="+", help="- is standard input")
        parser.add_argument(
            "--again", action="store_true", help="under a webhook id of its own, whatever is there"
        )
        parser.add_argument("--process", action="store_true", help="have workers run the receivers")
        parser.add_argument(
            "--yes", action="store_true", help="although DEBUG is off, as it is in production"
        )

    def run(self, options: Options) -> dict[str, Any]:
        """Read all of them, then store them."""
        if not settings.DEBUG and not options["yes"]:
            raise CommandError(
                "DEBUG is off here, as in production, and nobody vouches for what a recording "
                "says. Nothing was loaded; --yes does it."
            )
        read = [recording_in(name) for name in options["file"]]
        loaded = [
            recordings.load(one, again=options["again"], hand_off=options["process"])
            for one in read
        ]
        for one in loaded:
            self._tell(one)
        return {
            "loaded": [one.delivery.webhook_id for one in loaded if one.created],
            "already_there": [one.delivery.webhook_id for one in loaded if not one.created],
            "started": [one.delivery.webhook_id for one in loaded if one.started],
        }

    def lines(self, report: Any) -> list[str]:
        """What is where, and what comes next."""
        lines = [f"loaded: {webhook_id}" for webhook_id in report["loaded"]]
        lines += [
            f"already there: {webhook_id} (--again loads it under another id)"
            for webhook_id in report["already_there"]
        ]
        lines += [f"left to workers: {webhook_id}" for webhook_id in report["started"]]
        if report["loaded"] and not report["started"]:
            lines.append(f"next: manage.py gemini_webhooks run {report['loaded'][0]}")
        return lines

    def _tell(self, loaded: Loaded) -> None:
        if loaded.missing_endpoint:
            self.stderr.write(
                f"There is no endpoint “{printable(loaded.missing_endpoint[:100])}” here: "
                f"{loaded.delivery.webhook_id} is at the root endpoint."
            )


def delivery_named(webhook_id: str) -> WebhookDelivery:
    """The delivery with a webhook id.

    Raises:
        CommandError: there is none.
    """
    found = rows(WebhookDelivery).select_related("endpoint").filter(webhook_id=webhook_id).first()
    if found is None:
        raise CommandError(f"There is no delivery with the webhook id {webhook_id}.")
    return found


def recording_in(name: str) -> Recording:
    """What a file holds; ``-`` is standard input.

    Raises:
        CommandError: it cannot be read, or is no recording.
    """
    try:
        if name == STANDARD:
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        return recordings.read(content)
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}.") from None
    except InvalidRecording as error:
        raise CommandError(f"{name} cannot be loaded: {error}.") from None


def _write(path: Path, text: str, *, force: bool) -> None:
    """For its owner's eyes only, from the first byte on."""
    try:
        if force:
            with suppress(FileNotFoundError):
                path.unlink()
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except FileExistsError:
        raise CommandError(f"{path} is there already: --force replaces it.") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from None
