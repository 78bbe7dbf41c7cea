"""What OpenAPI says is what is done: schemathesis sends what the schema allows, and what not."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from django.core.files.base import ContentFile

from gemini_webhooks.deliveries import Selection, replays
from tests.admin import rows
from tests.api.conftest import EVERYTHING, PREFIX

pytest.importorskip("rest_framework", reason="needs the extra [api]")

#: Of each operation, and the same each time; for a longer look by hand set another number.
EXAMPLES = os.environ.get("TEST_SCHEMATHESIS_EXAMPLES")
HOW_MANY = (
    ("--max-examples", EXAMPLES)
    if EXAMPLES
    else ("--max-examples", "8", "--generation-deterministic")
)
UNLIMITED = {f"gemini_webhooks_{scope}": None for scope in ("read", "replay", "download")}
#: Conditions that contradict each other, and paths that cannot be read: no schema can say so.
CONFIGURATION = """
[generation]
with-security-parameters = false

[[operations]]
include-path-regex = "replay(s?)/$"
include-method = "POST"

[operations.checks]
positive_data_acceptance.expected-statuses = [200, 201, 202, 400, 403, 404, 409]
"""


@pytest.fixture
def everything():
    """Rows of every kind, with what a sender may send at worst."""
    for number, body in enumerate([*rows.POISON.values(), None], start=1):
        came = rows.family(number, body=body, user_metadata={"tenant": "acme"})[1]
        rows.result(came, 1, file=ContentFile(b'{"a": NaN}\n\xff\n' * 99, name="rows.jsonl"))
        order = {"what": "everything", "receivers": (), "rate": None, "actor": "a", "reason": ""}
        replays.begin(Selection(ids=(came.pk,)), **order)


@pytest.mark.skipif(importlib.util.find_spec("schemathesis") is None, reason="needs --group test")
@pytest.mark.django_db(transaction=True)
def test_schemathesis_finds_nothing(everything, live_server, settings, make_asker, tmp_path):
    settings.REST_FRAMEWORK = {"DEFAULT_THROTTLE_RATES": UNLIMITED}
    asker = make_asker(*EVERYTHING)
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    (tmp_path / "schema.json").write_text(json.dumps(asker.read("schema/")))

    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "schemathesis.cli",
                "--config-file",
                "schemathesis.toml",
                "run",
            ),
            *("schema.json", "--url", f"{live_server.url}{PREFIX}", "--request-timeout", "100"),
            *("--header", f"Authorization: {asker.authorization}", "--checks", "all"),
            *(*HOW_MANY, "--no-color", "--continue-on-failure"),
            *("--suppress-health-check", "all", "--warnings", "off"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    if EXAMPLES:
        sys.stdout.write(done.stdout)
