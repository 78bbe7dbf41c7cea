"""Cloud Storage, read with the official client and, for the edges, with plain HTTP."""

import base64
import http.client
import io
import json
import sys

import pytest

from gemini_webhooks.emulator import EmulatorServer
from tests.emulator.conftest import Wire

storage = pytest.importorskip("google.cloud.storage", reason="needs the extra gcs")
exceptions = pytest.importorskip("google.api_core.exceptions")

DATA = bytes(range(256)) * 1024
BUCKET, NAME = "results", "dir/out put é.jsonl"
MEDIA = f"/download/storage/v1/b/{BUCKET}/o/plain?alt=media"


@pytest.fixture
def blob(emulator, server, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    emulator.storage.put(BUCKET, NAME, DATA, "application/jsonl")
    client = storage.Client.create_anonymous_client()
    yield client.bucket(BUCKET).blob(NAME)
    client.close()


@pytest.fixture
def plain(emulator):
    return emulator.storage.put(BUCKET, "plain", b"0123456789", "text/plain")


def test_an_object_is_described(blob):
    blob.reload()
    assert (blob.size, blob.content_type) == (len(DATA), "application/jsonl")
    assert len(base64.b64decode(blob.crc32c)) == 4
    assert blob.generation > 0
    assert blob.etag


def test_an_object_is_downloaded_and_its_checksum_holds(blob):
    assert blob.download_as_bytes(checksum="crc32c") == DATA
    assert blob.download_as_bytes(checksum="md5") == DATA
    blob.reload()
    assert blob.download_as_bytes(checksum="crc32c") == DATA


def test_a_part_is_downloaded(blob):
    assert blob.download_as_bytes(start=100, end=199) == DATA[100:200]
    target = io.BytesIO()
    blob.download_to_file(target, start=len(DATA) - 5)
    assert target.getvalue() == DATA[-5:]


def test_an_object_can_be_read_piece_by_piece(blob):
    with blob.open("rb", chunk_size=256 * 1024) as file:
        assert file.read(10) == DATA[:10]
        file.seek(200_000)
        assert file.read() == DATA[200_000:]


def test_an_object_can_be_a_file(emulator, blob, tmp_path):
    path = tmp_path / "big"
    path.write_bytes(DATA * 2)
    emulator.storage.put(BUCKET, NAME, path)
    assert blob.download_as_bytes() == DATA * 2
    assert blob.download_as_bytes(start=len(DATA) - 1, end=len(DATA)) == b"\xff\x00"


def test_an_object_that_is_not_there_is_not_found(blob):
    with pytest.raises(exceptions.NotFound):
        blob.bucket.blob("other").reload()
    with pytest.raises(exceptions.NotFound):
        blob.bucket.blob("other").download_as_bytes()


def test_a_sample_is_made_when_it_is_asked_for(blob):
    bucket = blob.client.bucket("gemini-emulator")
    data = bucket.blob("samples/batch_1.jsonl").download_as_bytes(checksum="crc32c")
    first, second = map(json.loads, data.splitlines())
    assert (first["key"], second["key"]) == ("sample-1", "sample-2")
    [part] = first["response"]["candidates"][0]["content"]["parts"]
    assert part == {"text": "Echo: Why is the sky blue?"}

    # It is the same object from now on, and its metadata can be asked for first.
    found = bucket.blob("samples/batch_2.jsonl")
    found.reload()
    assert (found.size, found.content_type) == (len(data), "application/jsonl")
    assert found.download_as_bytes(if_generation_match=found.generation) == data


@pytest.mark.parametrize(
    "place",
    [
        "other/o/samples/1.jsonl",
        "gemini-emulator/o/samples/1.json",
        "gemini-emulator/o/more/samples/1.jsonl",
    ],
)
def test_nothing_else_is_made(wire, place):
    assert wire.get(f"/storage/v1/b/{place}")[0] == 404


def test_a_sample_is_in_the_bucket_of_the_emulator_that_is_kept(tmp_path):
    generations = []
    for _ in range(2):
        with EmulatorServer(bucket="mine", state=str(tmp_path / "state")) as server:
            answer = Wire(server).get("/storage/v1/b/mine/o/samples/1.jsonl")[2]
            generations.append(answer["generation"])
    assert generations[0] == generations[1]


def test_without_the_extra_there_are_no_samples(wire, monkeypatch):
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    assert wire.get("/storage/v1/b/gemini-emulator/o/samples/1.jsonl")[0] == 404


def test_a_new_generation_replaces_the_old_one(emulator, blob):
    blob.reload()
    old = blob.generation
    assert blob.download_as_bytes(if_generation_match=old) == DATA

    new = emulator.storage.touch(BUCKET, NAME)
    assert new > old
    with pytest.raises(exceptions.PreconditionFailed):
        blob.bucket.blob(NAME).download_as_bytes(if_generation_match=old)
    with pytest.raises(exceptions.NotFound):
        blob.bucket.blob(NAME, generation=old).download_as_bytes()
    assert blob.bucket.blob(NAME, generation=new).download_as_bytes() == DATA


def test_a_failure_can_be_asked_for(emulator, blob):
    emulator.storage.fail_next(503, times=2)
    for _ in range(2):
        with pytest.raises(exceptions.ServiceUnavailable):
            blob.download_as_bytes(retry=None)
    assert blob.download_as_bytes(retry=None) == DATA


def test_a_wrong_checksum_can_be_asked_for(emulator, blob):
    emulator.storage.corrupt_checksum(BUCKET, NAME)
    with pytest.raises(storage.exceptions.DataCorruption):
        blob.download_as_bytes(checksum="crc32c")


def test_a_connection_can_be_cut_on_the_way(emulator, server, plain):
    emulator.storage.cut_next(4)
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    connection.request("GET", MEDIA)
    with connection.getresponse() as response, pytest.raises(http.client.IncompleteRead) as caught:
        response.read()
    connection.close()
    assert caught.value.partial == b"0123"


def test_after_a_cut_the_next_download_is_whole(emulator, wire, plain):
    emulator.storage.cut_next(0)
    with pytest.raises(Exception, match="IncompleteRead"):
        wire.get(MEDIA)
    assert wire.get(MEDIA)[2] == b"0123456789"


@pytest.mark.parametrize(
    ("asked", "status", "span", "data"),
    [
        ("bytes=0-3", 206, "bytes 0-3/10", b"0123"),
        ("bytes=7-", 206, "bytes 7-9/10", b"789"),
        ("bytes=-2", 206, "bytes 8-9/10", b"89"),
        ("bytes=8-99", 206, "bytes 8-9/10", b"89"),
        ("bytes=0-", 200, None, b"0123456789"),
        ("lines=1-2", 200, None, b"0123456789"),
        ("bytes=-", 200, None, b"0123456789"),
    ],
)
def test_ranges(wire, plain, asked, status, span, data):
    got_status, headers, got = wire.get(MEDIA, range=asked)
    assert (got_status, headers["content-range"], got) == (status, span, data)
    assert headers["x-goog-hash"].startswith("crc32c=")


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=5-4", "bytes=-0"])
def test_a_range_that_lies_outside(wire, plain, asked):
    status, headers, answer = wire.get(MEDIA, range=asked)
    assert (status, headers["content-range"]) == (416, "bytes */10")
    assert answer["error"]["status"] == "OUT_OF_RANGE"


def test_an_empty_object(emulator, wire, plain):
    emulator.storage.put(BUCKET, "plain", b"")
    assert wire.get(MEDIA)[::2] == (200, b"")


def test_a_generation_that_is_no_number_is_refused(wire, plain):
    assert wire.get(f"{MEDIA}&generation=new")[0] == 400
