"""Videos: shown in parts as browsers ask for them, to their tenant alone."""

from __future__ import annotations

import io

import pytest
from django.core.files import File
from django.http import FileResponse

from example_project.studio import films
from example_project.studio.models import Commission
from example_project.tests.steps import state

pytestmark = pytest.mark.django_db(transaction=True)
State = Commission.State


def test_a_video_is_for_its_tenant_alone(place, work, page, desk, bo, client):
    video = place("video", "Waves")
    work()

    assert state(video) == State.SUCCEEDED
    film = f"/studio/acme/{video.pk}/film/"
    assert film in page(video)
    assert b"".join(desk.get(film).streaming_content)[4:8] == b"ftyp"
    client.force_login(bo)
    assert client.get(film).status_code == 404


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-1", 206, slice(0, 2)),  # as Safari begins
        ("bytes=4-", 206, slice(4, None)),
        ("bytes=-5", 206, slice(-5, None)),
        ("bytes=-99999999", 206, slice(None)),
        ("bytes=8-99999999", 206, slice(8, None)),
        ("bytes=0-1,4-5", 200, slice(None)),
        ("lines=1-2", 200, slice(None)),
        ("nonsense", 200, slice(None)),
        ("bytes=5-2", 200, slice(None)),
        ("bytes=0-" + "9" * 5000, 200, slice(None)),
        ("bytes=99999999-", 416, slice(0, 0)),
    ],
)
def test_a_part_of_a_video(place, work, desk, asked, status, part, monkeypatch):
    monkeypatch.setattr(FileResponse, "block_size", 3)
    video = place("video", "Waves")
    work()
    film = f"/studio/acme/{video.pk}/film/"
    first = desk.get(film)
    whole = b"".join(first.streaming_content)
    assert first["Content-Length"] == str(len(whole))

    response = desk.get(film, headers={"Range": asked, "If-Range": first["ETag"]})

    assert response.status_code == status
    body = b"".join(response) if status != 416 else response.content
    assert body == whole[part]
    assert response["Accept-Ranges"] == "bytes"
    if status == 206:
        start, stop, _ = part.indices(len(whole))
        assert response["Content-Range"] == f"bytes {start}-{stop - 1}/{len(whole)}"
        assert response["Content-Length"] == str(len(body))
        assert response["Content-Disposition"] == first["Content-Disposition"]
    if status == 416:
        assert response["Content-Range"] == f"bytes */{len(whole)}"
    other = desk.get(film, headers={"Range": asked, "If-Range": '"another"'})
    assert b"".join(other) == whole


def test_a_video_that_the_storage_has_lost(place, work, desk):
    video = place("video", "Waves")
    work()
    video.refresh_from_db()
    video.result.file.storage.delete(video.result.file.name)

    assert desk.get(f"/studio/acme/{video.pk}/film/").status_code == 404


@pytest.mark.parametrize("asked", ["", "bytes=2-", "bytes=99-"])
def test_a_video_that_nobody_waits_for_is_closed(rf, asked):
    file = File(io.BytesIO(b"a film"))
    films.send(rf.get("/", headers={"Range": asked}), file, name="a.mp4", version="1").close()

    assert file.closed
