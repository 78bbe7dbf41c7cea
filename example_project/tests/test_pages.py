"""The studio's forms, and pages that stay open."""

from __future__ import annotations

import pytest

from example_project.studio.models import Commission

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("kind", "prompt", "said"),
    [
        ("batch", "  ", "Say what you would like to have."),
        ("batch", "a\n" * 501, "501 requests; 500 are the most."),
        ("video", "a" * 20_001, "No more than 20,000 characters"),
    ],
)
def test_what_makes_no_sense_is_not_submitted(desk, kind, prompt, said):
    answer = desk.post(f"/studio/acme/new/{kind}/", {"prompt": prompt})

    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert not Commission.objects.exists()


def test_what_there_is_not(desk):
    assert desk.post("/studio/acme/new/song/", {"prompt": "one"}).status_code == 404
    assert desk.get("/studio/acme/7/").status_code == 404
    assert desk.get("/studio/acme/new/batch/").status_code == 405


def test_an_open_page_is_told_only_what_is_new(desk, place, work):
    place("batch", "one")
    shown = desk.get("/studio/acme/").context["version"]
    assert desk.get("/studio/acme/list/", {"seen": shown}).status_code == 204

    work()

    answer = desk.get("/studio/acme/list/", {"seen": shown})
    assert answer.status_code == 200
    assert "one: done" in answer.content.decode()


def test_an_open_page_whose_session_has_ended_logs_in_as_a_whole(client, acme):
    answer = client.get("/studio/acme/list/", headers={"HX-Request": "true"})

    assert (answer.status_code, answer.headers["HX-Refresh"]) == (200, "true")
    assert answer.content == b""
