"""Files and inline answers of the Gemini API, fetched with the official SDK."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("google.genai", reason="needs google-genai, extra genai")

from django.http import HttpResponse

from gemini_webhooks import gateway, results
from gemini_webhooks.emulator import answers, server
from gemini_webhooks.emulator.endings import finish
from gemini_webhooks.emulator.resources import Batch
from gemini_webhooks.exceptions import GatewayError
from gemini_webhooks.gateway import RemoteFile
from gemini_webhooks.models import Job, ResultFile, WebhookEndpoint
from tests.results.conftest import KEY

pytestmark = pytest.mark.django_db

LINES = [{"key": "a", "response": {"text": "é"}}, {"key": "b", "error": {"code": 3}}]
CONTENT = answers.jsonl(LINES)


def fetched(result: ResultFile) -> results.FetchOutcome:
    outcome = results.fetch(result.pk)
    result.refresh_from_db()
    return outcome


def content_of(result: ResultFile) -> bytes:
    with result.file.open("rb") as file:
        return file.read()


@pytest.fixture
def file(google: Any) -> Any:
    return google.emulator.files.generate(CONTENT, "application/jsonl")


def test_a_file_is_stored_and_its_rows_counted(file, result_of):
    result = result_of(f"files/{file.id}")
    assert fetched(result).state == "complete"
    assert content_of(result) == CONTENT
    assert (result.size, result.rows, result.failed_rows) == (len(CONTENT), 2, 1)
    assert list(result.rows()) == LINES


def test_a_video_is_fetched_by_its_url(google, result_of):
    video = google.emulator.files.generate(answers.VIDEO, "video/mp4")
    result = result_of(video.as_json()["downloadUri"])
    assert fetched(result).state == "complete"
    assert content_of(result) == answers.VIDEO
    assert (result.rows, result.content_type) == (0, "video/mp4")


def test_a_url_of_the_emulator_is_accepted_while_it_is_the_sdks_base_url(google, file, result_of):
    result = result_of(f"{google.url}/v1beta/files/{file.id}:download?alt=media")
    assert fetched(result).state == "complete"


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/v1beta/files/abc:download?alt=media",
        "https://generativelanguage.googleapis.com@evil.example/v1beta/files/abc",
        "https://generativelanguage.googleapis.com.evil.example/files/abc",
        "https://generativelanguage.googleapis.com:8443/v1beta/files/abc",
        "http://generativelanguage.googleapis.com/v1beta/files/abc",
        "http://169.254.169.254/files/abc",
    ],
)
def test_a_foreign_host_is_refused_without_a_request(google, result_of, uri):
    result = result_of(uri)
    assert fetched(result).state == "failed"
    assert "is not a host of Google's" in result.error
    assert google.requests == []


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://files/abc",
        "file:///etc/passwd",
        "https://[broken/files/abc",
        "https://generativelanguage.googleapis.com:port/files/abc",
        "https://generativelanguage.googleapis.com/v1beta/models",
        "files/../webhooks",
        "files/",
        "batches/a/b",
        "operations/1",
        "gs://",
        "gs://results",
        "",
    ],
)
def test_an_unknown_uri_is_given_up_without_a_request(google, result_of, uri):
    result = result_of(uri)
    assert fetched(result).state == "failed"
    assert google.requests == []


def test_a_missing_file_is_given_up(google, result_of):
    result = result_of("files/nothing")
    assert fetched(result).state == "failed"
    assert "files/nothing does not exist" in result.error


def test_a_wrong_key_is_given_up_and_named_by_its_name_only(file, result_of, site):
    site["API_KEYS"] = {"default": "wrong-secret-key"}
    result = result_of(f"files/{file.id}")
    assert fetched(result).state == "failed"
    assert "'default'" in result.error
    assert "wrong-secret-key" not in result.error


def test_a_missing_key_is_given_up_and_says_where_it_belongs(file, result_of, site):
    site["API_KEYS"] = {"other": KEY}
    result = result_of(f"files/{file.id}")
    assert fetched(result).state == "failed"
    assert "GEMINI_WEBHOOKS['API_KEYS']" in result.error


def test_the_key_of_the_endpoint_is_used(file, result_of, site):
    site["API_KEYS"] = {"default": "wrong", "tenant": KEY}
    result = result_of(f"files/{file.id}")
    result.delivery.endpoint = WebhookEndpoint.objects.create(slug="t", api_key_name="tenant")
    result.delivery.save()
    assert fetched(result).state == "complete"


def test_the_key_that_started_the_job_is_used(file, result_of, site):
    site["API_KEYS"] = {"default": "wrong", "tenant": KEY}
    result = result_of(f"files/{file.id}", resource_id="batches/b1")
    Job.objects.create(
        resource_id="b1", kind="batch", api_key_name="tenant", due_at=result.created_at
    )
    assert fetched(result).state == "complete"


def test_an_api_out_of_reach_is_tried_again(google, file, result_of, monkeypatch):
    result = result_of(f"files/{file.id}")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    assert fetched(result).state == "retrying"
    assert "no usable answer" in result.error
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", google.url)
    assert fetched(result).state == "complete"


def test_a_file_whose_metadata_is_refused_is_downloaded_all_the_same(
    google, result_of, monkeypatch
):
    made = google.emulator.files.generate(CONTENT, "application/jsonl")

    def refused(**_: Any) -> Any:
        raise GatewayError("not allowed", status=403)

    monkeypatch.setattr(gateway, "get_file", refused)
    result = result_of(f"files/{made.id}")
    assert fetched(result).state == "complete"
    assert content_of(result) == CONTENT


@pytest.mark.parametrize("digest", [bytes(32), bytes(32).hex().encode()], ids=["raw", "hex"])
def test_content_that_does_not_match_its_sha256_is_never_stored(google, result_of, stored, digest):
    made = google.emulator.files.generate(CONTENT, "application/jsonl")
    wrong = {**made.as_json(), "sha256Hash": base64.b64encode(digest).decode()}
    object.__setattr__(made, "as_json", lambda: wrong)
    result = result_of(f"files/{made.id}")
    assert fetched(result).state == "retrying"
    assert "sha256" in result.error
    assert stored() == []


def test_a_digest_in_an_unknown_form_is_not_held_against_the_file(google, result_of):
    made = google.emulator.files.generate(CONTENT, "application/jsonl")
    odd = {**made.as_json(), "sha256Hash": "no digest"}
    object.__setattr__(made, "as_json", lambda: odd)
    assert fetched(result_of(f"files/{made.id}")).state == "complete"


def test_a_file_that_grows_beyond_the_limit_is_stopped(google, result_of, site, monkeypatch):
    made = google.emulator.files.generate(b"x" * 5_000_000, "text/plain")
    unknown = RemoteFile(size=None, sha256="", content_type="")
    monkeypatch.setattr(gateway, "get_file", lambda **_: unknown)
    site["MAX_RESULT_BYTES"] = 1_500_000
    result = result_of(f"files/{made.id}")
    assert fetched(result).state == "failed"
    assert "MAX_RESULT_BYTES" in result.error


def test_a_redirect_to_another_host_is_not_followed(google, file, result_of, monkeypatch):
    elsewhere = google.url.replace("127.0.0.1", "localhost")
    answer = server.respond

    def redirecting(request: Any) -> Any:
        response = answer(request)
        if request.path.endswith(":download") and request.get_host().startswith("127"):
            response.close()
            return HttpResponse(
                status=302, headers={"Location": elsewhere + request.get_full_path()}
            )
        return response

    monkeypatch.setattr(server, "respond", redirecting)
    result = result_of(f"files/{file.id}")
    assert fetched(result).state == "retrying"
    assert "another host" in result.error
    assert not any(seen.host.startswith("localhost") for seen in google.requests)


def batch(google: Any, output: str, *texts: str, metadata: dict[str, str] | None = None) -> str:
    """Run a batch in the emulator, without its HTTP side."""
    emulator = google.emulator
    emulator.options = replace(emulator.options, output=output)
    made = emulator.batches.add(
        Batch(
            model="models/gemini-flash-latest",
            display_name="",
            webhook_config=None,
            requests=[
                {
                    "key": f"request-{number}",
                    "request": {"contents": [{"parts": [{"text": text}]}]},
                    "metadata": metadata or {},
                }
                for number, text in enumerate(texts, 1)
            ],
        )
    )
    finish(emulator, made)
    return f"batches/{made.id}"


def test_inline_answers_become_rows_in_the_order_of_the_requests(google, result_of):
    result = result_of(batch(google, "inline", "one", "fail-row", "three"))
    assert fetched(result).state == "complete"
    rows = list(result.rows())
    assert [row["key"] for row in rows] == ["request-1", "request-2", "request-3"]
    texts = [
        row["response"]["candidates"][0]["content"]["parts"][0]["text"]
        for row in rows
        if "response" in row
    ]
    assert texts == ["Echo: one", "Echo: three"]
    assert rows[1]["error"]["message"].startswith("The request asks to fail")
    assert (result.rows, result.failed_rows) == (3, 1)
    assert result.size == len(content_of(result))


def test_inline_answers_keep_the_key_and_the_metadata_of_the_request(google, result_of):
    result = result_of(batch(google, "inline", "one", metadata={"key": "k", "lot": "7"}))
    fetched(result)
    [row] = result.rows()
    assert (row["key"], row["metadata"]) == ("k", {"key": "k", "lot": "7"})


def test_a_batch_that_has_its_output_in_a_file_is_followed_there(google, result_of):
    result = result_of(batch(google, "files", "one"))
    assert fetched(result).state == "complete"
    [row] = result.rows()
    assert json.dumps(row).count("Echo: one") == 1


def test_a_batch_without_output_yet_is_tried_again(google, result_of):
    made = google.emulator.batches.add(
        Batch(model="models/m", display_name="", webhook_config=None, requests=None)
    )
    result = result_of(f"batches/{made.id}")
    assert fetched(result).state == "retrying"
    assert "no output yet" in result.error


def test_a_batch_that_ended_without_output_is_given_up(google, result_of):
    made = google.emulator.batches.add(
        Batch(model="models/m", display_name="", webhook_config=None, requests=None)
    )
    made.end("cancelled")
    result = result_of(f"batches/{made.id}")
    assert fetched(result).state == "failed"
    assert "has no output" in result.error
