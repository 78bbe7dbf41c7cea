"""German on the pages: it is longer than English, and nothing may stick out or be left out."""

from __future__ import annotations

import gettext
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import gemini_webhooks
from gemini_webhooks.models import ReceiverRun
from tests.admin import rows

OURS = "/admin/gemini_webhooks/"
CATALOGUE = Path(gemini_webhooks.__file__).parent / "locale/de/LC_MESSAGES/django.mo"
#: Shorter ones are words that German has as well, such as “Status”.
SENTENCE = 20
LINKS = """() => [...document.querySelectorAll('#container a[href]')]
  .map((one) => new URL(one.href)).filter((url) => url.origin === location.origin)
  .map((url) => url.pathname + url.search)"""


@pytest.fixture
def german(settings, operator):
    settings.LANGUAGE_CODE = "de"
    return operator


def kind_of(path: str) -> tuple[str, ...]:
    """Pages of one kind differ by a number, or by how a list is filtered."""
    url = urlsplit(path)
    parts = ["#" if part[:1].isdigit() else part for part in url.path.split("/")]
    return (*parts, *sorted(pair.partition("=")[0] for pair in url.query.split("&")))


def english_sentences() -> list[str]:
    with CATALOGUE.open("rb") as file:
        catalogue = gettext.GNUTranslations(file)._catalog
    return [
        text
        for text, german in catalogue.items()
        if isinstance(text, str) and len(text) >= SENTENCE and "%" not in text and text != german
    ]


def test_every_page_that_links_lead_to(german):
    rows.family()
    failed = rows.run(rows.delivery(7), state="dead", error_class="KeyError")
    rows.attempt(failed, outcome="failed", error_class="KeyError", traceback="KeyError: 7")
    assert ReceiverRun.objects.filter(state="dead").exists()
    english = english_sentences()
    assert len(english) > 250
    seen: dict[tuple[str, ...], str] = {}
    waiting = ["/admin/"]
    while waiting:
        path = waiting.pop(0)
        if kind_of(path) in seen:
            continue
        seen[kind_of(path)] = path
        german.open(path)
        if "html" not in german.evaluates("document.contentType"):
            continue
        german.look(f"de-{len(seen)}")
        text = " ".join(german.text().split())
        assert [one for one in english if one in text] == [], path
        links = german.evaluates(LINKS)
        # Filters combine to thousands of pages, which differ in nothing that is translated.
        waiting += [link for link in links if link.startswith(OURS) and "&" not in link]

    names = {path.split("/")[3] for path in seen.values() if path.startswith(OURS)}
    assert {"webhookdelivery", "webhookendpoint", "replay", "pause", "failuregroup"} <= names
    assert len(seen) > 60
