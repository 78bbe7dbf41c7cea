"""Selections: conditions that are stored, sent, and find deliveries on every database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gemini_webhooks import clock
from gemini_webhooks.deliveries import Selection, select
from gemini_webhooks.exceptions import InvalidSelection
from gemini_webhooks.models import WebhookDelivery
from tests.admin import rows as written
from tests.conftest import every_database

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
FULL = Selection(
    ids=(1, 2),
    states=("failed",),
    event_types=("batch.succeeded", ""),
    endpoint="",
    signing="jwt",
    since=NOON,
    until=NOON + timedelta(hours=1),
    metadata={"tenant": "acme", "customer.id": "7"},
    receiver="shop.receivers.store",
    error_class="KeyError",
)


@pytest.mark.parametrize("selection", [Selection(), FULL, Selection(endpoint="orders")])
def test_a_selection_survives_json(selection: Selection) -> None:
    stored = json.loads(json.dumps(selection.to_json()))
    assert Selection.from_json(stored) == selection
    assert Selection.from_json(stored).is_empty is selection.is_empty
    assert "acme" not in repr(selection)


def test_what_is_not_set_is_not_stored() -> None:
    assert Selection().to_json() == {}
    assert Selection(ids=[], states=[], metadata={}).is_empty
    assert Selection(endpoint="").to_json() == {"endpoint": ""}
    assert not Selection(endpoint="").is_empty
    assert Selection.from_json({"endpoint": None, "ids": []}).is_empty


NONSENSE: list[Any] = [
    None,
    [],
    "all",
    {"colour": "red"},
    {7: "red"},
    {"ids": 7},
    {"ids": "7"},
    {"ids": ["7"]},
    {"ids": [True]},
    {"ids": [0]},
    {"ids": [2**63]},
    {"ids": list(range(1, 502))},
    {"states": "failed"},
    {"states": ["broken"]},
    {"states": [["failed"]]},
    {"event_types": [7]},
    {"event_types": ["x" * 256]},
    {"event_types": ["\ud800"]},
    {"endpoint": 7},
    {"endpoint": "a\0"},
    {"signing": "none?"},
    {"signing": ""},
    {"since": "yesterday"},
    {"since": "2026-13-45T00:00:00Z"},
    {"since": "2026-11-20T12:00:00"},
    {"since": 7},
    {"since": "0001-01-01T00:00:00Z"},
    {"until": "9999-12-31T23:59:59Z"},
    {"since": "2026-11-20T12:00:00Z", "until": "2026-11-20T12:00:00Z"},
    {"metadata": ["tenant"]},
    {"metadata": {"tenant": 7}},
    {"metadata": {"tenant": "a\0"}},
    {"metadata": {"tenant": "x" * 256}},
    {"metadata": {"": "acme"}},
    {"metadata": {"ids[*]": "7"}},
    {"metadata": {"module:function": "7"}},
    {"metadata": {"x" * 256: "7"}},
    {"metadata": {f"a{n}": "" for n in range(11)}},
    {"receiver": ""},
    {"receiver": ["a"]},
    {"error_class": ""},
]


@pytest.mark.parametrize("stored", NONSENSE, ids=lambda one: str(one)[:40])
def test_nonsense_is_no_selection_and_the_message_says_why(stored: Any) -> None:
    with pytest.raises(InvalidSelection) as refused:
        Selection.from_json(stored)
    assert len(str(refused.value)) < 400
    assert "acme" not in str(refused.value)


@pytest.fixture
def stored_ones() -> dict[str, WebhookDelivery]:
    at = written.endpoint("orders")
    day = timedelta(days=1)
    found = {
        "plain": written.delivery(1, received_at=clock.for_database(NOON)),
        "orders": written.delivery(2, endpoint=at, received_at=clock.for_database(NOON + day)),
        "failed": written.delivery(3, state="failed", received_at=clock.for_database(NOON - day)),
        "video": written.delivery(
            4, event_type="video.generated", signing="jwt", user_metadata={"tenant": "acme", "n": 7}
        ),
        "untold": written.delivery(5, event_type="", state="unreadable"),
    }
    written.run(found["failed"], receiver="a", state="dead", error_class="KeyError")
    written.run(found["failed"], receiver="b", state="dead", error_class="OSError")
    written.run(found["plain"], receiver="b", state="retrying", error_class="KeyError")
    return found


@every_database
def test_selections_find_what_they_say(
    database: str, stored_ones: dict[str, WebhookDelivery]
) -> None:
    ids = tuple(one.pk for one in stored_ones.values())
    expected: list[tuple[dict[str, Any], set[str]]] = [
        ({}, set(stored_ones)),
        ({"ids": ids[:2]}, {"plain", "orders"}),
        ({"states": ("failed", "unreadable")}, {"failed", "untold"}),
        ({"event_types": ("video.generated", "")}, {"video", "untold"}),
        ({"endpoint": ""}, {"plain", "failed", "video", "untold"}),
        ({"endpoint": "orders"}, {"orders"}),
        ({"endpoint": "nowhere"}, set()),
        ({"signing": "jwt"}, {"video"}),
        ({"since": NOON, "until": NOON + timedelta(days=1)}, {"plain"}),
        ({"until": NOON}, {"failed"}),
        ({"metadata": {"tenant": "acme"}}, {"video"}),
        ({"metadata": {"tenant": "acme", "n": "7"}}, {"video"}),
        ({"metadata": {"tenant": "acme", "n": "8"}}, set()),
        ({"receiver": "b"}, {"failed"}),
        ({"error_class": "KeyError"}, {"failed"}),
        ({"receiver": "a", "error_class": "KeyError"}, {"failed"}),
        ({"receiver": "b", "error_class": "KeyError"}, set()),
        ({"states": ("failed",), "signing": "jwt"}, set()),
    ]
    names = {one.pk: name for name, one in stored_ones.items()}
    for conditions, wanted in expected:
        found = select(Selection(**conditions)).values_list("pk", flat=True)
        assert {names[pk] for pk in found} == wanted, conditions


@every_database
def test_a_selection_of_many_ids_is_one_statement(database: str) -> None:
    came = written.delivery()
    ids = (*range(10**6, 10**6 + 499), came.pk)
    assert list(select(Selection(ids=ids, states=("processed",)))) == [came]
