"""What was sent is shown as far as REDACT lets it be seen, whatever it is; secrets never are."""

from __future__ import annotations

import json
from base64 import b64decode

import pytest
from django.core.files.base import ContentFile

from gemini_webhooks import models
from gemini_webhooks.deliveries import Selection, replays
from tests.admin import rows
from tests.api.conftest import EVERYTHING, PREFIX
from tests.conftest import every_database

pytest.importorskip("rest_framework", reason="needs the extra [api]")

pytestmark = pytest.mark.django_db


def shown(asker, delivery):
    found = asker.read(f"deliveries/{delivery.pk}/")
    return found["body"], found["body_encoding"], found["content_withheld"]


@pytest.mark.parametrize("body", rows.POISON.values(), ids=rows.POISON)
def test_every_body_is_there_byte_for_byte(asker, body):
    text, encoding, withheld = shown(asker, rows.delivery(body=body))

    assert (text.encode() if encoding == "utf-8" else b64decode(text)) == body
    assert withheld == "no"


@every_database
def test_hostile_rows_are_shown(database, make_asker):
    asker = make_asker(*EVERYTHING)
    rows.hostile_family()
    for name in ("deliveries", "runs", "attempts", "results", "rejections", "endpoints", "replays"):
        [found] = asker.read(f"{name}/")["results"]
        assert asker.read(f"{name}/{found['id']}/")["id"] == found["id"]


def test_body_that_was_removed(asker):
    came = rows.delivery(body=None, emptied_by="retention")
    assert shown(asker, came) == (None, None, "removed")
    assert asker.read("deliveries/")["results"][0]["emptied_by"] == "retention"


class TestRedaction:
    metadata = {"tenant": "acme", "email": "ada@example.com"}

    @pytest.fixture
    def came(self):
        body = {"type": "batch.succeeded", "data": {"user_metadata": self.metadata}}
        return rows.delivery(body=json.dumps(body).encode(), user_metadata=self.metadata)

    @pytest.mark.parametrize("kind", ["store", "display"])
    def test_paths(self, asker, came, settings, kind):
        settings.GEMINI_WEBHOOKS = {"REDACT": {kind: ["data.user_metadata.email"]}}
        found = asker.read(f"deliveries/{came.pk}/")

        assert found["user_metadata"] == {"tenant": "acme", "email": "[redacted]"}
        assert json.loads(found["body"])["data"]["user_metadata"]["email"] == "[redacted]"

    def test_what_it_cannot_look_into(self, asker, came, settings):
        settings.GEMINI_WEBHOOKS = {"REDACT": {"display": ["data.prompt"]}}
        unreadable = rows.delivery(2, body=b"\xffada@example.com")

        assert shown(asker, unreadable) == (None, None, "redaction")

    def test_a_function_that_fails(self, asker, came, settings):
        settings.GEMINI_WEBHOOKS = {"REDACT": {"display": ["tests.api.test_content:fail"]}}
        found = asker.read(f"deliveries/{came.pk}/")

        assert (found["user_metadata"], found["body"]) == (None, None)
        assert found["content_withheld"] == "redaction"

    def test_a_function_that_returns_what_utf_8_cannot_write(self, asker, came, settings):
        settings.GEMINI_WEBHOOKS = {"REDACT": {"display": ["tests.api.test_content:surrogate"]}}
        found = asker.read(f"deliveries/{came.pk}/")

        assert found["user_metadata"] == {"a": "?"}
        assert found["body_encoding"] == "utf-8"


def fail(payload):
    raise RuntimeError("ada@example.com")


def surrogate(payload):
    return {"data": {"user_metadata": {"a": "\ud800"}}}


def test_no_secret_anywhere(asker):
    came = rows.family(1)[1]
    rows.token_use(came)
    order = {"what": "everything", "receivers": (), "rate": None, "actor": "ada", "reason": ""}
    replays.begin(Selection(ids=(came.pk,)), **order)
    addresses = ["stats/", "backlog/", "schema/"]
    for name, model in {
        "deliveries": models.WebhookDelivery,
        "runs": models.ReceiverRun,
        "attempts": models.Attempt,
        "results": models.ResultFile,
        "rejections": models.RejectedRequest,
        "endpoints": models.WebhookEndpoint,
        "replays": models.Replay,
    }.items():
        addresses += [f"{name}/", f"{name}/{model.objects.first().pk}/"]

    said = "".join(asker.get(PREFIX + address).content.decode() for address in addresses)

    for secret in (rows.SECRET, rows.CIPHERTEXT, rows.TOKEN_DIGEST, "ciphertext", "out-1"):
        assert secret not in said
    assert "whsec_…3frh" in said


def address_of(result):
    return f"results/{result.pk}/rows/"


class TestRows:
    @pytest.fixture
    def result(self):
        return lambda content, **values: rows.result(
            rows.delivery(), file=ContentFile(content, name="rows.jsonl"), **values
        )

    def test_pages(self, asker, result):
        content = b"".join(b'{"n": %d}\n\n' % n for n in range(5))
        address = address_of(result(content))
        found, after = [], 0
        while after is not None:
            page = asker.read(address, after=after, page_size=2)
            found.append([row["row"]["n"] for row in page["results"]])
            after = page["next"]

        assert [n for page in found for n in page] == [0, 1, 2, 3, 4]
        assert [row["position"] for row in asker.read(address)["results"]] == [0, 10, 20, 30, 40]

    def test_a_page_begins_with_a_row(self, asker, result):
        address = address_of(result(b'{"a": {"n": 1}}\n{"n": 2}'))

        for after in (1, 6, 15, 16):
            page = asker.read(address, after=after)
            assert [row["row"] for row in page["results"]] == [{"n": 2}], after
        assert asker.read(address, after=17) == {"next": None, "results": []}
        assert asker.read(address, after=2**63 - 1) == {"next": None, "results": []}

    def test_what_cannot_be_shown(self, asker, result, monkeypatch):
        monkeypatch.setattr("gemini_webhooks.api.rows.MAX_ROW_BYTES", 100)
        long = b'{"a": "' + b"x" * 300 + b'"}'
        content = b"\n".join([b"\xff", b"[1]", b"[" * 90, long, b'{"a": NaN, "b": "\\ud800"}'])

        found = asker.read(address_of(result(content)))["results"]

        assert [(row["row"], row["problem"]) for row in found] == [
            (None, "unreadable"),
            (None, "unreadable"),
            (None, "unreadable"),
            (None, "too_large"),
            ({"a": None, "b": "?"}, ""),
        ]

    def test_a_page_reads_no_more_than_a_part(self, asker, result, monkeypatch):
        monkeypatch.setattr("gemini_webhooks.api.rows.MAX_PAGE_BYTES", 20)
        page = asker.read(address_of(result(b'{"n": 1}\n' * 9)), page_size=9)

        assert (len(page["results"]), page["next"]) == (3, 27)

    def test_redaction(self, asker, result, settings):
        settings.GEMINI_WEBHOOKS = {"REDACT": {"rows": ["response.email"]}}
        address = address_of(result(b'{"response": {"email": "ada@example.com"}}'))
        [found] = asker.read(address)["results"]
        assert found["row"] == {"response": {"email": "[redacted]"}}

        settings.GEMINI_WEBHOOKS = {"REDACT": {"rows": ["tests.api.test_content:fail"]}}
        [found] = asker.read(address)["results"]
        assert (found["row"], found["problem"]) == (None, "redaction")

    def test_deep_rows_are_cut(self, asker, result):
        content = b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}"
        [found] = asker.read(address_of(result(content)))["results"]
        assert str(found["row"]).count("[") == 99

    def test_bad_positions(self, asker, result):
        address = address_of(result(b"{}"))
        for after in ("-1", "x", str(2**63), ""):
            assert list(asker.read(address, 400, after=after)["fields"]) == ["after"]
