"""Every list and page opens, says what it should and keeps to itself what it must."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gemini_webhooks import clock
from gemini_webhooks.admin.badges import TONES
from gemini_webhooks.models import (
    Attempt,
    Job,
    ReceiverRun,
    ResultFile,
    SigningSecret,
    WebhookDelivery,
    WebhookEndpoint,
)
from tests.admin import rows
from tests.admin.pages import MODELS, list_url, page_url, text_of

pytestmark = pytest.mark.django_db

INLINE_SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)", re.IGNORECASE)
STYLE_ATTRIBUTE = re.compile(r"<[^>]*\sstyle=", re.IGNORECASE)


def everything(browser, members):
    """The text of all lists and of the pages of ``members``."""
    urls = [*map(list_url, MODELS), *map(page_url, members)]
    return [text_of(browser.get(url)) for url in urls]


@pytest.mark.parametrize("model", MODELS)
def test_an_empty_list_opens(anyone, model):
    assert "0 " in text_of(anyone.get(list_url(model)))


def test_lists_and_pages_of_ordinary_rows_open(anyone):
    assert len(everything(anyone, rows.family())) == 2 * len(MODELS)


def test_lists_and_pages_of_hostile_rows_open_and_run_nothing(anyone):
    for text in everything(anyone, rows.hostile_family()):
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert 'href="javascript:' not in text


def test_pages_obey_a_strict_content_security_policy(browser):
    for text in everything(browser, [*rows.family(), *rows.hostile_family()]):
        assert not INLINE_SCRIPT.search(text)
        assert not STYLE_ATTRIBUTE.search(text)
        assert "gemini_webhooks/admin.css" in text


def test_a_secret_and_a_token_are_never_shown(browser):
    members = [*rows.family(), *rows.hostile_family()]
    rows.token_use(members[1])
    with CaptureQueriesContext(
        connection,
    ) as queries:
        texts = everything(browser, members)
    for text in texts:
        assert rows.CIPHERTEXT not in text
        assert rows.SECRET not in text
        assert rows.TOKEN_DIGEST not in text
    # Once on the page of each endpoint, to say whether its secrets can be read.
    reading = [query["sql"] for query in queries if "ciphertext" in query["sql"]]
    assert len(reading) == len([row for row in members if isinstance(row, WebhookEndpoint)])
    assert not [query for query in queries if "tokenuse" in query["sql"]]


def test_secrets_and_tokens_have_no_pages_of_their_own(browser):
    for name in ("signingsecret", "tokenuse"):
        assert browser.get(f"/admin/gemini_webhooks/{name}/").status_code == 404


def test_a_user_without_permission_sees_nothing(client, django_user_model):
    client.force_login(django_user_model.objects.create_user("nobody", is_staff=True))
    members = rows.family()
    for url in [*map(list_url, MODELS), *map(page_url, members)]:
        assert client.get(url).status_code == 403
    assert "Gemini" not in client.get("/admin/").content.decode()


def test_a_delivery_page_shows_only_the_tables_that_the_user_may_see(viewer, client):
    viewer.user_permissions.remove(viewer.user_permissions.get(codename="view_receiverrun"))
    client.force_login(viewer)
    text = text_of(client.get(page_url(rows.family()[1])))
    assert "shop.receivers.store_rows" not in text
    assert "Result files" in text


def test_the_admin_works_without_time_zones(browser, settings):
    settings.USE_TZ = False
    secret = rows.family()[0].signing_secrets.get()
    SigningSecret.objects.filter(pk=secret.pk).update(expires_at=clock.after(60))
    assert "valid until it expires" in text_of(browser.get(page_url(secret.endpoint)))
    assert everything(browser, [WebhookDelivery.objects.get(), Attempt.objects.get()])


@pytest.mark.parametrize("model", MODELS)
def test_a_list_takes_as_many_queries_for_thirty_rows_as_for_one(browser, model):
    rows.family(1)
    one = queries_of(browser, list_url(model))
    for number in range(2, 31):
        rows.family(number)
    assert len(queries_of(browser, list_url(model))) == len(one)


@pytest.mark.parametrize("column", ["body", "user_metadata", "traceback", "headers"])
@pytest.mark.parametrize("model", MODELS)
def test_a_list_does_not_read_large_columns(browser, model, column):
    rows.family()
    assert not [sql for sql in queries_of(browser, list_url(model)) if f'"{column}"' in sql]


def test_pages_around_a_delivery_do_not_read_its_body(browser):
    _, _, handled, tried, stored, _, submitted, *_ = rows.family()
    for row in (handled, tried, stored, submitted):
        assert not [sql for sql in queries_of(browser, page_url(row)) if '"body"' in sql]


def test_a_delivery_page_takes_as_many_queries_for_thirty_runs_as_for_one(browser):
    came = rows.delivery()
    rows.run(came)
    rows.result(came)
    one = queries_of(browser, page_url(came))
    for number in range(1, 30):
        rows.run(came, receiver=f"receiver-{number}")
        rows.result(came, position=number)
    assert len(queries_of(browser, page_url(came))) == len(one)


def test_a_run_page_takes_as_many_queries_for_thirty_attempts_as_for_one(browser):
    handled = rows.run(rows.delivery())
    rows.attempt(handled)
    one = queries_of(browser, page_url(handled))
    for number in range(2, 31):
        rows.attempt(handled, number=number)
    assert len(queries_of(browser, page_url(handled))) == len(one)


def test_every_state_has_a_tone():
    stateful = (WebhookDelivery, ReceiverRun, ResultFile, WebhookEndpoint, Job)
    states = {state for model in stateful for state in model.State.values}
    assert states | set(Attempt.Outcome.values) <= set(TONES)


def queries_of(browser, url):
    with CaptureQueriesContext(connection) as queries:
        text_of(browser.get(url))
    return [query["sql"] for query in queries]
