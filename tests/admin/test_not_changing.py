"""Nothing is added or changed here but endpoints, and only they and rejections are deleted.

What can be done to endpoints is shown in ``test_endpoints``, and to pauses in ``test_pauses``.
"""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.core import serializers

from gemini_webhooks.models import Pause, RejectedRequest, SigningSecret, WebhookEndpoint
from tests.admin import rows
from tests.admin.pages import MODELS, add_url, delete_url, list_url, page_url, text_of

pytestmark = pytest.mark.django_db


def everything_stored():
    tables = [*MODELS, SigningSecret]
    return [serializers.serialize("json", model.objects.order_by("pk")) for model in tables]


def every_field(row):
    return {field.name: "changed" for field in row._meta.fields}


@pytest.mark.parametrize(
    "model", [model for model in MODELS if model not in (WebhookEndpoint, Pause)]
)
def test_nothing_can_be_added(anyone, model):
    before = everything_stored()
    assert anyone.get(add_url(model)).status_code == 403
    assert anyone.post(add_url(model), every_field(model())).status_code == 403
    assert everything_stored() == before


def test_nothing_can_be_changed(anyone):
    members = rows.family()
    before = everything_stored()
    for row in members:
        assert anyone.post(page_url(row), every_field(row)).status_code == 403
    assert everything_stored() == before


def test_a_page_has_no_field_to_fill_in(browser):
    for row in rows.family():
        form = text_of(browser.get(page_url(row))).partition('<form method="post" id="logout-form"')
        fields = form[2].partition('<div id="content-main">')[2]
        assert "<textarea" not in fields
        assert "<select" not in fields
        assert 'name="_save"' not in fields
        assert fields.count("<input") == fields.count('type="hidden"')


def test_only_rejections_and_endpoints_can_be_deleted(browser):
    members = rows.family()
    for row in members:
        if isinstance(row, RejectedRequest):
            continue
        # Endpoints have a page of their own for it, which deletes at Google too; no action does.
        if not isinstance(row, WebhookEndpoint):
            assert browser.post(delete_url(row), {"post": "yes"}).status_code == 403
        delete_by_action(browser, row)
        assert type(row).objects.filter(pk=row.pk).exists()


def test_a_rejection_can_be_deleted_with_the_permission(viewer, client):
    one, other = rows.rejection(), rows.rejection()
    viewer.user_permissions.add(Permission.objects.get(codename="delete_rejectedrequest"))
    client.force_login(viewer)
    assert client.post(delete_url(one), {"post": "yes"}).status_code == 302
    delete_by_action(client, other)
    assert not RejectedRequest.objects.exists()


def test_a_rejection_cannot_be_deleted_without_the_permission(viewer, client):
    row = rows.rejection()
    client.force_login(viewer)
    assert client.post(delete_url(row), {"post": "yes"}).status_code == 403
    delete_by_action(client, row)
    assert RejectedRequest.objects.exists()


def delete_by_action(browser, row):
    asked = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
    browser.post(list_url(type(row)), asked)
