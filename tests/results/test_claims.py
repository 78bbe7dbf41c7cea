"""One worker at a time has a result file, on every database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from gemini_webhooks import clock
from gemini_webhooks.models import ResultFile
from gemini_webhooks.results import claims
from gemini_webhooks.results.claims import ClaimLost
from tests.conftest import every_database


@every_database
def test_of_many_workers_one_gets_it(database, result_of):
    result = result_of("files/f")

    def take(_worker: int) -> bool:
        try:
            return claims.take(result.pk) is not None
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as workers:
        taken = list(workers.map(take, range(8)))

    assert taken.count(True) == 1
    result.refresh_from_db()
    assert result.attempts == 1


@every_database
def test_whoever_lost_it_changes_nothing_any_more(database, result_of):
    result = result_of("files/f")
    first = claims.take(result.pk)
    ResultFile.objects.filter(pk=result.pk).update(lease_until=clock.after(-1))
    second = claims.take(result.pk)
    assert first is not None
    assert second is not None

    for change in (
        lambda: claims.renew(first, bytes_done=1, size=2),
        lambda: claims.complete(first, file="theirs"),
        lambda: claims.retry(first, "error", 1),
        lambda: claims.fail(first, "error"),
    ):
        with pytest.raises(ClaimLost):
            change()

    result.refresh_from_db()
    assert (result.state, result.claim) == (ResultFile.State.FETCHING, second.token)
    claims.complete(second, file="mine", rows=3)
    result.refresh_from_db()
    assert (result.state, result.file.name, result.rows) == ("complete", "mine", 3)
    assert claims.take(result.pk) is None


@every_database
def test_an_error_text_that_the_database_cannot_hold_is_mended(database, result_of):
    result = result_of("files/f")
    held = claims.take(result.pk)
    assert held is not None
    claims.fail(held, "\x00\ud800" + "x" * 5000)
    result.refresh_from_db()
    assert result.error.startswith("\ufffd?x")
    assert len(result.error) == claims.MAX_ERROR_LENGTH
