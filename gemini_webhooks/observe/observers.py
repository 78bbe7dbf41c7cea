"""Who is told what happens. Nobody, unless a library for it is installed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TypeVar

from gemini_webhooks import logs
from gemini_webhooks.observe.activities import Activity

logger = logs.get_logger(__name__)

AnyActivity = TypeVar("AnyActivity", bound=Activity)

#: By library: the module here that needs it, with a class ``Observing``.
LIBRARIES = {"prometheus_client": "metrics", "opentelemetry": "tracing"}


class Observer:
    """Is told of everything and does nothing; override what is of interest.

    Whatever a method raises is logged, and stops nothing.
    """

    def begin(self, activity: Activity) -> Any:
        """It begins. What is returned here comes back in :meth:`end`."""

    def end(self, activity: Activity, begun: Any) -> None:
        """It ended, by itself or by an error."""

    def is_traced(self) -> bool:
        """Whether what goes on here is part of a trace, which messages have to carry on."""
        return False

    def received(self, event_type: str | None, signing: str, outcome: str) -> None:
        """A verified event was stored, or was before; without a type it cannot be read."""

    def refused(self, code: str) -> None:
        """A request was refused or put off."""

    def not_handed_off(self, reason: str) -> None:
        """A message was not sent in time; a sweep does it."""

    def processed(self, event_type: str, seconds: float) -> None:
        """All receivers of a delivery are done, so long after it was verified."""

    def gave_up(self, receiver: str) -> None:
        """A run will not be tried again."""

    def fetched(self, size: int) -> None:
        """So many bytes of a result file came."""


_observers: list[Observer] = []
_complaints: set[str] = set()


def start() -> None:
    """Have those of the :data:`LIBRARIES` observe that are installed; again changes nothing.

    Django makes apps ready anew when tests change ``INSTALLED_APPS``.
    """
    started = {type(observer).__module__ for observer in _observers}
    for library, name in LIBRARIES.items():
        module = f"gemini_webhooks.observe.{name}"
        if module in started:
            continue
        try:
            _observers.append(import_module(module).Observing())
        except ModuleNotFoundError as missing:
            if (missing.name or "").partition(".")[0] != library:
                raise
        except (OSError, ValueError) as error:
            # Such as a folder for the figures of several processes that is not there.
            logger.error("%s cannot be used: %s: %s", library, type(error).__name__, error)  # noqa: TRY400  # no bug


@contextmanager
def watching(activity: AnyActivity) -> Iterator[AnyActivity]:
    """Tell the observers when ``activity`` begins, and how it ended."""
    if not _observers:
        yield activity
        return
    begun = [(observer, *_begin(observer, activity)) for observer in _observers]
    started = time.perf_counter()
    try:
        yield activity
    except BaseException as error:
        activity.error = error
        raise
    finally:
        activity.seconds = time.perf_counter() - started
        for observer, has_begun, kept in reversed(begun):
            if has_begun:
                _end(observer, activity, kept)
        activity.error = None  # whose traceback holds the activity


def is_traced() -> bool:
    """Whether an observer wants what is sent now to go on with what goes on here."""
    for observer in _observers:
        try:
            if observer.is_traced():
                return True
        except Exception as error:  # noqa: BLE001  # as below
            _complain(observer, "is_traced", error)
    return False


def tell(what: str, *arguments: Any) -> None:
    """Call the method ``what`` of each observer."""
    for observer in _observers:
        try:
            getattr(observer, what)(*arguments)
        except Exception as error:  # noqa: BLE001  # no figure is worth a delivery
            _complain(observer, what, error)


def _begin(observer: Observer, activity: Activity) -> tuple[bool, Any]:
    try:
        return True, observer.begin(activity)
    except Exception as error:  # noqa: BLE001  # as above
        _complain(observer, "begin", error)
        return False, None


def _end(observer: Observer, activity: Activity, kept: Any) -> None:
    try:
        observer.end(activity, kept)
    except Exception as error:  # noqa: BLE001  # as above
        _complain(observer, "end", error)


def _complain(observer: Observer, what: str, error: Exception) -> None:
    """Log it once: it is likely to happen again with each delivery."""
    name = f"{type(observer).__module__}.{what}"
    if name not in _complaints:
        _complaints.add(name)
        logger.error("%s failed: %s. It is logged this once only.", name, type(error).__name__)
