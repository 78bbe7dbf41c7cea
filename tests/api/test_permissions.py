"""Who may do what: exactly the permissions that are named here open each address."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.test import Client

from gemini_webhooks import models
from gemini_webhooks.deliveries import Selection, replays
from tests.admin import rows
from tests.api.conftest import EVERYTHING, PREFIX

pytest.importorskip("rest_framework", reason="needs the extra [api]")

pytestmark = pytest.mark.django_db

DELIVERY, RUN, ATTEMPT = "view_webhookdelivery", "view_receiverrun", "view_attempt"
RESULT, REPLAY, REPLAYS = "view_resultfile", "view_replay", "replay_webhookdelivery"
NEEDED = {
    ("get", "/deliveries/"): {DELIVERY},
    ("get", "/deliveries/{id}/"): {DELIVERY},
    ("post", "/deliveries/{id}/replay/"): {DELIVERY, REPLAYS},
    ("get", "/runs/"): {RUN},
    ("get", "/runs/{id}/"): {RUN},
    ("get", "/attempts/"): {ATTEMPT},
    ("get", "/attempts/{id}/"): {ATTEMPT},
    ("get", "/results/"): {RESULT},
    ("get", "/results/{id}/"): {RESULT},
    ("get", "/results/{id}/rows/"): {RESULT, "view_payload"},
    ("get", "/results/{id}/download/"): {RESULT, "view_payload"},
    ("get", "/rejections/"): {"view_rejectedrequest"},
    ("get", "/rejections/{id}/"): {"view_rejectedrequest"},
    ("get", "/endpoints/"): {"view_webhookendpoint"},
    ("get", "/endpoints/{id}/"): {"view_webhookendpoint"},
    ("get", "/replays/"): {REPLAY},
    ("post", "/replays/"): {REPLAY, REPLAYS, DELIVERY},
    ("get", "/replays/{id}/"): {REPLAY},
    ("get", "/replays/{id}/deliveries/"): {REPLAY, DELIVERY},
    ("post", "/replays/{id}/stop/"): {REPLAY, REPLAYS},
    ("get", "/stats/"): {DELIVERY, "view_rejectedrequest"},
    ("get", "/backlog/"): {DELIVERY, RUN, RESULT},
}
SCHEMA = ("get", "/schema/")
each_address = pytest.mark.parametrize(
    ("address", "needed"),
    [*NEEDED.items(), (SCHEMA, {DELIVERY})],
    ids=lambda found: " ".join(found) if isinstance(found, tuple) else "",
)


@pytest.fixture(autouse=True)
def everything(settings):
    """A row of each kind, on a site that opens whatever does not close itself."""
    settings.REST_FRAMEWORK = {
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"]
    }
    endpoint, came, *_ = rows.family(1)
    assert endpoint
    came.results.update(state="complete")
    return replay_of(came)


def replay_of(delivery, **conditions):
    selection = Selection(ids=(delivery.pk,), **conditions)
    order = {"what": "everything", "receivers": (), "rate": None, "actor": "ada", "reason": ""}
    return replays.begin(selection, **order)


def ask(client, address):
    """Send what the address takes, about the first row."""
    method, path = address
    url = PREFIX + path.removeprefix("/").replace("{id}", first_id(path))
    if method == "get":
        answer = client.get(url)
        if answer.streaming:
            assert list(answer)
        return answer
    body = {"everything": True, "dry_run": True} if path == "/replays/" else {}
    return client.post(url, body, content_type="application/json")


def first_id(path):
    model = {
        "deliveries": models.WebhookDelivery,
        "runs": models.ReceiverRun,
        "attempts": models.Attempt,
        "results": models.ResultFile,
        "rejections": models.RejectedRequest,
        "endpoints": models.WebhookEndpoint,
        "replays": models.Replay,
    }.get(path.split("/")[1])
    return str(model.objects.first().pk) if model else ""


def test_every_address_is_looked_at(asker):
    described = asker.read("schema/")["paths"]
    assert {(method, path) for path, found in described.items() for method in found} == set(NEEDED)


@each_address
def test_nobody_who_is_not_logged_in(address, needed):
    answer = ask(Client(), address)
    # 403, not 401: the first way to log in that REST framework knows by default is a session.
    assert (answer.status_code, answer.json()["error"]) == (403, "not_authenticated")


@each_address
def test_everybody_with_the_permissions(address, needed, make_asker):
    assert ask(make_asker(*needed), address).status_code in (200, 201, 202)


@each_address
def test_nobody_without_one_of_them(address, needed, make_asker):
    for missing in needed:
        others = set(EVERYTHING) - {missing}
        answer = ask(make_asker(*others, name=f"without-{missing}"), address)
        assert (answer.status_code, answer.json()["error"]) == (403, "permission_denied"), missing


@each_address
def test_nobody_who_was_switched_off(address, needed, make_asker):
    asker = make_asker(*needed)
    get_user_model().objects.update(is_active=False)
    answer = ask(asker, address)
    assert (answer.status_code, answer.json()["error"]) == (403, "authentication_failed")


@each_address
def test_every_other_method_is_refused(address, needed, asker):
    path = address[1]
    offered = {method for method, other in [*NEEDED, SCHEMA] if other == path}
    for method in {"get", "post", "put", "patch", "delete", "options", "trace"} - offered:
        url = PREFIX + path.removeprefix("/").replace("{id}", first_id(path))
        answer = getattr(asker, method)(url)
        assert (answer.status_code, answer.json()["error"]) == (405, "method_not_allowed"), method
        assert set(answer["Allow"].lower().split(", ")) - {"head", "options"} == offered


def test_a_session_needs_its_csrf_token(asker):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(asker.user)
    answer = ask(browser, ("post", "/replays/"))
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["detail"]
    assert ask(browser, ("get", "/replays/")).status_code == 200


def test_content_is_for_who_may_see_payloads(make_asker):
    came = rows.delivery(7, user_metadata={"tenant": "acme"})
    without = make_asker(DELIVERY).read(f"deliveries/{came.pk}/")
    seen = make_asker(DELIVERY, "view_payload", name="grace").read(f"deliveries/{came.pk}/")

    assert "acme" not in str(without)
    assert "output_file_uri" not in str(without)
    withheld = ("user_metadata", "body", "body_encoding", "content_withheld")
    assert [without[name] for name in withheld] == [None, None, None, "permission"]
    assert [seen[name] for name in withheld] == [
        {"tenant": "acme"},
        bytes(came.body).decode(),
        "utf-8",
        "no",
    ]
    assert {n: v for n, v in seen.items() if n not in withheld} == {
        n: v for n, v in without.items() if n not in withheld
    }


def test_metadata_is_looked_for_by_who_may_see_it(make_asker):
    asker = make_asker(DELIVERY, REPLAY, REPLAYS)
    selection = {"metadata": {"tenant": "acme"}}

    assert "view_payload" in asker.read("deliveries/", 403, metadata="tenant=acme")["detail"]
    assert (
        "view_payload"
        in asker.send("replays/", {"selection": selection, "dry_run": True}, 403)["detail"]
    )


def test_what_was_selected_by_metadata_is_shown_to_who_may_see_it(make_asker):
    found = replay_of(rows.delivery(7, user_metadata={"a": "acme"}), metadata={"a": "acme"})
    ids = found.selection["ids"]

    assert make_asker(REPLAY).read(f"replays/{found.pk}/")["selection"] == {"ids": ids}
    assert make_asker(REPLAY, "view_payload", name="grace").read(f"replays/{found.pk}/")[
        "selection"
    ] == {"ids": ids, "metadata": {"a": "acme"}}


def test_rows_and_files_are_not_found_by_their_place(make_asker):
    came = rows.delivery(7)
    result = rows.result(came, file=ContentFile(b"{}\n", name="hidden.jsonl"))
    shown = make_asker(RESULT, "view_payload").read(f"results/{result.pk}/")

    assert "hidden" not in str(shown)
    assert "file" not in shown
