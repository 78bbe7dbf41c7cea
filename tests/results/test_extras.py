"""Without the extras: what is missing is said, not raised."""

from __future__ import annotations

import sys

import pytest

from gemini_webhooks import gateway, results
from gemini_webhooks.exceptions import ConfigurationError
from tests.results.conftest import BUCKET


@pytest.fixture(autouse=True)
def _without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway._client.cache_clear()
    for name in ("google.genai", "google.cloud.storage"):
        monkeypatch.setitem(sys.modules, name, None)
    if "google.cloud" in sys.modules:  # the package stays, as other Google packages share it
        monkeypatch.delattr("google.cloud.storage", raising=False)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("uri", "extra"),
    [(f"gs://{BUCKET}/o", "[gcs]"), ("files/f", "[genai]"), ("batches/b", "[genai]")],
)
def test_a_fetch_fails_with_what_to_install(result_of, uri, extra):
    result = result_of(uri)
    assert results.fetch(result.pk).state == "failed"
    result.refresh_from_db()
    assert f"pip install 'django-gemini-webhooks{extra}'" in result.error


def test_a_call_fails_with_what_to_install():
    with pytest.raises(ConfigurationError, match=r"django-gemini-webhooks\[genai\]"):
        gateway.list_webhooks(api_key_name="default")
