"""Objects in Cloud Storage, fetched over HTTP with the official client."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.files.storage import FileSystemStorage, storages
from django.db import OperationalError
from urllib3.exceptions import ReadTimeoutError

pytest.importorskip("google.cloud.storage", reason="needs google-cloud-storage, extra gcs")
pytest.importorskip("google.genai", reason="needs google-genai, extra genai")

from gemini_webhooks import clock, results
from gemini_webhooks.models import ResultFile
from gemini_webhooks.results import claims, gcs
from tests.results.conftest import BUCKET

pytestmark = pytest.mark.django_db

LINES = [
    {"key": "a", "response": {"text": "one"}},
    {"key": "b", "error": {"code": 3, "message": "no"}},
    {"key": "c", "response": {"text": "three"}},
]
CONTENT = b"".join(json.dumps(line).encode() + b"\n" for line in LINES)
#: Some megabytes, so that a download can be cut in the middle.
BIG = b"".join(
    b'{"key": "%d", "response": {"text": "%s"}}\n' % (n, b"x" * 1000) for n in range(4000)
)


def put(google: Any, content: bytes, name: str = "batches/1/output.jsonl") -> str:
    return google.emulator.storage.put(BUCKET, name, content, "application/jsonl")


def fetched(result: ResultFile) -> results.FetchOutcome:
    """Fetch, and reload the row."""
    outcome = results.fetch(result.pk)
    result.refresh_from_db()
    return outcome


def test_an_object_is_stored_with_its_checksum_and_its_rows_counted(google, result_of, spooled):
    result = result_of(put(google, CONTENT))

    assert fetched(result) == results.FetchOutcome(state="complete")

    assert result.state == ResultFile.State.COMPLETE
    assert result.file.read() == CONTENT
    result.file.close()
    assert (result.size, result.bytes_done) == (len(CONTENT), len(CONTENT))
    assert (result.rows, result.failed_rows) == (3, 1)
    assert result.crc32c == google.emulator.storage.get(BUCKET, "batches/1/output.jsonl").crc32c
    assert result.content_type == "application/jsonl"
    assert list(result.rows()) == LINES
    assert result.finished_at is not None
    assert spooled() == []


def test_the_stored_name_tells_the_delivery_and_cannot_be_guessed(google, result_of):
    result = result_of(put(google, CONTENT, "../odd name;.jsonl"))
    fetched(result)
    month = clock.aware(result.created_at).strftime("%Y/%m")
    assert result.file.name == (
        f"gemini-results/{month}/{result.delivery_id}-{result.claim}-odd_name_.jsonl"
    )


def test_a_cut_connection_costs_only_what_had_not_come(google, result_of, spooled):
    result = result_of(put(google, BIG))
    google.emulator.storage.cut_next(after_bytes=2_000_000)

    outcome = fetched(result)

    assert outcome.state == "retrying"
    assert result.state == ResultFile.State.RETRYING
    assert result.next_attempt_at is not None
    [part] = spooled()
    came = part.stat().st_size
    assert 0 < came < len(BIG)

    assert fetched(result).state == "complete"

    assert [seen.range for seen in google.downloads] == ["", f"bytes={came}-"]
    assert result.file.read() == BIG
    result.file.close()
    assert result.attempts == 2
    assert result.error == ""


@pytest.mark.parametrize("after_bytes", [0, 1, len(CONTENT) // 2, len(CONTENT) - 1])
def test_wherever_it_is_cut_the_whole_file_comes_in_the_end_and_no_half_one_before(
    google, result_of, spooled, stored, after_bytes
):
    result = result_of(put(google, CONTENT))
    google.emulator.storage.cut_next(after_bytes=after_bytes)

    assert fetched(result).state == "retrying"
    assert stored() == []
    assert not result.file

    assert fetched(result).state == "complete"
    assert result.file.read() == CONTENT
    result.file.close()
    assert spooled() == []


def test_a_part_file_that_was_spoiled_on_the_disk_is_not_taken_for_the_beginning(
    google, result_of, spooled, stored
):
    result = result_of(put(google, BIG))
    google.emulator.storage.cut_next(after_bytes=2_000_000)
    fetched(result)
    [part] = spooled()
    with part.open("r+b") as file:
        file.write(b"spoiled")

    assert fetched(result).state == "retrying"
    assert "crc32c" in result.error
    assert stored() == []
    assert fetched(result).state == "complete"
    assert result.file.read() == BIG
    result.file.close()


def test_an_object_that_disappears_in_the_middle_is_given_up_and_leaves_nothing(
    google, result_of, spooled, stored
):
    result = result_of(put(google, BIG))
    google.emulator.storage.cut_next(after_bytes=2_000_000)
    fetched(result)
    google.emulator.storage.delete(BUCKET, "batches/1/output.jsonl")

    assert fetched(result).state == "failed"
    assert "does not exist, or no longer" in result.error
    assert [*stored(), *spooled()] == []


def test_an_object_that_changed_meanwhile_is_fetched_from_its_start(google, result_of, spooled):
    result = result_of(put(google, BIG))
    google.emulator.storage.cut_next(after_bytes=2_000_000)
    fetched(result)
    other = BIG.replace(b"x", b"y")
    put(google, other)

    assert fetched(result).state == "complete"

    assert [seen.range for seen in google.downloads] == ["", ""]
    assert result.file.read() == other
    result.file.close()
    assert spooled() == []


def test_an_object_that_changes_between_metadata_and_download_is_not_mixed(
    google, result_of, monkeypatch
):
    result = result_of(put(google, CONTENT))
    renew = claims.renew

    def changing(*args: Any, **kwargs: Any) -> None:
        google.emulator.storage.touch(BUCKET, "batches/1/output.jsonl")
        renew(*args, **kwargs)

    monkeypatch.setattr(claims, "renew", changing)
    assert fetched(result).state == "retrying"
    assert "changed while it was being read" in result.error


def test_content_with_a_wrong_checksum_is_never_stored(google, result_of, stored, site):
    site["MAX_ATTEMPTS"] = 2
    result = result_of(put(google, CONTENT))
    google.emulator.storage.corrupt_checksum(BUCKET, "batches/1/output.jsonl")

    assert fetched(result).state == "retrying"
    assert "crc32c" in result.error
    assert fetched(result).state == "failed"

    assert result.state == ResultFile.State.FAILED
    assert [seen.range for seen in google.downloads] == ["", ""]
    assert not result.file
    assert stored() == []


def test_a_missing_object_is_given_up_at_once(google, result_of):
    result = result_of(f"gs://{BUCKET}/nothing.jsonl")
    assert fetched(result).state == "failed"
    assert "gs://results/nothing.jsonl does not exist" in result.error
    assert result.attempts == 1


@pytest.mark.parametrize(
    ("status", "advice"), [(403, "Storage Object Viewer"), (401, "credentials")]
)
def test_a_forbidden_object_is_given_up_and_says_what_to_grant(google, result_of, status, advice):
    result = result_of(put(google, CONTENT))
    google.emulator.storage.fail_next(status)
    assert fetched(result).state == "failed"
    assert advice in result.error


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_trouble_at_google_is_tried_again_and_the_error_forgotten(google, result_of, status):
    result = result_of(put(google, CONTENT))
    google.emulator.storage.fail_next(status)

    assert fetched(result).state == "retrying"
    assert f"HTTP status {status}" in result.error
    assert fetched(result).state == "complete"

    assert result.error == ""


def test_google_out_of_reach_is_tried_again(google, result_of, monkeypatch):
    result = result_of(put(google, CONTENT))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    assert fetched(result).state == "retrying"
    assert result.error


def test_missing_credentials_are_given_up_and_told(google, result_of, monkeypatch):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    result = result_of(put(google, CONTENT))
    assert fetched(result).state == "failed"
    assert "Application Default Credentials" in result.error


def test_a_refused_access_token_is_tried_again(google, result_of, monkeypatch, tmp_path):
    account = {
        "type": "service_account",
        "client_email": "site@project.example",
        "private_key": _private_key(),
        "token_uri": f"{google.url}/token",
    }
    path = tmp_path / "account.json"
    path.write_text(json.dumps(account))
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("API_ENDPOINT_OVERRIDE", google.url)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    result = result_of(put(google, CONTENT))
    assert fetched(result).state == "retrying"
    assert "no access token" in result.error


def _private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.mark.parametrize(
    ("wanted", "is_mtls", "expected"),
    [
        (None, True, gcs.MTLS_HOST),
        (None, False, gcs.HOST),
        ("auto", True, gcs.MTLS_HOST),
        ("auto", False, gcs.HOST),
        ("always", False, gcs.MTLS_HOST),
        ("never", True, gcs.HOST),
    ],
)
def test_the_host_for_client_certificates_is_taken_when_the_library_would(
    monkeypatch, wanted, is_mtls, expected
):
    monkeypatch.delenv(gcs.MTLS_VARIABLE, raising=False)
    if wanted:
        monkeypatch.setenv(gcs.MTLS_VARIABLE, wanted)
    assert gcs._host(gcs.HOST, is_mtls=is_mtls) == expected
    assert gcs._host("https://storage.example", is_mtls=is_mtls) == "https://storage.example"


class Stalling:
    """An answer of which so many full reads come, and then no more."""

    status_code = 200

    def __init__(self, reads: int) -> None:
        self.raw = self
        self.left = reads

    def read(self, size: int, *, decode_content: bool) -> bytes:
        assert not decode_content
        if not self.left:
            raise ReadTimeoutError(None, "", "stalled")  # type: ignore[arg-type]
        self.left -= 1
        return b"x" * size


class Written(list[int]):
    def write(self, piece: bytes) -> int:
        self.append(len(piece))
        return len(piece)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(60, [1, 2, 4, 8, 16, 16, 16]), (-1, [1, 1, 1, 1, 1, 1, 1])]
)
def test_reads_grow_as_long_as_they_are_quick(monkeypatch, seconds, expected):
    monkeypatch.setattr(gcs, "QUICK_SECONDS", seconds)
    written = Written()
    with pytest.raises(ReadTimeoutError):
        gcs._copy(Stalling(reads=7), written)
    assert written == [size * gcs.LEAST_BYTES for size in expected]


def test_what_the_sink_refused_is_not_handed_on_again():
    class Refusing(Written):
        def write(self, piece: bytes) -> int:
            super().write(piece)
            raise claims.ClaimLost("gone")

    written = Refusing()
    with pytest.raises(claims.ClaimLost):
        gcs._copy(Stalling(reads=10), written)
    assert len(written) == 1


def test_the_wait_grows_with_the_attempts_and_stays_below_the_ceiling(google, result_of, site):
    site.update(RETRY_BASE_SECONDS=10, RETRY_MAX_SECONDS=15)
    result = result_of(put(google, CONTENT))
    for attempts, ceiling in ((0, 10), (3, 15)):
        ResultFile.objects.filter(pk=result.pk).update(
            attempts=attempts, next_attempt_at=result.created_at
        )
        google.emulator.storage.fail_next(503)
        outcome = fetched(result)
        assert outcome.state == "retrying"
        assert 0 <= outcome.retry_in <= ceiling
        assert result.next_attempt_at <= clock.after(ceiling)


def test_after_the_last_attempt_it_has_failed(google, result_of, site):
    site["MAX_ATTEMPTS"] = 1
    result = result_of(put(google, CONTENT))
    google.emulator.storage.fail_next(503)
    assert fetched(result) == results.FetchOutcome(state="failed")
    assert result.state == ResultFile.State.FAILED


def test_a_file_that_kills_its_workers_is_given_up(google, result_of, site):
    site["MAX_ATTEMPTS"] = 3
    result = result_of(put(google, CONTENT))
    ResultFile.objects.filter(pk=result.pk).update(
        attempts=3, state=ResultFile.State.FETCHING, lease_until=clock.after(-1)
    )
    assert fetched(result).state == "failed"
    assert "no worker survived" in result.error


def test_a_bucket_that_is_not_allowed_is_not_even_asked_for(google, result_of, site):
    uri = put(google, CONTENT)
    site["ALLOWED_BUCKETS"] = ["another"]
    result = result_of(uri)
    assert fetched(result).state == "failed"
    assert BUCKET in result.error
    assert "ALLOWED_BUCKETS" in result.error
    assert google.requests == []


def test_a_storage_url_is_read_through_the_bucket_list(google, result_of):
    put(google, CONTENT)
    allowed = result_of(f"https://storage.googleapis.com/{BUCKET}/batches/1/output.jsonl")
    refused = result_of("https://storage.googleapis.com/another/output.jsonl")
    assert fetched(allowed).state == "complete"
    assert fetched(refused).state == "failed"
    assert "another" in refused.error


def test_a_file_that_says_it_is_too_large_is_not_begun(google, result_of, site):
    site["MAX_RESULT_BYTES"] = len(CONTENT) - 1
    result = result_of(put(google, CONTENT))
    assert fetched(result).state == "failed"
    assert "MAX_RESULT_BYTES" in result.error
    assert google.downloads == []


def test_a_file_as_large_as_allowed_is_fetched(google, result_of, site):
    site["MAX_RESULT_BYTES"] = len(CONTENT)
    assert fetched(result_of(put(google, CONTENT))).state == "complete"


def test_an_empty_object_is_a_result_without_rows(google, result_of):
    result = result_of(put(google, b""))
    assert fetched(result).state == "complete"
    assert (result.size, result.rows) == (0, 0)


def test_rows_of_a_video_are_not_counted(google, result_of):
    result = result_of(google.emulator.storage.put(BUCKET, "v.mp4", b"a\nb\n", "video/mp4"))
    assert fetched(result).state == "complete"
    assert result.rows == 0


def test_a_complete_or_failed_file_is_not_fetched_again(google, result_of):
    complete, failed = result_of(put(google, CONTENT)), result_of(f"gs://{BUCKET}/nothing")
    fetched(complete)
    fetched(failed)
    google.requests.clear()
    assert fetched(complete).state == "complete"
    assert fetched(failed).state == "failed"
    assert google.requests == []


def test_a_file_that_another_worker_fetches_is_left_alone(google, result_of):
    result = result_of(put(google, CONTENT))
    assert claims.take(result.pk) is not None
    assert fetched(result).state == "busy"
    assert google.requests == []


def test_a_file_that_is_not_due_is_left_alone(google, result_of):
    result = result_of(put(google, CONTENT))
    ResultFile.objects.update(next_attempt_at=clock.after(60))
    assert fetched(result).state == "busy"


def test_the_file_of_a_dead_worker_is_taken_over(google, result_of):
    result = result_of(put(google, CONTENT))
    claims.take(result.pk)
    ResultFile.objects.update(lease_until=clock.after(-1))
    assert fetched(result).state == "complete"
    assert result.attempts == 2


class TakenOverWhileStoring(FileSystemStorage):
    def _save(self, name: str, content: Any) -> str:
        saved = super()._save(name, content)
        ResultFile.objects.update(claim="somebody-else")
        return saved


def test_a_lost_claim_leaves_the_row_and_the_storage_alone(google, result_of, settings, stored):
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": f"{__name__}.TakenOverWhileStoring"},
    }
    result = result_of(put(google, CONTENT))
    assert fetched(result).state == "busy"
    assert result.claim == "somebody-else"
    assert result.state == ResultFile.State.FETCHING
    assert not result.file
    assert stored() == []


def test_a_claim_lost_during_the_download_ends_it(google, result_of, monkeypatch, stored):
    result = result_of(put(google, BIG))
    take = claims.take

    def taken_over(result_id: int) -> Any:
        held = take(result_id)
        ResultFile.objects.update(claim="somebody-else")
        return held

    monkeypatch.setattr(claims, "take", taken_over)
    assert fetched(result).state == "busy"
    assert google.downloads == []
    assert stored() == []


def test_a_claim_lost_in_the_middle_of_the_download_ends_it_there(
    google, result_of, monkeypatch, stored, spooled
):
    result = result_of(put(google, BIG))
    renew = claims.renew

    def losing(held: Any, *, bytes_done: int, **kwargs: Any) -> None:
        if bytes_done > 1_000_000:
            ResultFile.objects.update(claim="somebody-else")
        renew(held, bytes_done=bytes_done, **kwargs)

    monkeypatch.setattr(claims, "renew", losing)
    monkeypatch.setattr("gemini_webhooks.results.fetching.PROGRESS_SECONDS", 0)
    assert fetched(result).state == "busy"
    assert result.state == ResultFile.State.FETCHING
    assert result.bytes_done < len(BIG)
    assert stored() == []
    assert len(spooled()) == 1, "whoever has it now may go on from there"


def test_a_database_that_is_away_for_a_moment_does_not_end_the_download(
    google, result_of, monkeypatch
):
    result = result_of(put(google, BIG))
    renew = claims.renew

    def away(held: Any, *, bytes_done: int, **kwargs: Any) -> None:
        if 0 < bytes_done < len(BIG):
            raise OperationalError("gone away")
        renew(held, bytes_done=bytes_done, **kwargs)

    monkeypatch.setattr(claims, "renew", away)
    monkeypatch.setattr("gemini_webhooks.results.fetching.PROGRESS_SECONDS", 0)
    assert fetched(result).state == "complete"


def test_an_object_without_a_usable_checksum_is_held_to_its_size(google, result_of, monkeypatch):
    result = result_of(put(google, CONTENT))
    found = google.emulator.storage.get(BUCKET, "batches/1/output.jsonl")
    odd = replace(found, crc32c="not base64")
    monkeypatch.setattr(google.emulator.storage, "get", lambda *_: odd)
    assert fetched(result).state == "complete"
    assert result.crc32c == ""


class FullDisk(FileSystemStorage):
    def _save(self, name: str, content: Any) -> str:
        super()._save(name, content)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_storage_keeps_no_half_file_and_is_tried_again(
    google, result_of, settings, stored, spooled
):
    original = settings.STORAGES
    settings.STORAGES = {**original, "default": {"BACKEND": f"{__name__}.FullDisk"}}
    result = result_of(put(google, CONTENT))

    assert fetched(result).state == "retrying"
    assert "No space left on device" in result.error
    assert stored() == []
    assert len(spooled()) == 1

    settings.STORAGES = original
    assert fetched(result).state == "complete"
    assert len(google.downloads) == 1, "the part file was whole already"


def test_the_storage_of_the_setting_is_used(google, result_of, settings, site, tmp_path):
    settings.STORAGES = {
        **settings.STORAGES,
        "results": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": tmp_path / "elsewhere"},
        },
    }
    site["RESULT_STORAGE"] = "results"
    result = result_of(put(google, CONTENT))
    fetched(result)
    assert storages["results"].exists(result.file.name)
    assert (tmp_path / "elsewhere" / result.file.name).read_bytes() == CONTENT


def test_progress_is_shown_and_the_lease_renewed_on_the_way(google, result_of, monkeypatch):
    result = result_of(put(google, BIG))
    seen = []
    renew = claims.renew

    def watching(held: Any, **kwargs: Any) -> None:
        renew(held, **kwargs)
        row = ResultFile.objects.get()
        seen.append((row.bytes_done, row.size))
        assert row.lease_until > clock.now() + timedelta(seconds=50)

    monkeypatch.setattr(claims, "renew", watching)
    monkeypatch.setattr("gemini_webhooks.results.fetching.PROGRESS_SECONDS", 0)
    fetched(result)

    assert seen == sorted(seen)
    assert {size for _, size in seen} == {len(BIG)}
    assert len({done for done, _ in seen}) > 2
