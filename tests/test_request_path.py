"""The way of a request, and of what follows, does not grow unnoticed: counted, not timed.

:mod:`benchmarks.counting` says what is counted. Where a budget is exceeded for a good reason,
raise it here, and say in the commit what the calls buy; where something became cheaper, lower it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.measurements import measured

PROJECT = Path(__file__).resolve().parent.parent
#: Calls of functions, as multiples of those that the baseline V needs for a new event: a tenth
#: above what they were when this was written, as versions of Python and Django differ.
CALLS = {
    "new": 1.75,
    "duplicate": 1.85,
    "repeated": 1.45,
    "forged": 1.2,
    "dynamic": 4.2,
    "handled": 44.0,
}
#: SQL statements, but for what begins and ends transactions.
STATEMENTS = {
    "new": ["INSERT INTO gemini_webhooks_webhookdelivery"],
    "duplicate": [
        "INSERT INTO gemini_webhooks_webhookdelivery",
        "UPDATE gemini_webhooks_webhookdelivery SET",
    ],
    "repeated": ["UPDATE gemini_webhooks_webhookdelivery SET"],
    "forged": [],
    "dynamic": [
        "INSERT INTO gemini_webhooks_tokenuse",
        "INSERT INTO gemini_webhooks_webhookdelivery",
    ],
}
#: From the message of a delivery until its one receiver has run, each in a task of its own; one of
#: them is the receiver's.
HANDLED_STATEMENTS = 10
#: Blocks of memory that are left of each request: less than one entry of any table.
KEPT = 5.0

OF_TRANSACTIONS = ("BEGIN", "SAVEPOINT", "RELEASE", "COMMIT")


@pytest.fixture(scope="module")
def counted() -> Any:
    _, figures = measured("counting", "--json")
    return figures


def statements(counted: Any, name: str) -> list[str]:
    found = [one.replace('"', "") for one in counted[name]["statements"]]
    return [" ".join(one.split()[:3]) for one in found if not one.startswith(OF_TRANSACTIONS)]


@pytest.mark.parametrize("name", STATEMENTS)
def test_request_asks_the_database_for_no_more_than_it_has_to(counted: Any, name: str) -> None:
    assert statements(counted, name) == STATEMENTS[name]


def test_handling_asks_the_database_no_more_often(counted: Any) -> None:
    assert len(statements(counted, "handled")) <= HANDLED_STATEMENTS


@pytest.mark.parametrize("name", CALLS)
def test_calls_stay_within_their_budget(counted: Any, name: str) -> None:
    assert counted[name]["calls"] / counted["V new"]["calls"] <= CALLS[name]


def test_nothing_is_left_of_a_request(counted: Any) -> None:
    assert counted["new"]["kept"] <= KEPT
