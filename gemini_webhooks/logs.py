"""Which delivery a log line is about: attributes on the record, empty where it is about none.

Lines of this app always have them. Put :class:`DeliveryContext` on a handler, and every other
line has them too, such as those that a receiver logs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is being worked on. All of it is text, as a log store wants one type per field.

    Attributes:
        webhook_id: of the delivery; while a request is not verified, what it says of itself.
        delivery_id: primary key of the delivery.
        receiver: name of the receiver that runs.
        attempt: number of the attempt, counted from 1 again by a replay.
    """

    webhook_id: str = ""
    delivery_id: str = ""
    receiver: str = ""
    attempt: str = ""


NOTHING = Subject()
FIELDS = tuple(asdict(NOTHING))
_subject: ContextVar[Subject] = ContextVar("gemini_webhooks_subject", default=NOTHING)


class DeliveryContext(logging.Filter):
    """Adds the fields of :class:`Subject` to each record; lets all of them pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what the record does not have yet, so that a line's own ``extra`` holds."""
        subject = _subject.get()
        for name in FIELDS:
            record.__dict__.setdefault(name, getattr(subject, name))
        return True


_context = DeliveryContext()


def get_logger(name: str) -> logging.Logger:
    """The logger of a module of this app: its records have the fields on any handler."""
    logger = logging.getLogger(name)
    logger.addFilter(_context)
    return logger


def current() -> Subject:
    """What is being worked on here and now."""
    return _subject.get()


@contextmanager
def about(subject: Subject) -> Iterator[None]:
    """Everything inside is about ``subject``."""
    token = _subject.set(subject)
    try:
        yield
    finally:
        _subject.reset(token)


def learned(**fields: str) -> None:
    """More is known of what is being worked on; it holds to the end of :func:`about`."""
    _subject.set(replace(_subject.get(), **fields))
