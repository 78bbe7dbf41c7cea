"""Comparing with Google: nothing twice, nothing by halves, and why an endpoint was switched off."""

from __future__ import annotations

import gc
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.db.models import JSONField, QuerySet, Value
from django.utils import timezone

from gemini_webhooks import clock, gateway, registration, tasks
from gemini_webhooks.emulator.registered import Webhook
from gemini_webhooks.emulator.server import EmulatorServer
from gemini_webhooks.exceptions import RegistrationError
from gemini_webhooks.models import RejectedRequest, WebhookDelivery, WebhookEndpoint
from gemini_webhooks.registration.failures import ADVICE
from tests.conftest import every_database
from tests.test_docs import codes_in_the_source

pytest.importorskip("google.genai", reason="needs the extra [genai]")
pytestmark = pytest.mark.django_db(transaction=True)

KEY, OTHER_KEY = "first-project", "second-project"
OFF = WebhookEndpoint.State.DISABLED_BY_GOOGLE
URI = "http://127.0.0.1:9/webhooks/gemini/acme/"


@pytest.fixture
def google(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorServer]:
    options = {"separate_projects": True, "output": "inline", "retry_base": 0, "max_tries": 1}
    with EmulatorServer(job_seconds=0, disable_after=1, **options) as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        settings.GEMINI_WEBHOOKS = {
            "PUBLIC_BASE_URL": "http://127.0.0.1:9",
            "API_KEYS": {"default": KEY, "second": OTHER_KEY, "unset": ""},
        }
        yield running
        gateway._client.cache_clear()
        gc.collect()


@pytest.fixture
def endpoint(google: EmulatorServer) -> WebhookEndpoint:
    return registration.create("acme", subscribed_events=["batch.succeeded"])


@pytest.fixture
def switched_off(google: EmulatorServer, endpoint: WebhookEndpoint) -> WebhookEndpoint:
    """An endpoint whose deliveries failed at Google, which this site has not noticed yet."""
    registration.ping(endpoint)
    assert google.emulator.outbox.wait_idle(20)
    assert google.emulator.webhooks.get(endpoint.remote_id).state == OFF
    return endpoint


def made_elsewhere(name: str = "by hand", key: str = "default", **values: Any) -> str:
    values = {"uri": "https://site.example/hooks/videos/", **values}
    made = gateway.create_webhook(
        api_key_name=key, name=name, subscribed_events=["video.generated"], **values
    )
    return made.id


def run(*words: str, code: int = 0) -> str:
    out = io.StringIO()
    if code:
        with pytest.raises(SystemExit) as caught:
            call_command("gemini_webhooks", *words, stdout=out)
        assert caught.value.code == code
    else:
        call_command("gemini_webhooks", *words, stdout=out)
    return out.getvalue()


def refused(slug: str = "acme", *, ago: timedelta, **values: Any) -> RejectedRequest:
    defaults = {"reason": "signature_mismatch", "status": 401, "diagnosis": "the wrong secret"}
    return RejectedRequest.objects.create(
        endpoint_slug=slug, received_at=clock.now() - ago, **{**defaults, **values}
    )


# Looking


@pytest.mark.parametrize("use_tz", [True, False])
def test_dry_run_reports_the_same_and_writes_nothing(
    google: EmulatorServer, switched_off: WebhookEndpoint, settings: Any, use_tz: bool
) -> None:
    settings.USE_TZ = use_tz
    made_elsewhere()
    gateway.update_webhook(
        api_key_name="default", webhook_id=switched_off.remote_id, name="renamed there"
    )
    gone = registration.create("gone")
    gateway.delete_webhook(api_key_name="default", webhook_id=gone.remote_id)
    before = list(WebhookEndpoint.objects.order_by("pk").values())

    looked = registration.sync(dry_run=True)

    assert list(WebhookEndpoint.objects.order_by("pk").values()) == before
    assert (looked.switched_off, looked.adopted, looked.missing) == (["acme"], ["videos"], ["gone"])
    assert [drift.field for drift in looked.drift] == ["name"]
    assert registration.sync() == looked


def test_more_webhooks_than_one_page_holds(google: EmulatorServer) -> None:
    hooks = [
        google.emulator.webhooks.add(
            Webhook(
                name=f"hook {number}",
                uri=f"https://site.example/hooks/h{number}/",
                subscribed_events=["batch.succeeded"],
                project=KEY,
            )
        )
        for number in range(1002)
    ]
    WebhookEndpoint.objects.bulk_create(
        WebhookEndpoint(
            slug=f"h{number}",
            name=hook.name,
            uri=hook.uri,
            remote_id=hook.id,
            subscribed_events=hook.subscribed_events,
        )
        for number, hook in enumerate(hooks[:1001])
    )

    report = registration.sync()

    assert (report.compared, report.adopted, report.missing) == (1001, ["h1001"], [])
    assert not report.drift


# Adopting


def test_creation_under_way_is_not_adopted_beside_itself(google: EmulatorServer) -> None:
    made_elsewhere(uri=URI)
    under_way = WebhookEndpoint.objects.create(slug="acme", uri=URI)

    assert registration.sync().adopted == []

    WebhookEndpoint.objects.update(created_at=timezone.now() - timedelta(minutes=6))
    assert registration.sync().adopted == ["acme"]
    under_way.refresh_from_db()
    [hook] = google.emulator.webhooks
    assert (under_way.remote_id, under_way.name, under_way.state) == (hook.id, "by hand", "enabled")
    assert under_way.state_changed_at is not None


def test_two_keys_of_one_project_adopt_nothing_twice(
    google: EmulatorServer, endpoint: WebhookEndpoint, settings: Any
) -> None:
    settings.GEMINI_WEBHOOKS["API_KEYS"]["again"] = KEY

    assert registration.sync("again", dry_run=True).adopted == []
    assert registration.sync("again").adopted == []
    assert WebhookEndpoint.objects.get() == endpoint


@pytest.mark.parametrize("moment", ["before it looked", "after it looked"])
def test_what_another_process_adopts_meanwhile_is_left_alone(
    google: EmulatorServer, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    made_elsewhere()
    adopted: list[str] = []
    exists = QuerySet.exists

    with monkeypatch.context() as watching:

        def looked(rows: QuerySet[Any]) -> bool:
            watching.undo()
            found = moment == "after it looked" and exists(rows)
            adopted.extend(registration.sync().adopted)
            return found if moment == "after it looked" else exists(rows)

        watching.setattr(QuerySet, "exists", looked)
        assert registration.sync().adopted == []

    assert adopted == ["videos"]
    assert WebhookEndpoint.objects.get().slug == "videos"


@every_database
@pytest.mark.parametrize(("taken", "wanted"), [("VIDEOS", "videos"), ("videos", "VIDEOS")])
def test_slugs_differ_in_more_than_case(
    database: str, google: EmulatorServer, taken: str, wanted: str
) -> None:
    WebhookEndpoint.objects.create(slug=taken)
    made_elsewhere(uri=f"https://site.example/hooks/{wanted}/")

    assert registration.sync().adopted == [f"{wanted}-2"]


def test_endpoint_that_google_never_had_is_a_difference(
    google: EmulatorServer, endpoint: WebhookEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    old = {"created_at": timezone.now() - timedelta(minutes=6)}
    WebhookEndpoint.objects.create(slug="under-way", uri=URI)
    WebhookEndpoint.objects.create(slug="broken-off", state_changed_at=timezone.now())
    WebhookEndpoint.objects.create(slug="old", **old)
    WebhookEndpoint.objects.create(slug="theirs", api_key_name="second", **old)
    uri = "https://site.example/hooks/found/"
    WebhookEndpoint.objects.create(slug="found", uri=uri, **old)
    made_elsewhere(uri=uri)

    looked = registration.sync(dry_run=True)

    assert looked.differs
    assert (looked.unregistered, looked.adopted) == (["broken-off", "old"], ["found"])
    report = json.loads(run("sync", "--json", code=1))
    assert report["unregistered"] == ["broken-off", "old"]
    assert "old was never registered at Google, or" in run("sync", code=1)
    assert registration.sync("second").unregistered == ["theirs"]
    with caplog.at_level(logging.ERROR):
        tasks.sync_endpoints()
    assert "endpoint old was never registered: delete it" in caplog.text


@pytest.mark.parametrize("stored", [None, [1], [None], 5, {"a": 1}, "batch.succeeded"])
def test_column_of_events_may_hold_anything(
    google: EmulatorServer, endpoint: WebhookEndpoint, stored: Any
) -> None:
    value = Value(stored, JSONField()) if stored is None else stored
    WebhookEndpoint.objects.update(subscribed_events=value)

    [drift] = registration.sync().drift

    assert (drift.field, drift.here, drift.there) == ("subscribed_events", "", "batch.succeeded")


# Projects


def test_each_key_sees_the_webhooks_of_its_project(
    google: EmulatorServer, endpoint: WebhookEndpoint
) -> None:
    made_elsewhere(key="second", name="theirs")

    assert registration.sync("default").compared == 1
    assert registration.sync("default").adopted == []
    assert registration.sync("second").adopted == ["videos"]
    assert WebhookEndpoint.objects.get(slug="videos").api_key_name == "second"
    assert registration.sync("second").compared == 1


def test_all_keys_are_compared_though_one_fails(
    google: EmulatorServer, endpoint: WebhookEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    made_elsewhere(key="second")
    WebhookEndpoint.objects.create(slug="lost", remote_id="webhook_1", api_key_name="removed")

    report = json.loads(run("sync", "--all", "--json", code=1))

    assert report["default"]["compared"] == 1
    assert report["second"]["adopted"] == ["videos"]
    assert report["removed"] == {"error": "There is no API key “removed” in API_KEYS."}
    assert "unset" not in report
    text = run("sync", "--all", code=1)
    assert "default compared: 1\n" in text
    assert "removed error: There is no API key “removed” in API_KEYS." in text
    with caplog.at_level(logging.WARNING):
        tasks.sync_endpoints()
    assert "API key removed not compared: There is no API key" in caplog.text


def test_database_that_fails_is_put_into_words(
    google: EmulatorServer, endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any, **__: Any) -> None:
        raise OperationalError("row was (payload)")

    monkeypatch.setattr("django.db.models.query.QuerySet.update", down)

    with pytest.raises(RegistrationError, match=r"\(OperationalError\): do it again"):
        registration.sync()


# Since when and why


def test_it_says_since_when_and_why_google_switched_off(
    google: EmulatorServer,
    switched_off: WebhookEndpoint,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hook = google.emulator.webhooks.get(switched_off.remote_id)
    off_since = clock.for_database(hook.updated)
    accepted = WebhookDelivery.objects.create(
        webhook_id="msg_1", endpoint=switched_off, received_at=clock.after(-3 * 3600)
    )
    WebhookDelivery.objects.create(webhook_id="msg_2", received_at=clock.after(-60))
    refused(ago=timedelta(hours=2))
    newest = refused(ago=timedelta(hours=1), diagnosis="the secret of another")
    refused(ago=timedelta(hours=1), reason="body_too_large", status=413)
    refused(ago=timedelta(days=4), reason="seal_missing")
    refused("other", ago=timedelta(hours=1), reason="seal_invalid")

    report = json.loads(run("sync", "--json", code=1))

    [why] = report["switched_off"]
    assert why["slug"] == "acme"
    assert datetime.fromisoformat(why["since"]) == off_since
    assert datetime.fromisoformat(why["last_accepted_at"]) == accepted.received_at
    assert why["refused"] == 3
    assert [(one["code"], one["status"], one["count"]) for one in why["by_code"]] == [
        ("signature_mismatch", 401, 2),
        ("body_too_large", 413, 1),
    ]
    assert datetime.fromisoformat(why["by_code"][0]["last"]) == newest.received_at
    switched_off.refresh_from_db()
    assert (switched_off.state, switched_off.state_changed_at) == (OFF, off_since)
    words = (
        f"acme since {hook.updated:%Y-%m-%d %H:%M} UTC; refused here before: "
        "401 signature_mismatch ×2, 413 body_too_large ×1; newest: "
    )
    assert words in run("sync", code=1)
    with caplog.at_level(logging.ERROR):
        tasks.sync_endpoints()
    assert f"Google switched off endpoint {words}" in caplog.text


def test_nothing_recorded_is_said_too(
    google: EmulatorServer, switched_off: WebhookEndpoint
) -> None:
    text = run("sync", code=1)

    assert "nothing was refused here before; last accepted never" in text


def test_what_came_after_it_was_switched_off_is_no_reason(
    google: EmulatorServer, switched_off: WebhookEndpoint
) -> None:
    registration.sync()
    WebhookEndpoint.objects.update(state_changed_at=clock.after(-3600))
    refused(ago=timedelta(minutes=10))
    switched_off.refresh_from_db()

    assert registration.failures(switched_off).refused == 0
    assert registration.failures(switched_off, since=clock.after(-600)).refused == 1


def test_time_of_the_state_is_that_of_its_change(
    google: EmulatorServer, endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def since() -> Any:
        endpoint.refresh_from_db()
        return endpoint.state_changed_at

    made = since()
    assert timezone.now() - made < timedelta(minutes=1)
    registration.sync()
    registration.enable(endpoint)
    assert since() == made
    registration.disable(endpoint)
    disabled = since()
    assert disabled > made
    registration.disable(endpoint)
    assert since() == disabled
    registration.enable(endpoint)
    assert since() > disabled

    listing = gateway.list_webhooks(api_key_name="default")
    for update_time in (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), None):
        WebhookEndpoint.objects.update(state="enabled", state_changed_at=made)
        off = replace(listing[0], state=OFF, update_time=update_time)
        monkeypatch.setattr(gateway, "list_webhooks", lambda off=off, **_: [off])
        registration.sync()
        noticed = since()
        registration.sync()
        assert since() == noticed
        assert noticed > disabled if update_time is None else clock.aware(noticed) == update_time


def test_time_that_was_not_kept_is_taken_from_google(
    google: EmulatorServer, switched_off: WebhookEndpoint
) -> None:
    WebhookEndpoint.objects.update(state=OFF, state_changed_at=None)
    assert registration.failures(switched_off).in_words

    registration.sync()

    switched_off.refresh_from_db()
    hook = google.emulator.webhooks.get(switched_off.remote_id)
    assert clock.aware(switched_off.state_changed_at) == hook.updated


def test_every_code_of_an_answer_has_its_advice() -> None:
    codes = {code for _, code in codes_in_the_source()}

    assert set(ADVICE) == codes - {"method_not_allowed", "database_unavailable"}


# Audiences


def test_audiences_are_changed_here_alone(
    google: EmulatorServer, endpoint: WebhookEndpoint
) -> None:
    google.emulator.faults.fail_next(status=503, times=9)

    told = run("update", "acme", "--audience", "one", "--audience", " two ", "--json")

    assert json.loads(told)["audiences"] == ["one", "two"]
    endpoint.refresh_from_db()
    assert endpoint.audiences == ["one", "two"]
    run("update", "acme", "--no-audiences")
    endpoint.refresh_from_db()
    assert endpoint.audiences == []
    assert len(google.emulator.faults) == 9


def test_audiences_are_kept_when_google_refuses_the_rest(
    google: EmulatorServer, endpoint: WebhookEndpoint
) -> None:
    google.emulator.faults.fail_next(status=403)

    with pytest.raises(RegistrationError, match="did not change"):
        registration.update(endpoint, name="new", audiences=["one"])

    endpoint.refresh_from_db()
    assert (endpoint.name, endpoint.audiences) == ("acme", [])
