"""The way from an empty site to a verified ping, as somebody walks it who has read nothing."""

from __future__ import annotations

from django.urls import reverse

from gemini_webhooks import gateway
from gemini_webhooks.models import WebhookDelivery, WebhookEndpoint
from tests.admin.pages import add_url, list_url, page_url


def at_google():
    return gateway.list_webhooks(api_key_name="default")


def test_from_the_empty_list_to_a_ping_that_came_back(google, operator, site):
    operator.open(list_url(WebhookEndpoint))
    operator.look("list-empty")
    operator.follow("Add webhook endpoint")

    operator.look("add")
    operator.fill("Slug", "nightly")
    operator.fill("Name", "Nightly evaluation")
    operator.tick("video.generated", on=False)
    operator.press("Continue")

    operator.sees(f"{site}/webhooks/gemini/nightly/", "What will be sent")
    operator.look("add-preview")
    assert at_google() == []
    assert not WebhookEndpoint.objects.exists()
    operator.press("Register at Google")

    operator.sees("Send a ping to see whether deliveries arrive.")
    operator.look("endpoint-new")
    [there] = at_google()
    assert there.uri == f"{site}/webhooks/gemini/nightly/"
    assert "video.generated" not in there.subscribed_events

    operator.press("Ping")
    operator.sees("The ping came back.")
    operator.look("pinged")
    operator.follow("Show the delivery")
    assert operator.path == page_url(WebhookDelivery.objects.get())
    operator.look("delivery-of-a-ping")


def test_going_back_from_the_preview_keeps_what_was_typed(google, operator):
    operator.open(add_url(WebhookEndpoint))
    operator.fill("Slug", "nightly")
    operator.fill("Audiences", "https://site.example/one")
    operator.tick("batch.failed", on=False)
    operator.press("Continue")
    operator.sees("https://site.example/one")
    operator.press("Change something")

    assert operator.value_of("Slug") == "nightly"
    assert operator.value_of("Audiences").strip() == "https://site.example/one"
    assert operator.is_ticked("batch.succeeded")
    assert not operator.is_ticked("batch.failed")
    operator.press("Continue")
    operator.press("Register at Google")

    operator.sees("is registered at Google")
    assert WebhookEndpoint.objects.get().audiences == ["https://site.example/one"]


def test_each_mistake_is_shown_at_its_field_until_all_are_mended(endpoint, operator):
    operator.open(add_url(WebhookEndpoint))
    operator.press("Continue")
    operator.sees("This field is required.")
    operator.look("add-nothing-typed")

    operator.fill("Slug", "acme")
    for box in endpoint.subscribed_events, ["batch.failed"]:
        operator.tick(box[0], on=False)
    operator.press("Continue")
    operator.sees("There is an endpoint with this slug already.")
    operator.sees_not("This field is required.")
    operator.look("add-slug-taken")

    operator.fill("Slug", "acme-2")
    operator.press("Continue")
    operator.sees("What will be sent")


def test_google_s_refusal_is_shown_and_the_way_on_is_open(google, operator):
    operator.open(add_url(WebhookEndpoint))
    operator.fill("Slug", "nightly")
    operator.choose("API key", "refused")
    operator.press("Continue")
    operator.press("Register at Google")

    operator.sees("Google did not register the webhook")
    operator.look("add-refused-by-google")
    assert operator.value_of("Slug") == "nightly"

    operator.choose("API key", "default")
    operator.press("Continue")
    operator.press("Register at Google")
    operator.sees("is registered at Google")
    assert len(at_google()) == 1


def test_the_keyboard_is_enough(google, superuser, sit_down):
    person = sit_down()
    person.open(f"{reverse('admin:login')}?next={list_url(WebhookEndpoint)}")
    person.type("root")
    person.key("Tab")
    person.type("let-me-in")
    person.submit_by_key("Enter")

    person.tab_to("Add webhook endpoint")
    person.submit_by_key("Enter")
    way = person.tab_to("Slug")
    person.type("nightly")
    way += person.tab_to("API key")
    events = [stop for stop in way if stop.startswith(("batch.", "interaction.", "video."))]
    assert len(events) == 9
    person.tab_to("Continue")
    person.submit_by_key("Enter")
    person.tab_to("Register at Google")
    person.submit_by_key("Space")
    buttons = ["Edit", "Ping", "Rotate secret", "Disable", "Pause processing", "Delete"]
    assert person.tab_to("Delete")[-6:] == buttons
    person.key("Shift+Tab", "Shift+Tab", "Shift+Tab", "Shift+Tab")
    person.submit_by_key("Enter")

    person.sees("The ping came back.")
