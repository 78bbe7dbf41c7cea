"""What the tables can do by themselves, which is little."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.utils import timezone

from gemini_webhooks import rejections
from gemini_webhooks.exceptions import UnreadableRow
from gemini_webhooks.models import (
    Attempt,
    Job,
    ReceiverRun,
    RejectedRequest,
    ResultFile,
    SigningSecret,
    TokenUse,
    WebhookDelivery,
    WebhookEndpoint,
)
from tests.senders import StaticSender

sqlite = pytest.mark.django_db(transaction=True)


@pytest.fixture
def result_with(settings: Any, tmp_path: Any) -> Any:
    settings.MEDIA_ROOT = tmp_path

    def make(content: bytes) -> ResultFile:
        delivery = WebhookDelivery.objects.create(webhook_id="m", signing="hmac")
        result = ResultFile.objects.create(delivery=delivery, source_uri="gs://b/o", rows=2)
        result.file.save("rows.jsonl", ContentFile(content))
        return result

    return make


@sqlite
def test_rows_is_a_number_and_the_rows(result_with: Any) -> None:
    result = result_with(b'{"key": 1}\n\n{"key": 2}')

    assert result.rows == 2
    assert list(result.rows()) == [{"key": 1}, {"key": 2}]
    assert ResultFile.objects.filter(rows__gte=2).values_list("rows", flat=True).get() == 2
    deferred = ResultFile.objects.defer("rows").get()
    assert deferred.rows == 2
    result.rows = 3
    result.save()
    assert ResultFile.objects.get().rows == 3


@sqlite
@pytest.mark.parametrize("line", [b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_row_that_is_no_object_is_named(result_with: Any, line: bytes) -> None:
    rows = result_with(b'{"key": 1}\n' + line).rows()

    assert next(rows) == {"key": 1}
    with pytest.raises(UnreadableRow, match="line 2"):
        next(rows)


@sqlite
def test_result_storage_is_read_live(result_with: Any, settings: Any, tmp_path: Any) -> None:
    name = result_with(b"{}").file.name

    def is_there() -> bool:
        return ResultFile.objects.get().file.storage.exists(name)

    settings.STORAGES = {
        **settings.STORAGES,
        "elsewhere": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": tmp_path / "elsewhere"},
        },
    }
    settings.GEMINI_WEBHOOKS = {"RESULT_STORAGE": "elsewhere"}

    assert not is_there()
    settings.GEMINI_WEBHOOKS = {}
    assert is_there()


@sqlite
def test_pruned_and_unreadable_bodies_have_no_payload() -> None:
    assert WebhookDelivery(body=None).payload is None
    assert WebhookDelivery(body=b"{").payload is None
    assert WebhookDelivery(body=b"[" * 100_000).payload is None
    assert WebhookDelivery(body=b'{"a": 1}').payload == {"a": 1}


def test_names_for_people() -> None:
    assert str(WebhookDelivery(webhook_id="m", event_type="")) == "? m"
    assert str(ReceiverRun(receiver="a.b")) == "a.b"
    assert str(Attempt(number=2, outcome="failed")) == "#2 failed"
    assert str(WebhookEndpoint(slug="acme")) == "acme"
    assert str(SigningSecret(hint="whsec_…3frh")) == "whsec_…3frh"
    assert str(TokenUse(token_digest="0123456789abcdef")) == "0123456789ab"
    assert str(ResultFile(source_uri="gs://b/o")) == "gs://b/o"
    assert str(Job(resource_id="b1")) == "b1"
    assert str(RejectedRequest(reason="seal_missing")) == "seal_missing"


@sqlite
def test_rejections_never_grow_beyond_their_limit(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejections, "MAX_ROWS", 10)
    monkeypatch.setattr(rejections, "TRIM_EVERY", 5)
    monkeypatch.setattr(rejections, "WINDOW_SECONDS", 0)
    old = timezone.now()
    for _ in range(40):
        static.post(headers={"webhook-signature": "v1,AAAA"})

    assert 10 <= RejectedRequest.objects.count() < 15
    assert RejectedRequest.objects.order_by("pk")[0].received_at > old


@sqlite
def test_suppressed_rejections_are_counted_in_the_next_row(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejections, "ROWS_PER_WINDOW", 1)
    for _ in range(5):
        static.post(headers={"webhook-signature": "v1,AAAA"})
    rejections.quota.started -= rejections.WINDOW_SECONDS
    static.post(headers={"webhook-signature": "v1,AAAA"})

    assert list(RejectedRequest.objects.values_list("suppressed", flat=True)) == [4, 0]
