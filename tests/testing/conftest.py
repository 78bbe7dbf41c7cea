"""The fixture, also where the plugin's entry point is not installed yet; databases; receivers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from gemini_webhooks import receivers
from gemini_webhooks.pytest_plugin import gemini_webhooks
from tests import servers
from tests.conftest import ALIASES

__all__ = ["gemini_webhooks"]


def _on(alias: str, name: str, *, transaction: bool) -> Any:
    missing = servers.missing(name) if alias != "default" else None
    marks = [pytest.mark.django_db(transaction=transaction, databases=[] if missing else [alias])]
    if alias != "default":
        marks.append(pytest.mark.server(name))
    return pytest.param(
        alias, id=f"{name}-{'commits' if transaction else 'rolls back'}", marks=marks
    )


#: Each database, once in a transaction that is rolled back as in a ``TestCase``, once without.
every_kind_of_test = pytest.mark.parametrize(
    "database",
    [_on(*known, transaction=kind) for known in ALIASES.items() for kind in (False, True)],
    indirect=True,
)


@dataclass
class Receiver:
    """A receiver that remembers its events, and does as it is told."""

    events: list[Any] = field(default_factory=list)
    does: Callable[[], object] = lambda: None

    def __call__(self, event: Any, **kwargs: Any) -> None:
        self.events.append(event)
        self.does()


@pytest.fixture
def note() -> Receiver:
    """Connected to ``batch.succeeded`` under the name ``reports.note``."""
    receiver = Receiver()
    receivers.on("batch.succeeded", name="reports.note")(receiver)
    return receiver


def fails(error: BaseException) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail
