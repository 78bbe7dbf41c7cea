"""Result files by range, straight from the storage, and what is said when there is none."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage, storages
from django.test import AsyncClient

from gemini_webhooks.models import ResultFile
from tests.admin import rows
from tests.api.conftest import EVERYTHING, PREFIX
from tests.conftest import every_database

pytest.importorskip("rest_framework", reason="needs the extra [api]")

pytestmark = pytest.mark.django_db

CONTENT = bytes(range(256)) * 1000
SIZE = len(CONTENT)


def stored(content=CONTENT, name="secret-name.jsonl", **values):
    return rows.result(rows.delivery(), file=ContentFile(content, name=name), **values)


@pytest.fixture
def download(asker):
    def download(result, *, method="get", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = getattr(asker, method)(f"{PREFIX}results/{result.pk}/download/", headers=headers)
        return answer, b"".join(answer) if answer.streaming else answer.content

    return download


@every_database
def test_the_whole_file(database, make_asker):
    result = stored(content_type="text/html")
    answer = make_asker(*EVERYTHING).get(f"{PREFIX}results/{result.pk}/download/")

    assert (answer.status_code, b"".join(answer)) == (200, CONTENT)
    assert answer["Content-Length"] == str(SIZE)
    assert answer["Accept-Ranges"] == "bytes"
    # Whatever Google said that it is: nothing that a browser opens.
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Disposition"] == f'attachment; filename="result-{result.pk}.jsonl"'
    assert "secret-name" not in str(answer.headers)


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-499", 0, 500),
        ("bytes=500-999", 500, 1000),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        ("bytes=100000-", 100000, SIZE),
        ("bytes=-1", SIZE - 1, SIZE),
        ("bytes=-70000", SIZE - 70000, SIZE),
        (f"bytes=-{SIZE * 2}", 0, SIZE),
        (f"bytes=10-{SIZE * 2}", 10, SIZE),
        ("bytes = 5-9", 5, 10),
    ],
)
def test_one_range(download, header, start, stop):
    answer, content = download(stored(), range=header)

    assert answer.status_code == 206
    assert content == CONTENT[start:stop]
    assert answer["Content-Length"] == str(stop - start)
    assert answer["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"


@pytest.mark.parametrize(
    "header",
    [
        "bytes=0-1,5-6",
        "bytes=",
        "bytes=-",
        "bytes=9-1",
        "lines=0-1",
        "0-1",
        "bytes=a-b",
        "bytes=١-",
    ],
)
def test_several_ranges_and_none(download, header):
    answer, content = download(stored(), range=header)
    assert (answer.status_code, content) == (200, CONTENT)
    assert "Content-Range" not in answer


@pytest.mark.parametrize("header", [f"bytes={SIZE}-", "bytes=999999999999999999-", "bytes=-0"])
def test_range_beyond_the_file(download, header):
    answer, _ = download(stored(), range=header)
    assert answer.status_code == 416
    assert answer["Content-Range"] == f"bytes */{SIZE}"
    assert answer.json()["error"] == "range_not_satisfiable"


def test_empty_file(download):
    result = stored(b"")
    assert download(result)[1] == b""
    assert download(result, range="bytes=0-")[0].status_code == 416


class TestResuming:
    def test_what_is_still_the_same(self, download):
        result = stored(crc32c="AAAAAA==")
        whole, _ = download(result)
        for known in (whole["ETag"], whole["Last-Modified"]):
            answer, content = download(result, range="bytes=9-", if_range=known)
            assert (answer.status_code, content) == (206, CONTENT[9:])

    def test_what_was_fetched_anew(self, download):
        result = stored(crc32c="AAAAAA==")
        known = download(result)[0]["ETag"]
        ResultFile.objects.update(crc32c="BBBBBB==")

        answer, content = download(result, range="bytes=9-", if_range=known)
        assert (answer.status_code, content) == (200, CONTENT)
        refused, _ = download(result, range="bytes=9-", if_match=known)
        assert (refused.status_code, refused.json()["error"]) == (412, "precondition_failed")

    def test_what_is_known(self, download):
        result = stored()
        whole, _ = download(result)
        answer, content = download(result, if_none_match=whole["ETag"])
        assert (answer.status_code, content) == (304, b"")
        for name in ("ETag", "Last-Modified", "Cache-Control"):
            assert answer[name] == whole[name]

    def test_parts_are_not_compressed(self, download, settings):
        settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware", *settings.MIDDLEWARE]
        result = stored(b"a" * 5000)
        answer, content = download(result, range="bytes=0-999", accept_encoding="gzip")
        assert (answer.status_code, content) == (206, b"a" * 1000)


def test_head(download):
    answer, content = download(stored(), method="head")
    assert (answer.status_code, content) == (200, b"")
    assert answer["Content-Length"] == str(SIZE)


@pytest.mark.parametrize("accept", ["application/octet-stream", "text/csv", "*/*"])
def test_whatever_is_asked_for(download, accept):
    answer, content = download(stored(), accept=accept)
    assert (answer.status_code, content) == (200, CONTENT)


class TestNoFile:
    @pytest.mark.parametrize("way", ["download", "rows"])
    @pytest.mark.parametrize(
        ("state", "status", "code"),
        [
            ("pending", 409, "result_not_complete"),
            ("fetching", 409, "result_not_complete"),
            ("retrying", 409, "result_not_complete"),
            ("failed", 409, "result_not_complete"),
            ("removed", 404, "result_removed"),
        ],
    )
    def test_states(self, asker, way, state, status, code):
        result = stored(state=state)
        assert asker.read(f"results/{result.pk}/{way}/", status)["error"] == code

    @pytest.mark.parametrize("way", ["download", "rows"])
    def test_storage_without_it(self, asker, way):
        result = stored()
        result.file.storage.delete(result.file.name)
        found = asker.read(f"results/{result.pk}/{way}/", 404)
        assert found["error"] == "file_missing"
        assert "secret-name" not in str(found)

    def test_result_that_never_had_one(self, asker):
        result = rows.result(rows.delivery())
        found = asker.read(f"results/{result.pk}/download/", 409)
        assert found["error"] == "result_not_complete"

    def test_storage_that_fails(self, asker, monkeypatch, caplog):
        result = stored()
        monkeypatch.setattr(
            type(storages["default"]),
            "_open",
            lambda *_: 1 / 0,  # any error there is
        )
        answer = asker.get(f"{PREFIX}results/{result.pk}/download/")
        assert (answer.status_code, answer.json()["error"]) == (503, "storage_unavailable")
        assert answer["Retry-After"] == "10"
        assert "secret-name" not in caplog.text

    @pytest.mark.parametrize("way", ["size", "seek"])
    def test_file_that_fails(self, asker, monkeypatch, way):
        result = stored()

        closed = []

        class Watched(ContentFile):
            def close(self):
                closed.append(True)

        class Broken(Watched):
            def seek(self, *_):
                raise OSError("secret-name")

        class Sizeless(Watched):
            size = property(lambda _: 1 / 0, lambda *_: None)

        broken = {"size": Sizeless, "seek": Broken}[way](CONTENT)
        monkeypatch.setattr(type(storages["default"]), "_open", lambda *_: broken)
        for address in ("download", "rows") if way == "seek" else ("download",):
            found = asker.read(f"results/{result.pk}/{address}/", 503)
            assert (found["error"], closed.pop()) == ("storage_unavailable", True)

    def test_name_that_leads_elsewhere(self, asker):
        rows.hostile_family()
        result = ResultFile.objects.get()
        assert asker.read(f"results/{result.pk}/download/", 503)["error"] == "storage_unavailable"


def test_a_large_file_is_never_in_memory(asker):
    result = stored(b"x" * 40_000_000)
    tracemalloc.start()
    try:
        answer = asker.get(f"{PREFIX}results/{result.pk}/download/")
        size = sum(len(chunk) for chunk in answer)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert size == 40_000_000
    assert most < 8_000_000


@pytest.mark.django_db(transaction=True)
def test_under_asgi(make_asker):
    authorization = make_asker(*EVERYTHING).authorization
    result = stored()

    async def ask():
        answer = await AsyncClient().get(
            f"{PREFIX}results/{result.pk}/download/",
            headers={"authorization": authorization, "range": "bytes=10-"},
        )
        assert answer.is_async
        return answer.status_code, b"".join([chunk async for chunk in answer])

    assert asyncio.run(ask()) == (206, CONTENT[10:])


def test_another_storage(download, settings):
    settings.STORAGES = {
        **settings.STORAGES,
        "results": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    }
    settings.GEMINI_WEBHOOKS = {"RESULT_STORAGE": "results"}
    result = stored()
    assert isinstance(result.file.storage, InMemoryStorage)
    assert download(result, range="bytes=5-6")[1] == CONTENT[5:7]
