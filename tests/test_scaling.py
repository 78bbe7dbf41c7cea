"""The page about scaling: what it says of replicas holds."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.senders import StaticSender

PAGE = Path(__file__).resolve().parent.parent / "docs" / "scaling.md"


@pytest.mark.server("postgres")
@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
def test_lists_are_read_from_a_replica_and_deliveries_written_to_the_other(
    settings: Any, monkeypatch: pytest.MonkeyPatch, static: StaticSender, admin_client: Client
) -> None:
    monkeypatch.setitem(sys.modules, "docs_routers", routers := ModuleType("docs_routers"))
    [code] = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    exec(code.replace('"replica"', '"postgres"'), routers.__dict__)
    settings.DATABASE_ROUTERS = ["docs_routers.ReadFromReplica"]

    with CaptureQueriesContext(connections["postgres"]) as while_receiving:
        assert static.post().status_code == 200
        assert static.post(webhook_id="again").status_code == 200
        assert static.post(webhook_id="again").json() == {"status": "duplicate"}
    with CaptureQueriesContext(connections["postgres"]) as while_reading:
        page = admin_client.get("/admin/gemini_webhooks/webhookdelivery/")

    assert while_receiving.captured_queries == []
    assert page.status_code == 200
    assert any("gemini_webhooks_webhookdelivery" in one["sql"] for one in while_reading)
