"""Result files that a test gives: without a bucket, without a network, without the media folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import default_storage

from gemini_webhooks import gateway, receivers, signals
from gemini_webhooks.models import ResultFile
from gemini_webhooks.models.fields import ResultFileField
from gemini_webhooks.results import spool
from gemini_webhooks.testing import Gemini
from tests.testing.conftest import Receiver, fails

pytestmark = pytest.mark.django_db

ROWS = [{"key": "a", "response": {"text": "ü"}}, {"key": "b", "error": {"code": 3}}]


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Path) -> Iterator[Path]:
    """The site's own folder, in which nothing must be found."""
    settings.MEDIA_ROOT = tmp_path
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


class Reader(Receiver):
    def __call__(self, event: Any, **kwargs: Any) -> None:
        self.rows = list(kwargs["result"].rows())
        super().__call__(event)


@pytest.fixture
def read() -> Reader:
    """Connected to ``result_ready``."""
    reader = Reader()
    signals.result_ready.connect(reader, weak=False, dispatch_uid="reports.read")
    return reader


@pytest.mark.parametrize("signing", ["hmac", "jwt", "trusted"])
def test_rows(gemini_webhooks: Gemini, read: Reader, signing: Any) -> None:
    outcome = gemini_webhooks.deliver("batch.succeeded", rows=ROWS, signing=signing)

    outcome.assert_result(rows=2, failed_rows=1)
    outcome.assert_ran("read")
    assert read.rows == ROWS
    [result] = outcome.results
    assert list(result.rows()) == ROWS
    with pytest.raises(AssertionError, match="it has 2 rows, not 3"):
        outcome.assert_result(rows=3)
    with pytest.raises(AssertionError, match="it has 1 row that failed, not 0"):
        outcome.assert_result(failed_rows=0)
    with pytest.raises(AssertionError, match="did not fail"):
        outcome.assert_result_failed()


def test_bytes(gemini_webhooks: Gemini) -> None:
    outcome = gemini_webhooks.deliver("video.generated", result=b"\x00moving pictures")

    outcome.assert_result(rows=0)
    with outcome.results[0].file.open() as file:
        assert file.read() == b"\x00moving pictures"


@pytest.mark.parametrize("result", [b"", b"not JSON\n"])
def test_a_result_may_be_broken(gemini_webhooks: Gemini, read: Reader, result: bytes) -> None:
    outcome = gemini_webhooks.deliver("batch.succeeded", result=result, raises=False)

    outcome.assert_result()
    if result:
        outcome.assert_retrying("read")
    else:
        outcome.assert_ran("read")


def test_a_result_that_cannot_be_fetched(gemini_webhooks: Gemini, read: Reader) -> None:
    outcome = gemini_webhooks.deliver("batch.succeeded", result_error="it is gone")

    outcome.assert_result_failed("gone")
    outcome.assert_dead("read", "it is gone")
    assert "reports.read: dead, never called: " in str(outcome)
    assert "failed, 0 rows: it is gone" in str(outcome)
    assert outcome.delivery.state == "failed"
    with pytest.raises(AssertionError, match="was not fetched"):
        outcome.assert_result()
    with pytest.raises(AssertionError, match="does not say 'forbidden'"):
        outcome.assert_result_failed("forbidden")


def test_a_result_that_nobody_gave(
    gemini_webhooks: Gemini, read: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "batch_output", fails(AssertionError("Google is asked")))

    outcome = gemini_webhooks.deliver("batch.succeeded")
    gemini_webhooks.run_due(after=24 * 3600)

    outcome.assert_not_run("read")
    assert outcome.results[0].state == "pending"
    with pytest.raises(AssertionError, match="the test gave none of rows="):
        outcome.assert_ran("read")


def test_an_event_that_announces_none(gemini_webhooks: Gemini) -> None:
    outcome = gemini_webhooks.deliver("batch.failed")

    with pytest.raises(AssertionError, match="announces no result file"):
        outcome.assert_result()


def test_buckets_that_may_not_be_read(gemini_webhooks: Gemini, settings: Any, read: Reader) -> None:
    settings.GEMINI_WEBHOOKS = {"ALLOWED_BUCKETS": ["ours"]}

    ours = gemini_webhooks.deliver("batch.succeeded", output="gs://ours/o.jsonl", rows=ROWS)
    other = gemini_webhooks.deliver("batch.succeeded", output="gs://other/o.jsonl", rows=ROWS)

    ours.assert_result(rows=2)
    other.assert_result_failed("bucket other may not be read")


def test_a_site_that_fetches_nothing(gemini_webhooks: Gemini, settings: Any) -> None:
    settings.GEMINI_WEBHOOKS = {"FETCH_RESULTS": False}

    with pytest.raises(ImproperlyConfigured, match="fetches no result files"):
        gemini_webhooks.deliver("batch.succeeded", rows=ROWS)

    assert gemini_webhooks.deliver("batch.succeeded").results == []


def test_more_than_one_result(gemini_webhooks: Gemini) -> None:
    with pytest.raises(ValueError, match="one of rows="):
        gemini_webhooks.deliver("batch.succeeded", rows=[], result=b"")


def test_a_replay_has_it_still(gemini_webhooks: Gemini, read: Reader) -> None:
    outcome = gemini_webhooks.deliver("batch.succeeded", rows=ROWS, run=False)
    assert outcome.results == []

    outcome.run().replay("read")

    assert [event.is_replay for event in read.events] == [False, True]


def test_no_file_is_shared_with_other_processes(
    gemini_webhooks: Gemini, read: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_folder", fails(AssertionError("the folder is used")))

    gemini_webhooks.deliver("batch.succeeded", rows=ROWS).assert_ran("read")


def test_the_site_s_storage_is_back_afterwards(settings: Any) -> None:
    field = ResultFile._meta.get_field("file")
    assert isinstance(field, ResultFileField)
    with Gemini() as gemini:
        # Changed meanwhile and put back later, as fixtures are.
        settings.GEMINI_WEBHOOKS = {"RESULT_STORAGE": "default"}
        result = gemini.deliver("batch.succeeded", rows=ROWS).results[0]
        assert list(result.rows()) == ROWS
        assert field.storage != default_storage

    assert field.storage == default_storage


def test_a_receiver_of_both(gemini_webhooks: Gemini) -> None:
    both = Receiver()
    receivers.on("batch.succeeded", name="both")(both)
    signals.result_ready.connect(both, weak=False, dispatch_uid="both")

    outcome = gemini_webhooks.deliver("batch.succeeded", rows=ROWS)

    outcome.assert_ran("both")
    outcome.assert_ran("result_ready:both")
    assert len(both.events) == 2
