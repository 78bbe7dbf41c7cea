"""The whole way: the official client submits, the emulator delivers, receivers run, files come."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from gemini_webhooks import gateway, jobs, processing, registration, signals
from gemini_webhooks.emulator.server import EmulatorServer
from gemini_webhooks.models import Job, ReceiverRun, ResultFile, WebhookDelivery, WebhookEndpoint
from gemini_webhooks.processing import fetching
from tests.conftest import every_database

genai = pytest.importorskip("google.genai", reason="needs the extra [genai]")
pytest.importorskip("google.cloud.storage", reason="needs the extra [gcs]")

KEY = "test-key"
BUCKET = "gemini-emulator"


class Site:
    """A running site, a running emulator, and the official client between them."""

    def __init__(self, emulator: EmulatorServer, address: str) -> None:
        self.emulator = emulator.emulator
        self.address = address
        self.client = genai.Client(api_key=KEY, http_options={"base_url": emulator.url})

    def submit(self, rows: int = 3, **config: Any) -> Any:
        requests = [
            {
                "contents": [{"role": "user", "parts": [{"text": f"fail-row {n}"[5 * (n > 0) :]}]}],
                "metadata": {"key": f"row-{n}"},
            }
            for n in range(rows)
        ]
        batch = self.client.batches.create(
            model="gemini-2.5-flash", src=requests, config=config or None
        )
        jobs.track(batch)
        return batch

    def wait(self) -> None:
        assert self.emulator.outbox.wait_idle(20)

    def statuses(self) -> list[int | None]:
        return [tried.status for tried in self.emulator.outbox.tries]


@pytest.fixture(params=["gcs", "files", "inline"])
def output(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def site(
    settings: Any,
    live_server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    output: str,
) -> Iterator[Site]:
    address = live_server.url
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    settings.MEDIA_ROOT = tmp_path / "media"
    with EmulatorServer(
        job_seconds=0, api_key=KEY, retry_base=0.05, duplicates=1.0, output=output, bucket=BUCKET
    ) as running:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.url)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        settings.GEMINI_WEBHOOKS = {
            "PUBLIC_BASE_URL": address,
            "AUDIENCES": [f"{address}/webhooks/gemini/"],
            "JWKS_URL": f"{running.url}/.well-known/jwks.json",
            "API_KEYS": {"default": KEY},
            "ALLOWED_BUCKETS": [BUCKET],
            "RETRY_BASE_SECONDS": 0,
        }
        made = Site(running, address)
        yield made
        made.client.close()
        gateway._client.cache_clear()
        gc.collect()


class Rows:
    """A ``result_ready`` receiver that reads the file."""

    def __init__(self) -> None:
        self.files: list[list[dict[str, Any]]] = []
        self.events: list[Any] = []

    def __call__(self, event: Any, result: ResultFile, **_: Any) -> None:
        self.events.append(event)
        self.files.append(list(result.rows()))


@every_database
@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_batch_to_rows(database: str, site: Site, output: str, mode: str) -> None:
    signals.result_ready.connect(rows := Rows())
    if mode == "static":
        registration.create("acme")
        batch = site.submit()
    else:
        batch = site.submit(webhook_config=jobs.webhook_config({"tenant": "acme"}))
    site.wait()
    call_command("gemini_webhooks", "drain")

    assert site.statuses() == [200, 200]  # the event and its duplicate
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.duplicate_count) == ("processed", 1)
    assert delivery.signing == ("hmac" if mode == "static" else "jwt")
    assert f"batches/{delivery.resource_id}" == batch.name
    [read] = rows.files
    assert [row["key"] for row in read] == ["row-0", "row-1", "row-2"]
    assert "error" in read[0]
    assert "response" in read[1]
    result = delivery.results.get()
    assert (result.state, result.rows, result.failed_rows) == ("complete", 3, 1)
    assert result.size == result.bytes_done == result.file.size
    assert bool(result.crc32c) is (output == "gcs")  # the only one that declares it
    assert rows.events[0].user_metadata == ({} if mode == "static" else {"tenant": "acme"})
    assert Job.objects.get().delivery == delivery
    if mode == "static":
        endpoint = WebhookEndpoint.objects.get()
        assert endpoint.last_delivery_at == delivery.received_at
        assert endpoint.signing_secrets.get().last_used_at == delivery.received_at


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("output", ["gcs"], indirect=True)
class TestWithAFile:
    """What happens around the file; where it comes from does not matter here."""

    def test_bucket_that_is_not_allowed(self, site: Site, settings: Any) -> None:
        settings.GEMINI_WEBHOOKS["ALLOWED_BUCKETS"] = []
        signals.result_ready.connect(rows := Rows())
        failures: list[Any] = []
        signals.delivery_failed.connect(
            lambda **kw: failures.append(kw["run"]), weak=False, dispatch_uid="t"
        )
        site.submit(webhook_config=jobs.webhook_config())
        site.wait()
        call_command("gemini_webhooks", "drain")
        signals.delivery_failed.disconnect(dispatch_uid="t")

        assert rows.files == []
        result = ResultFile.objects.get()
        assert result.state == "failed"
        assert BUCKET in result.error
        assert "ALLOWED_BUCKETS" in result.error
        run = ReceiverRun.objects.get()
        assert (run.state, failures) == ("dead", [run])
        assert WebhookDelivery.objects.get().state == "failed"

    def test_receivers_of_the_event_do_not_wait_for_the_file(self, site: Site) -> None:
        seen: list[str] = []

        def at_once(delivery: WebhookDelivery, **_: Any) -> None:
            seen.append(delivery.results.get().state)

        signals.batch_succeeded.connect(at_once)
        signals.result_ready.connect(rows := Rows())
        site.submit(webhook_config=jobs.webhook_config())
        site.wait()
        delivery = WebhookDelivery.objects.get()
        for handoff in processing.plan(delivery.pk):
            if handoff.kind == "run":
                processing.run(handoff.id)

        assert seen == ["pending"]
        assert rows.files == []
        delivery.refresh_from_db()
        assert delivery.state == "processing"
        call_command("gemini_webhooks", "drain")
        delivery.refresh_from_db()
        assert (len(rows.files), delivery.state) == (1, "processed")

    def test_worker_that_died_after_the_fetch_is_mended(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        signals.result_ready.connect(rows := Rows())
        site.submit(webhook_config=jobs.webhook_config())
        site.wait()
        processing.plan(WebhookDelivery.objects.get().pk)
        with monkeypatch.context() as dying:
            dying.setattr(fetching, "after_fetch", lambda _: [])
            processing.fetch_result(ResultFile.objects.get().pk)
        assert ResultFile.objects.get().state == "complete"

        call_command("gemini_webhooks", "drain")

        assert len(rows.files) == 1
        assert WebhookDelivery.objects.get().state == "processed"

    def test_fetching_can_be_switched_off(self, site: Site, settings: Any) -> None:
        settings.GEMINI_WEBHOOKS["FETCH_RESULTS"] = False
        signals.result_ready.connect(rows := Rows())
        site.submit(webhook_config=jobs.webhook_config())
        site.wait()
        call_command("gemini_webhooks", "drain")

        assert not ResultFile.objects.exists()
        assert rows.files == []
        assert WebhookDelivery.objects.get().state == "ignored"

    def test_ping_and_what_the_command_says(
        self, site: Site, capsys: pytest.CaptureFixture[str]
    ) -> None:
        call_command("gemini_webhooks", "create", "acme", "--event", "batch.succeeded")
        call_command("gemini_webhooks", "ping", "acme")
        site.wait()

        assert f"uri: {site.address}/webhooks/gemini/acme" in capsys.readouterr().out
        assert set(site.statuses()) == {200}
        assert WebhookDelivery.objects.get().endpoint.slug == "acme"

    def test_site_that_was_down_gets_the_event_on_retry(self, site: Site, settings: Any) -> None:
        settings.GEMINI_WEBHOOKS["AUDIENCES"] = []
        site.submit(webhook_config=jobs.webhook_config())
        deadline = time.monotonic() + 20
        while not site.emulator.outbox.tries:
            assert time.monotonic() < deadline, "no delivery was tried"
            time.sleep(0.01)
        settings.GEMINI_WEBHOOKS["AUDIENCES"] = [f"{site.address}/webhooks/gemini/"]
        site.wait()

        assert site.statuses()[0] == 401
        assert site.statuses()[-1] == 200
        assert WebhookDelivery.objects.count() == 1
