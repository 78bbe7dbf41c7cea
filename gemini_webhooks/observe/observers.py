"""Who is told what happens. Nobody, unless the site uses a library for it.

No library is imported only because it is installed: it would cost each process time and memory,
and nobody would look at what is recorded.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from gemini_webhooks import logs
from gemini_webhooks.observe.activities import Activity

logger = logs.get_logger(__name__)

AnyActivity = TypeVar("AnyActivity", bound=Activity)


@dataclass(frozen=True, kw_only=True)
class Library:
    """What observes, and how to tell that the site uses it.

    Attributes:
        observer: the module here that needs it, with a class ``Observing``.
        sign: a module that everybody who uses it has imported.
        variable: of the environment; the library itself reads it.
    """

    observer: str
    sign: str
    variable: str


LIBRARIES = {
    "prometheus_client": Library(
        observer="metrics", sign="prometheus_client", variable="PROMETHEUS_MULTIPROC_DIR"
    ),
    "opentelemetry": Library(
        observer="tracing", sign="opentelemetry.trace", variable="OTEL_PYTHON_TRACER_PROVIDER"
    ),
}


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
#: Those of the :data:`LIBRARIES` that nobody was seen to use yet.
_awaited = set(LIBRARIES)
_joining = threading.RLock()
_complaints: set[str] = set()

# Nobody forks in the middle of it: the child would wait for a thread that it does not have.
os.register_at_fork(
    before=_joining.acquire, after_in_parent=_joining.release, after_in_child=_joining.release
)


def start(*wanted: str) -> None:
    """Have libraries observe that the site uses by now; others join once it imports them.

    Again changes nothing: Django makes apps ready anew when tests change ``INSTALLED_APPS``.

    Args:
        wanted: of the :data:`LIBRARIES`; used although nothing else has imported them.
    """
    for name, library in LIBRARIES.items():
        if name in wanted or library.variable in os.environ:
            _join(name, library)
    observing()


def observing() -> list[Observer]:
    """Those who observe, whose libraries may have been imported a moment ago."""
    if _awaited:
        for name, library in LIBRARIES.items():
            if library.sign in sys.modules:
                try:
                    _join(name, library)
                except Exception as error:  # noqa: BLE001  # as in tell(): somebody is at work here
                    logger.error("%s cannot be used: %s", name, type(error).__name__)  # noqa: TRY400
    return _observers


def _join(name: str, library: Library) -> None:
    with _joining:
        if name not in _awaited:
            return
        try:
            module = import_module(f"gemini_webhooks.observe.{library.observer}")
            _observers.append(module.Observing())
        except ModuleNotFoundError as missing:
            if (missing.name or "").partition(".")[0] != name:
                raise
        except (OSError, ValueError) as error:
            # Such as a folder for the figures of several processes that is not there.
            logger.error("%s cannot be used: %s: %s", name, type(error).__name__, error)  # noqa: TRY400  # no bug
        finally:
            _awaited.discard(name)  # last: until then others wait for the lock


@contextmanager
def watching(activity: AnyActivity) -> Iterator[AnyActivity]:
    """Tell the observers when ``activity`` begins, and how it ended."""
    observers = observing()
    if not observers:
        yield activity
        return
    begun = [(observer, *_begin(observer, activity)) for observer in observers]
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
    for observer in observing():
        try:
            if observer.is_traced():
                return True
        except Exception as error:  # noqa: BLE001  # as below
            _complain(observer, "is_traced", error)
    return False


def tell(what: str, *arguments: Any) -> None:
    """Call the method ``what`` of each observer."""
    for observer in observing():
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
