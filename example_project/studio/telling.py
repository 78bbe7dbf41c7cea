"""Whom the studio tells of what: on-call by e-mail, a chat channel by its incoming webhook."""

from __future__ import annotations

from urllib.parse import urljoin

import httpx
from django.conf import settings
from django.core.mail import send_mail

from example_project.studio.models import Commission

TIMEOUT_SECONDS = 10
#: What Slack, Google Chat and Mattermost take for a link with another text, for a picture or for a
#: call to everybody is not for a prompt to write.
HARMLESS = str.maketrans("<>@[]", "‹›＠［］")


class NotTold(Exception):
    """The chat did not take the message. Says nothing of its address, which is a secret."""


def on_call(commission: Commission, subject: str, text: str) -> None:
    """Send an e-mail to whoever is on call."""
    body = f"{text}\n\n{_address(commission)}\n"
    send_mail(f"[studio] {subject}", body, None, [settings.STUDIO_ON_CALL])


def chat(commission: Commission, text: str) -> bool:
    """Post a line to the chat channel, if there is one; returns whether there is.

    Slack, Mattermost, Google Chat and others take this form.

    Raises:
        NotTold: it was not taken.
    """
    url = settings.STUDIO_CHAT_SECRET_URL
    if not url:
        return False
    line = f"{text.translate(HARMLESS)} {_address(commission)}"
    try:
        answer = httpx.post(url, json={"text": line}, timeout=TIMEOUT_SECONDS)
    except httpx.HTTPError as error:
        raise NotTold(f"The chat channel does not answer: {type(error).__name__}") from None
    if answer.is_error:
        raise NotTold(f"The chat channel answered {answer.status_code}.")
    return True


def _address(commission: Commission) -> str:
    return urljoin(settings.PUBLIC_BASE_URL, commission.get_absolute_url())
