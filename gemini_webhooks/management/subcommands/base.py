"""What the subcommands have in common: their arguments, what they print, how they end."""

from __future__ import annotations

import math
import re
import sys
from abc import ABC, abstractmethod
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from django.core.management.base import CommandError, OutputWrapper
from django.core.management.color import Style
from django.utils.timezone import is_aware, make_aware

from gemini_webhooks import clock
from gemini_webhooks.deliveries import rows
from gemini_webhooks.models import WebhookEndpoint
from gemini_webhooks.storable import is_storable

#: More of anything is a slip, and too much for dates and databases.
MAX_NUMBER = 1_000_000
#: Reasons and names are others' words: a terminal must not take them for orders.
#: Halves of surrogate pairs are nothing that it could be given at all.
NOT_PRINTED = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

Options = Mapping[str, Any]


class Subcommand(ABC):
    """Parses arguments, calls one use-case, reports what it did.

    Attributes:
        name, summary: as ``--help`` shows them.
        skips_checks: start although the system checks find errors.
        differs: set it, and the exit code is 1.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    skips_checks: ClassVar[bool] = False

    def __init__(self, stdout: OutputWrapper, stderr: OutputWrapper, style: Style) -> None:
        self.stdout, self.stderr, self.style = stdout, stderr, style
        self.differs = False

    @classmethod  # noqa: B027  # some have none
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Declare the arguments."""

    @abstractmethod
    def run(self, options: Options) -> Any:
        """Do it, and return what is to be printed: JSON, or one line for each key.

        Raises:
            GeminiWebhooksError: shown without a traceback, exit code 1.
            CommandError: likewise.
        """

    def lines(self, report: Any) -> list[str]:
        """What a person reads, from what :meth:`run` returned."""
        return [
            f"{key}: {', '.join(value) if isinstance(value, list | tuple) else value}"
            for key, value in report.items()
        ]

    def tell(self, line: str) -> None:
        """Say how far a long work is: at once, on standard error, and not in the red of errors."""
        self.stderr.write(printable(line), style_func=str)
        self.stderr.flush()


def printable(line: str) -> str:
    """``line`` with everything escaped that a terminal might take for an order."""
    return NOT_PRINTED.sub(lambda found: found[0].encode("unicode_escape").decode(), line)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line for each row, its cells below one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def count(text: str) -> int:
    """Type of an argument: how many of something."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= MAX_NUMBER:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1 to {MAX_NUMBER}")
    return number


def amount(text: str) -> float:
    """Type of an argument: how much of something, zero included."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= MAX_NUMBER:  # nan is neither
        raise ArgumentTypeError(f"{text!r} is no number from 0 to {MAX_NUMBER}")
    return number


def moment(text: str) -> datetime:
    """An aware time from what somebody typed.

    Raises:
        CommandError: it is none, or so far away that no database takes it.
    """
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text} is no ISO 8601 time, such as 2026-11-20T14:00Z.") from None
    try:
        given = given if is_aware(given) else make_aware(given)
        # Whatever the time zone of the database, it stays within what a time can be.
        for margin in (-timedelta(days=2), timedelta(days=2)):
            clock.for_database(given.astimezone(UTC) + margin)
    except (ValueError, OverflowError):
        raise CommandError(
            f"{text} is too far away; give a time such as 2026-11-20T14:00Z."
        ) from None
    return given


def require_text(options: Options) -> None:
    """Refuse bytes that are not UTF-8, which reach us as halves of surrogate pairs.

    Raises:
        CommandError: an argument holds such.
    """
    for value in options.values():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not is_storable(text):
                raise CommandError(f"{text!r} is not valid text.")


def endpoint_named(slug: str) -> WebhookEndpoint:
    """The endpoint with a slug.

    Raises:
        CommandError: there is none.
    """
    endpoint = rows(WebhookEndpoint).filter(slug=slug).first()
    if endpoint is None:
        raise CommandError(f"There is no endpoint “{slug}”.")
    return endpoint


def confirm(question: str, answer: str, refusal: str) -> None:
    """Have somebody type a word before damage is done.

    Raises:
        CommandError: something else was typed.
    """
    try:
        with redirect_stdout(sys.stderr):  # where it is seen when the output goes to a file
            typed = input(f"{question} Type {answer} to go on: ")
    except EOFError:  # nobody is there
        raise CommandError(f"{refusal} Without a terminal, --yes does it.") from None
    if typed != answer:
        raise CommandError(refusal)
