"""The receivers and the router of the page about tenants."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest
from django.db.models import F

from gemini_webhooks.events import Event
from gemini_webhooks.models import Lane
from gemini_webhooks.testing import Gemini
from tests.test_docs import python_of, run_example

pytestmark = pytest.mark.django_db(transaction=True)

METADATA = {"tenant": "acme", "job": "summarise"}


@pytest.fixture
def tenant(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """What ``Tenant.objects.get()`` finds; the receivers of the page are connected."""
    found = Mock(batches=0)
    models: Any = ModuleType("jobs.models")
    models.Tenant = Mock()
    models.Tenant.objects.get.return_value = found
    monkeypatch.setitem(sys.modules, "jobs", ModuleType("jobs"))
    monkeypatch.setitem(sys.modules, "jobs.models", models)
    [code] = [code for code in python_of("tenants") if code.startswith("# jobs/receivers.py")]
    run_example(code)
    return found


def test_what_a_seal_vouches_for_counts(tenant: Mock, gemini_webhooks: Gemini) -> None:
    gemini_webhooks.deliver("batch.succeeded", metadata=METADATA, signing="jwt").assert_ran("count")

    assert tenant.batches == F("batches") + 1
    assert list(Lane.objects.values_list("name", "limit")) == [('docs.count tenant="acme"', 2)]


def test_what_nobody_vouches_for_does_not(tenant: Mock, gemini_webhooks: Gemini) -> None:
    outcome = gemini_webhooks.deliver("batch.succeeded", metadata=METADATA)

    outcome.assert_dead("count", "nobody vouches for the metadata")
    assert tenant.batches == 0


def test_queues() -> None:
    [code] = [code for code in python_of("tenants") if code.startswith("# jobs/queues.py")]
    route = run_example(code)["of_tenant"]

    queues = [
        route(Event(id="m", type="batch.succeeded", user_metadata={"tenant": name}), "any")
        for name in ("acme", "initech")
    ]
    assert queues == ["tenant-acme", None]
