"""The Files API through the official client, and ranges."""

import asyncio
import io

import pytest

from tests.emulator.conftest import KEY


def test_an_upload_can_be_seen_and_fetched(client):
    made = client.files.upload(
        file=io.BytesIO(b"hello"), config={"mime_type": "text/plain", "display_name": "greeting"}
    )
    shown = client.files.get(name=made.name)

    assert (shown.display_name, shown.mime_type, shown.size_bytes) == ("greeting", "text/plain", 5)
    assert (shown.state.name, shown.source.name) == ("ACTIVE", "UPLOADED")
    assert client.files.download(file=made.name) == b"hello"


def test_a_large_upload_comes_in_chunks(client):
    data = bytes(range(256)) * 4096 * 10  # 10 MiB; the client sends 8 MiB at a time
    made = client.files.upload(file=io.BytesIO(data), config={"mime_type": "image/png"})
    assert client.files.download(file=made.name) == data


def test_an_empty_file_can_be_uploaded(client):
    made = client.files.upload(file=io.BytesIO(), config={"mime_type": "text/plain"})
    assert client.files.download(file=made.name) == b""


def test_the_async_client_works_too(server, connect):
    async def round_trip():
        async with connect(server).aio as client:
            made = await client.files.upload(
                file=io.BytesIO(b"hello"), config={"mime_type": "text/plain", "name": "mine"}
            )
            hooks = await client.webhooks.list()
            return made.name, await client.files.download(file=made.name), hooks.webhooks

    assert asyncio.run(round_trip()) == ("files/mine", b"hello", [])


def test_files_are_listed_and_deleted(client):
    names = [
        client.files.upload(file=io.BytesIO(b"x"), config={"mime_type": "text/plain"}).name
        for _ in range(3)
    ]
    assert [file.name for file in client.files.list(config={"page_size": 2})] == names

    client.files.delete(name=names[0])
    assert [file.name for file in client.files.list()] == names[1:]


@pytest.mark.parametrize("name", ["UPPER", "a" * 41, "-a", "a.b"])
def test_a_name_that_google_would_not_take_is_refused(client, name):
    with pytest.raises(Exception, match="lower-case letters"):
        client.files.upload(file=io.BytesIO(b"x"), config={"mime_type": "a/b", "name": name})


def test_a_name_is_given_once(client):
    config = {"mime_type": "a/b", "name": "mine"}
    client.files.upload(file=io.BytesIO(b"x"), config=config)
    with pytest.raises(Exception, match="exists") as caught:
        client.files.upload(file=io.BytesIO(b"y"), config=config)
    assert caught.value.code == 409


def test_a_chunk_at_the_wrong_place_is_refused(wire):
    _, headers, _ = wire.post("/upload/v1/files", {"file": {}}, key=KEY)
    path = headers["x-goog-upload-url"].removeprefix(wire.server.url)
    status, _, answer = wire.post(path, b"data", x_goog_upload_offset="7")

    assert status == 400
    assert answer["error"]["message"] == "The upload is at offset 0, not 7."


def test_part_of_a_file_can_be_fetched(client, wire):
    made = client.files.upload(file=io.BytesIO(b"0123456789"), config={"mime_type": "a/b"})
    path = f"/v1/{made.name}:download?alt=media"
    status, headers, data = wire.get(path, key=KEY, range="bytes=4-")

    assert (status, data, headers["content-range"]) == (206, b"456789", "bytes 4-9/10")


@pytest.mark.parametrize(
    ("body", "status", "complaint"),
    [
        ({}, 400, "at least one object"),
        ({"uris": "gs://a/b"}, 400, "at least one object"),
        ({"uris": ["https://a/b"]}, 400, "gs://bucket/object"),
        ({"uris": [3]}, 400, "gs://bucket/object"),
        ({"uris": ["gs://a/b"]}, 404, "Object a/b was not found"),
    ],
)
def test_only_objects_that_are_there_are_registered(wire, body, status, complaint):
    answered, _, answer = wire.post("/v1/files:register", body, key=KEY)
    assert (answered, complaint in answer["error"]["message"]) == (status, True)
    assert len(wire.server.emulator.files) == 0


def test_no_object_is_registered_if_one_is_missing(wire):
    uri = wire.server.emulator.storage.put("a", "b", b"x")
    assert wire.post("/v1/files:register", {"uris": [uri, "gs://a/c"]}, key=KEY)[0] == 404
    assert len(wire.server.emulator.files) == 0
