"""Tenants: kept apart on every page, by what is sealed, and by queues."""

from __future__ import annotations

import pytest

from example_project.studio.models import Commission
from example_project.tests.steps import state
from gemini_webhooks import processing
from gemini_webhooks.models import ReceiverRun
from tests.senders import StaticSender, new_secret

pytestmark = pytest.mark.django_db(transaction=True)
State = Commission.State


def test_nobody_sees_what_is_another_tenant_s(place, work, client, bo, globex):
    batch = place("batch", "one")
    work()
    client.force_login(bo)

    own = batch.get_absolute_url()
    acmes = (own, f"{own}story/", "/studio/acme/", "/studio/acme/list/", "/studio/acme/published/")
    for path in acmes:
        assert client.get(path).status_code == 404
    for path in (f"{own}decide/", f"{own}again/", "/studio/acme/new/batch/"):
        assert client.post(path, {"prompt": "mine"}).status_code == 404
    assert client.get(f"/studio/globex/{batch.pk}/").status_code == 404
    assert Commission.objects.count() == 1


def test_metadata_without_a_seal_is_not_believed(place, work, site, settings):
    settings.STUDIO_RETRY_SECONDS = 3600
    batch = place("batch", "take-9s")
    secret = new_secret()
    settings.GEMINI_WEBHOOKS = {**settings.GEMINI_WEBHOOKS, "SIGNING_SECRETS": [secret]}
    sender = StaticSender(secret=secret)
    for event in ("batch.failed", "batch.succeeded", "interaction.completed"):
        answer = sender.post(sender.envelope(event, user_metadata=batch.metadata))
        assert answer.status_code == 200
    processing.drain()  # and not `work`, which waits for the batch

    assert state(batch) == State.RUNNING


def test_a_tenant_with_a_queue_of_its_own(place, work, settings):
    settings.STUDIO_QUEUES = ["acme"]
    place("interaction", "one")
    work()

    assert set(ReceiverRun.objects.values_list("queue", flat=True)) == {"acme"}


def test_who_belongs_to_nobody_is_told_so(client, django_user_model):
    client.force_login(django_user_model.objects.create_user("eve"))

    answer = client.get("/", follow=True).content.decode()

    assert "Nobody has made you a member of a tenant." in answer
