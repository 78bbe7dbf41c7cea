"""The local Gemini API, which stands for Google on a developer's desk."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings as django_settings

from gemini_webhooks import gateway
from gemini_webhooks.conf import EMULATOR, is_emulated, settings
from gemini_webhooks.doctor import web
from gemini_webhooks.doctor.findings import Finding, failure, ok, warning
from gemini_webhooks.doctor.site import Site

TIMEOUT_SECONDS = 5.0


def emulator(site: Site) -> Iterator[Finding]:
    """With ``DEBUG``: there is a local Gemini API, or Google's is meant."""
    del site
    if not django_settings.DEBUG:
        return
    if is_emulated():
        yield _answer(gateway.base_url())
    elif not settings.PUBLIC_BASE_URL and not any(settings.API_KEYS.values()):
        yield warning(
            "emulator",
            "Nothing leads from here to a Gemini API, neither to a local one nor to Google's.",
            "On your desk, run the export lines that `manage.py runserver --with-emulator` prints, "
            "then this again. For Google's, do what is said below.",
        )


def _answer(url: str) -> Finding:
    try:
        web.get(url, timeout=TIMEOUT_SECONDS)
    except web.NoAnswer as error:
        return failure(
            "emulator",
            f"The local Gemini API at {url} does not answer: {error.message}.",
            "Start `manage.py runserver --with-emulator` (or `manage.py gemini_emulator`), or take "
            f"{EMULATOR} out of the environment.",
        )
    return ok("emulator", f"A local Gemini API stands for Google's, at {url}.")
