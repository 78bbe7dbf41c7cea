"""Sending made-up events: to this site, or to any URL."""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import CommandError

from gemini_webhooks import events, seals, sending
from gemini_webhooks.conf import SETTING
from gemini_webhooks.exceptions import ConfigurationError
from gemini_webhooks.management.subcommands import sending_arguments
from gemini_webhooks.management.subcommands.base import (
    Options,
    Subcommand,
    confirm,
    endpoint_named,
    printable,
)

START_SITE = (
    "is `manage.py runserver` running? If it listens elsewhere, --url says where, or beside an "
    "emulator GEMINI_WEBHOOKS_EMULATOR_SITE."
)
START_WORKER = (
    "start a worker (`celery -A … worker`), or run `manage.py gemini_webhooks drain` beside this."
)
#: Tokens are long, and nobody reads them.
SHOWN_CHARACTERS = 100


class Send(Subcommand):
    """``send``."""

    name = "send"
    summary = "sign an event as Google would and post it; by default to this site's own address"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """What is sent, how it is signed, where to, and how often."""
        sending_arguments.add(parser)

    def run(self, options: Options) -> dict[str, Any]:
        """Post it; exit code 1 unless it was accepted, or refused if it was tampered with."""
        if options["list"] or (options["event_type"] is None and options["body"] is None):
            return {"types": {name: sending.fields_of(name) for name in events.CATALOGUE}}
        slug = endpoint_named(options["endpoint"]).slug if options["endpoint"] else ""
        if not options["static"] and not options["secret_env"]:
            is_dynamic = options["dynamic"] or sending.only_dynamic(slug)
            options = {**options, "dynamic": is_dynamic}
        sending_arguments.check(options)
        url = options["url"] or sending.address_of(slug)
        sending.usable(url)
        body = self._body(options, slug)
        webhook_id = options["id"] or sending.new_id()
        request = self._request(options, slug, url, webhook_id, body)
        self._show(request, options)
        if options["dry_run"]:
            return {"dry_run": True, "request": request.as_json(), "curl": request.curl}
        if not options["url"] and not options["yes"] and sending.is_public(url):
            host = urlsplit(url).hostname or ""
            question = f"Send a made-up event to {url}? Its receivers act on it."
            confirm(question, host, "Nothing was sent.")
        answers = [self._post(request, options, slug)]
        for _ in range(options["duplicate"] or 0):
            request = self._request(options, slug, url, webhook_id, body)
            answers.append(self._post(request, options, slug))
        return self._report(options, request, answers)

    def lines(self, report: Any) -> list[str]:
        """What was not said while it happened."""
        if "types" in report:
            return [f"{name}  {', '.join(fields)}" for name, fields in report["types"].items()]
        if "dry_run" in report:
            return [report["curl"]]
        return [report["summary"]]

    def _body(self, options: Options, slug: str) -> bytes:
        if options["body"] is not None:
            return _read(options["body"])
        event_type = options["event_type"]
        self._doubt(event_type)
        metadata: dict[str, Any] = {}
        for text in options["metadata"] or ():
            sending.assign(metadata, text, example="tenant=acme")
        if options["dynamic"] and not options["no_seal"]:
            try:
                metadata = seals.seal_metadata(metadata, endpoint=slug)
            except (TypeError, ValueError) as error:
                raise CommandError(f"{error}.") from None
        envelope = sending.sample(event_type, metadata)
        for text in options["changes"] or ():
            sending.assign(envelope, text)
        return sending.body_of(envelope)

    def _request(
        self, options: Options, slug: str, url: str, webhook_id: str, body: bytes
    ) -> sending.Request:
        """Signed anew for each attempt, as Google does."""
        timestamp = int(time.time()) - options["age"]
        if options["dynamic"]:
            headers = sending.sign_dynamic(
                webhook_id=webhook_id,
                timestamp=timestamp,
                body=body,
                audience=options["audience"] or sending.audience_of(slug, url),
                token=options["token"],
            )
        else:
            key = sending.signing_key(slug, options["secret_env"])
            headers = sending.sign_static(
                key, webhook_id=webhook_id, timestamp=timestamp, body=body
            )
        return sending.Request(
            url=url,
            headers={
                "content-type": "application/json",
                "user-agent": "gemini-webhooks",
                **headers,
            },
            body=sending.tampered(body) if options["tamper"] else body,
        )

    def _show(self, request: sending.Request, options: Options) -> None:
        self._say(options, f"POST {request.url}")
        for name, value in request.headers.items():
            short = value if len(value) <= SHOWN_CHARACTERS else f"{value[:SHOWN_CHARACTERS]}…"
            self._say(options, f"{name}: {short}")
        self._say(options, f"\n{request.pretty_body}\n\n")

    def _post(self, request: sending.Request, options: Options, slug: str) -> sending.Answer:
        begun = datetime.now(UTC)
        answer = sending.post(request.url, request.headers, request.body, hint=START_SITE)
        answer = replace(answer, diagnosis=sending.diagnosis_of(answer, request, since=begun))
        took = f"({answer.seconds * 1000:.0f} ms)"
        self._say(options, f"{answer.status} {_in_words(answer)} {took}")
        if answer.diagnosis:
            self._say(options, f"why: {answer.diagnosis}")
        if answer.status == 404 and answer.is_page:
            with suppress(ConfigurationError):
                self._note(f"The webhooks of this site are at {sending.address_of(slug)}.")
        if 300 <= answer.status < 400:
            self._note(f"A redirect loses the POST; it leads to {answer.location}.")
        if _error_of(answer) == "dynamic_not_enabled":
            self._note(f"Put {request.url!r} into {SETTING}['AUDIENCES'], or of the endpoint.")
        return answer

    def _report(
        self, options: Options, request: sending.Request, answers: Sequence[sending.Answer]
    ) -> dict[str, Any]:
        if options["tamper"]:
            done = all(answer.status == 401 for answer in answers)
            summary = "refused, as it should be" if done else "NOT refused with 401"
        else:
            done = all(answer.accepted for answer in answers)
            summary = "accepted" if done else "not accepted"
        report: dict[str, Any] = {
            "request": request.as_json(),
            "answers": [asdict(answer) for answer in answers],
        }
        if options["follow"] and done and not options["tamper"]:
            followed = self._follow(request.headers["webhook-id"], options)
            report["delivery"] = asdict(followed)
            done, summary = followed.succeeded, _how_it_went(followed)
        self.differs = not done
        return {**report, "ok": done, "summary": summary}

    def _follow(self, webhook_id: str, options: Options) -> sending.Followed:
        try:
            followed = sending.follow(
                webhook_id,
                timeout=options["timeout"],
                tell=lambda line: self._say(options, line),
            )
        except KeyboardInterrupt:
            self.tell("No longer watched; it goes on.")
            sys.exit(130)
        if not followed.state:
            self._note(
                "There is no delivery with this id in this database: does the URL belong to "
                "another site, or to a process with other settings?"
            )
        elif not followed.ended:
            self._note(f"Not ended after {options['timeout']:g} s{_what_now(followed)}")
        elif not followed.runs:
            self._doubt(followed.event_type)
        return followed

    def _doubt(self, event_type: str) -> None:
        if meant := sending.likely_meant(event_type):
            self._note(f"{event_type} is none of the documented types: did you mean {meant}?")

    def _say(self, options: Options, line: str) -> None:
        """At once, so that whoever waits sees how far it is; nothing where JSON is wanted."""
        if not options["json"]:
            self.stdout.write(printable(line))
            self.stdout.flush()

    def _note(self, line: str) -> None:
        self.stderr.write(printable(line))


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}.") from None


def _error_of(answer: sending.Answer) -> object:
    return answer.body.get("error") if isinstance(answer.body, dict) else None


def _in_words(answer: sending.Answer) -> str:
    if answer.is_page:
        return "(an HTML page)"
    words = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
    return words[:2000]


def _what_now(followed: sending.Followed) -> str:
    if followed.untouched:
        return f". If nothing moves, {START_WORKER}"
    return f": the next attempt is {followed.next_attempt}." * bool(followed.next_attempt) or "."


def _how_it_went(followed: sending.Followed) -> str:
    if not followed.state:
        return "accepted, but not in this database"
    if not followed.ended:
        return f"accepted, still {followed.state}"
    if followed.state == "ignored":
        return f"ignored: no receiver is connected to {followed.event_type}"
    states = [run["state"] for run in followed.runs]
    return f"{followed.state}: {states.count('succeeded')} of {len(states)} receivers succeeded"
