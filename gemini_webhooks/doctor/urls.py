"""What can be told without trying: the settings and the URLconf."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import unwrap

from django.core.checks import ERROR, run_checks
from django.urls import NoReverseMatch, Resolver404, ResolverMatch, resolve, reverse

from gemini_webhooks.doctor.findings import Finding, failure, ok, warning
from gemini_webhooks.doctor.site import Site, in_urlconf

INCLUDE = 'path("webhooks/gemini/", include("gemini_webhooks.urls"))'
VIEW = "gemini_webhooks.views.receive"


def settings_are_sound(site: Site) -> Iterator[Finding]:
    """The system checks of this app find nothing."""
    del site
    messages = run_checks(tags=["gemini_webhooks"])
    for message in messages:
        make = failure if message.level >= ERROR else warning
        hint = message.hint or "manage.py check shows the same."
        yield make("settings", f"{message.msg} ({message.id})", hint)
    if not messages:
        yield ok("settings", "The system checks find nothing wrong.")


def included(site: Site) -> Iterator[Finding]:
    """Both URL names lead to the webhook view."""
    del site
    try:
        paths = [
            reverse("gemini_webhooks:receive"),
            reverse("gemini_webhooks:receive-endpoint", kwargs={"slug": "doctor"}),
        ]
        shadowed = [path for path in paths if not is_ours(path)]
    except NoReverseMatch:
        yield failure("urls", "gemini_webhooks.urls is not included.", f"Put {INCLUDE} there.")
    except Exception as error:  # noqa: BLE001  # a URLconf runs the site's code
        yield failure(
            "urls",
            f"The URLconf cannot be loaded: {type(error).__name__}.",
            "Set ROOT_URLCONF, and mend what `manage.py check` shows.",
        )
    else:
        for path in shadowed:
            yield failure(
                "urls",
                f"{path} leads to another view.",
                f"Put {INCLUDE} before the pattern that takes it.",
            )
        if not shadowed:
            yield ok("urls", f"{paths[0]} and the endpoints below it lead to the webhook view.")


def is_ours(path: str) -> bool:
    """Whether ``path`` leads to the webhook view."""
    try:
        return view_name(resolve(in_urlconf(path))) == VIEW
    except Resolver404:
        return False


def view_name(match: ResolverMatch) -> str:
    """Dotted name of a view, below whatever wraps it."""
    view = unwrap(match.func)
    return f"{view.__module__}.{getattr(view, '__qualname__', type(view).__qualname__)}"
