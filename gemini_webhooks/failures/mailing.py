"""The message itself: plain text without anything that a delivery or an error says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urljoin

from django.conf import settings as django_settings
from django.core.mail import EmailMessage, mail_admins
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext

from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries.dead_letters import News
from gemini_webhooks.exceptions import GeminiWebhooksError

PREFIX = "[Gemini webhooks]"
LIST, PAGE = (f"admin:gemini_webhooks_failuregroup_{name}" for name in ("changelist", "group"))


class NoRecipients(GeminiWebhooksError):
    """``FAILURE_EMAILS`` is ``True``, but ``ADMINS`` is empty."""


def send(news: Sequence[News], *, failures: int, receivers: int) -> None:
    """Hand the message over to the mail backend.

    Raises:
        NoRecipients: there is nobody to send it to.
        Exception: whatever the backend raises.
    """
    subject = f"{PREFIX} {_headline(failures, receivers)}"
    body = _body(news, _headline(failures, receivers))
    recipients: Any = settings.FAILURE_EMAILS
    if recipients is not True:
        EmailMessage(subject, body, django_settings.SERVER_EMAIL, list(recipients)).send()
    elif django_settings.ADMINS:
        mail_admins(subject, body)
    else:
        raise NoRecipients


def _headline(failures: int, receivers: int) -> str:
    failed = ngettext("%(count)s delivery failed", "%(count)s deliveries failed", failures)
    where = ngettext("in %(count)s receiver", "in %(count)s receivers", receivers)
    return f"{failed % {'count': _number(failures)}} {where % {'count': _number(receivers)}}"


def _body(news: Sequence[News], headline: str) -> str:
    paragraphs = [
        gettext("%(headline)s. They will not be tried again by themselves.")
        % {"headline": headline},
        *map(_paragraph, news),
    ]
    address = _address(LIST)
    if address:
        paragraphs.append(gettext("All dead letters, to retry or to mute them:") + f"\n{address}")
    else:
        command = "manage.py gemini_webhooks failures"
        paragraphs.append(gettext("“%(command)s” lists them.") % {"command": command})
    return "\n\n".join(paragraphs) + "\n"


def _paragraph(one: News) -> str:
    error_class = _one_line(one.error_class) or gettext("error class not known")
    counts = gettext("%(count)s new, %(total)s in all") % {
        "count": _number(one.count),
        "total": _number(one.total),
    }
    when = _time(one.first)
    if _time(one.last) != when:
        span = {"first": when, "last": _time(one.last)}
        when = gettext("%(first)s to %(last)s") % span
    lines = [_one_line(one.receiver), f"  {error_class}", f"  {counts}", f"  {when}"]
    address = _address(PAGE, receiver=one.receiver, error_class=one.error_class)
    return "\n".join([*lines, f"  {address}"] if address else lines)


def _address(name: str, **query: str) -> str:
    """The address of a page of the admin; empty if it is not known."""
    base = settings.PUBLIC_BASE_URL
    try:
        path = reverse(name)
    except NoReverseMatch:  # without the admin, or in a process without the site's URLs
        return ""
    if not base:
        return ""
    return urljoin(base, f"{path}?{urlencode(query)}" if query else path)


def _number(value: int) -> str:
    return number_format(value, force_grouping=True)


def _time(moment: datetime) -> str:
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return f"{local:%Y-%m-%d %H:%M %Z}".rstrip()


def _one_line(text: str) -> str:
    """A name, without what would let it pass for more than one line."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
