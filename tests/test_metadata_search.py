"""Rows found by a value of their metadata, the same on every database."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connections

from gemini_webhooks.deliveries import metadata
from gemini_webhooks.exceptions import ConfigurationError
from gemini_webhooks.models import Job, WebhookDelivery
from tests.conftest import every_database

STORED: dict[str, Any] = {
    "acme": {"tenant": "acme", "customer": {"id": 7}},
    "acme-other-case": {"tenant": "Acme"},
    "acme-with-space": {"tenant": "acme "},
    "acme-in-list": {"tenant": ["acme"], "ids": [1, [2], {"id": "x"}]},
    "acme-as-key": {"acme": "tenant"},
    "text-7": {"customer": {"id": "7"}},
    "float-7": {"customer": {"id": 7.0}},
    "float": {"n": 0.1, "m": -12.5, "e": 1e21},
    "large": {"n": 9007199254740993, "id": 2**53 + 2},
    "huge": {"n": 10**30, "negative": -3},
    "words": {"yes": True, "no": False, "nothing": None},
    "text-words": {"yes": "true", "nothing": "null"},
    "wild": {"pattern": "a%b_c\\d"},
    "tame": {"pattern": "aXXbYc\\d"},
    "quotes": {
        'q"k': 'it\'s "so"',
        "b\\k": "\\",
        "é": "Zoë",
        "😀": "😀 \u2028",
    },
    "odd": {"a.b": "dot", "": "e"},
    "deep": {"a": {"b": [{"c": {"d": ["e", {"f": "far"}]}}]}},
    "empty": {},
}


@pytest.fixture
def stored(database: str) -> str:
    for model in (WebhookDelivery, Job):
        name = "webhook_id" if model is WebhookDelivery else "resource_id"
        times = {} if model is WebhookDelivery else {"due_at": "2026-01-01T00:00:00Z"}
        for row, held in STORED.items():
            model._default_manager.create(**{name: row}, user_metadata=held, **times)
    return database


def found(condition: Any) -> set[str]:
    deliveries = WebhookDelivery.objects.filter(condition)
    ids = set(deliveries.values_list("webhook_id", flat=True))
    assert set(Job.objects.filter(condition).values_list("resource_id", flat=True)) == ids
    assert deliveries.count() == len(ids)
    return ids


@every_database
@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("tenant", "acme", {"acme"}),
        ("tenant", "Acme", {"acme-other-case"}),
        ("tenant", "acme ", {"acme-with-space"}),
        ("tenant", "acm", set()),
        ("tenant", "", set()),
        ("tenant[0]", "acme", {"acme-in-list"}),
        ("ids[0]", "1", {"acme-in-list"}),
        ("ids[1]", "2", set()),
        ("ids[1][0]", "2", {"acme-in-list"}),
        ("ids[1][0][0]", "2", set()),
        ("ids[2].id", "x", {"acme-in-list"}),
        ("ids[2].id[0]", "x", set()),
        ("ids.id", "x", set()),
        ('["0"]', "1", set()),
        ("customer.id", "7", {"acme", "text-7", "float-7"}),
        ("customer.id", "7.0", {"acme", "float-7"}),
        ("customer.id", "07", set()),
        ("customer", '{"id": 7}', set()),
        ("ids", '[1, [2], {"id": "x"}]', set()),
        ("customer.id.more", "7", set()),
        ("n", "0.1", {"float"}),
        ("n", "1e-1", {"float"}),
        ("m", "-12.5", {"float"}),
        ("e", "1e21", {"float"}),
        ("negative", "-3", {"huge"}),
        ("n", "9007199254740993", {"large"}),
        ("n", "9007199254740992", set()),
        ("n", str(10**30), {"huge"}),
        ("yes", "true", {"words", "text-words"}),
        ("yes", "1", set()),
        ("no", "false", {"words"}),
        ("nothing", "null", {"words", "text-words"}),
        ("absent", "null", set()),
        ("pattern", "a%b_c\\d", {"wild"}),
        ('["q\\"k"]', 'it\'s "so"', {"quotes"}),
        ('["b\\\\k"]', "\\", {"quotes"}),
        ("é", "Zoë", {"quotes"}),
        ("é", "Zoe", set()),
        ("😀", "😀 \u2028", {"quotes"}),
        ('["a.b"]', "dot", {"odd"}),
        ("a.b", "dot", set()),
        ('[""]', "e", {"odd"}),
        ("a.b[0].c.d[1].f", "far", {"deep"}),
    ],
)
def test_value_at_a_path(stored: str, path: str, value: str, expected: set[str]) -> None:
    assert found(metadata.at_path(path, value)) == expected


@every_database
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("acme", {"acme", "acme-in-list"}),
        ("acm_", set()),
        ("acme ", {"acme-with-space"}),
        ("tenant", {"acme-as-key"}),
        ("7", {"acme", "text-7", "float-7"}),
        ("2", {"acme-in-list"}),
        ("x", {"acme-in-list"}),
        ("-3", {"huge"}),
        ("-12.5", {"float"}),
        ("true", {"words", "text-words"}),
        ("null", {"words", "text-words"}),
        ("a%b_c\\d", {"wild"}),
        ('it\'s "so"', {"quotes"}),
        ("😀 \u2028", {"quotes"}),
        ("Zoë", {"quotes"}),
        ("far", {"deep"}),
        ("fa", set()),
        ("{}", set()),
    ],
)
def test_value_anywhere(stored: str, value: str, expected: set[str]) -> None:
    assert found(metadata.anywhere(value)) == expected


HOSTILE = [
    "a\x00b",
    "\ud800",
    "\\u0000",
    '"',
    "'; DROP TABLE x; --",
    '" || 1 == 1 || "',
    "${x}",
    "%s",
    "%(a)s",
    "x" * 1_000_000,
    "9" * 5_000,
    "1e999999999",
    "-1e999999999",
    "1e-999999999",
    "NaN",
    "Infinity",
    "[" * 10_000,
    "\u202e\ufffe",
]


@every_database
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value)[:20])
def test_hostile_value_finds_nothing(stored: str, value: str) -> None:
    assert found(metadata.anywhere(value)) == set()
    assert found(metadata.at_path("tenant", value)) == set()
    assert found(metadata.at_path(f"[{json.dumps(value)}]", "acme")) == set()


@every_database
def test_long_way_leads_nowhere(stored: str) -> None:
    assert found(metadata.at_path(".".join("a" * 500), "x")) == set()
    assert found(metadata.at_path("tenant[999999999]", "x")) == set()


@pytest.mark.parametrize(
    "path", ["", "a..b", "*", "ids[*]", "module:function", ".a", "a b", '["\x00"]', '["\\x"]']
)
def test_path_of_no_single_value_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError):
        metadata.at_path(path, "x")


@every_database
def test_conditions_go_together_with_others(stored: str) -> None:
    acme = metadata.at_path("tenant", "acme")
    seven = metadata.at_path("customer.id", "7")

    assert found(acme & seven) == {"acme"}
    assert found(acme | metadata.anywhere("far")) == {"acme", "deep"}
    runs = WebhookDelivery.objects.filter(acme, runs__receiver="nobody")
    assert not runs.exists()


@pytest.mark.parametrize(
    "condition",
    [
        metadata.at_path("tenant", "acme"),
        metadata.at_path("customer.ids[0]", "-7"),
        metadata.anywhere("acme"),
        metadata.anywhere("-7"),
        metadata.anywhere("null"),
    ],
)
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
@pytest.mark.django_db(transaction=True, databases=["postgres"])
@pytest.mark.server("postgres")
def test_index_serves_the_search(database: str, condition: Any) -> None:
    with connections[database].cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        plan = WebhookDelivery.objects.filter(condition).order_by().explain()
        cursor.execute("RESET enable_seqscan")

    assert "gw_delivery_metadata" in plan
