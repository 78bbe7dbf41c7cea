"""Plays Gemini in a test: delivers events, and has their receivers run at once."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from gemini_webhooks import deliveries, events, processing, seals
from gemini_webhooks.conf import SETTING, settings
from gemini_webhooks.models import WebhookEndpoint
from gemini_webhooks.processing import Handoff
from gemini_webhooks.testing import posting, stage, work
from gemini_webhooks.testing.bodies import Happening, happening, new_id, one_of
from gemini_webhooks.testing.files import GivenFile, GivenFiles, given_file
from gemini_webhooks.testing.outcome import Outcome
from gemini_webhooks.testing.posting import Message
from gemini_webhooks.verification import VerifiedRequest

Signing = Literal["hmac", "jwt", "trusted"]

#: pytest leaves out what lies between a test and the receiver that fails.
__tracebackhide__ = True


class Gemini:
    """Gemini's part, for one test. A context manager; the fixture and the mixin enter it.

    While it is entered, result files are kept in memory. Everything else that it changes holds
    only while it delivers or runs something.
    """

    def __init__(self) -> None:
        self._given = GivenFiles()
        self._stack: ExitStack | None = None

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._stack.enter_context(stage.results_in_memory())
        return self

    def __exit__(self, *_: object) -> None:
        if self._stack is not None:
            self._stack.close()
        self._stack = None

    def deliver(  # noqa: PLR0913  # a test says all of it in one line
        self,
        event_type: str,
        *,
        resource_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        user_metadata: Mapping[str, Any] | None = None,
        output: str = "",
        error: tuple[str, str] | None = None,
        occurred_at: datetime | None = None,
        data: Mapping[str, Any] | None = None,
        rows: Iterable[Mapping[str, Any]] | None = None,
        result: bytes | None = None,
        result_error: str = "",
        id: str | None = None,  # noqa: A002  # as for the event
        endpoint: WebhookEndpoint | str | None = None,
        signing: Signing = "hmac",
        tamper: bool = False,
        seal: bool = True,
        age: float = 0,
        client: Client | None = None,
        run: bool = True,
        raises: bool = True,
    ) -> Outcome:
        """Deliver an event, and run its receivers.

        It goes the whole way: signed, posted to the site's own URL, verified, stored. Then its
        receivers run here, one by one, each once.

        Args:
            event_type: for example ``"batch.succeeded"``; any text will do.
            resource_id: the job's; by default a new one.
            metadata: what the job was given as ``user_metadata``.
            user_metadata: the same, by its name elsewhere.
            output: ``gs://…``, ``files/…`` or the URL of a video.
            error: code and message of a failed job.
            occurred_at: aware; by default now.
            data: more fields of ``data``, as Google sends them.
            rows: of the result file, which the receivers of ``result_ready`` then get.
            result: the bytes of the result file, instead of rows.
            result_error: why the result file cannot be fetched.
            id: the webhook id; by default a new one. That of another outcome makes a duplicate.
            endpoint: a registered endpoint, or its slug; by default the root endpoint.
            signing: ``hmac``: a static webhook; ``jwt``: a dynamic one, with a seal of this site;
                ``trusted``: neither signed nor posted, but stored as if it had been.
            tamper: change the body after it was signed.
            seal: with ``jwt``: as if the site had started the job itself.
            age: seconds since it was signed.
            client: posts it; by default a new one.
            run: ``False``: only store it.
            raises: raise what a receiver raises, once all have run, and complain of a refusal,
                unless ``tamper``, ``seal`` or ``age`` ask for one. ``RetryLater`` and ``GiveUp``
                are no failures and never raised.

        Raises:
            AssertionError: the site refused it.
            ImproperlyConfigured: the app's URLs are not included, or results are not fetched.
            ValueError, TypeError: the arguments contradict each other, or JSON cannot hold them.
        """
        row, slug = _endpoint(endpoint)
        spoiled = tamper or not seal or age != 0
        _check(signing, spoiled=spoiled)
        file = given_file(rows, result, result_error)
        told = happening(
            event_type,
            resource_id=resource_id,
            metadata=one_of(metadata, user_metadata),
            output=output or (f"files/{uuid.uuid4().hex}" if file else ""),
            error=error,
            occurred_at=occurred_at,
            data=data,
        )
        if signing == "jwt" and seal:
            told = replace(told, metadata=seals.seal_metadata(told.metadata, endpoint=slug))
        self._give(told, file)
        message = Message(
            webhook_id=id or new_id(),
            body=told.body,
            slug=slug,
            endpoint=row,
            age=age,
            tamper=tamper,
        )
        outcome = self._send(message, event_type, signing, client)
        if not outcome.is_accepted and raises and not spoiled:
            raise AssertionError(f"the site did not accept it.\n{outcome}")
        if run and outcome.is_accepted and not outcome.is_duplicate:
            outcome.run(raises=raises)
        return outcome

    def run_due(self, *, after: timedelta | float = 0, raises: bool = True) -> int:
        """Run all that is due: what was only stored, retries, what waits for a place in a lane.

        Args:
            after: let so much time pass before; seconds, or a ``timedelta``.
            raises: raise what a receiver raises, once all have run.

        Returns:
            How often a receiver was called.
        """
        wait = after if isinstance(after, timedelta) else timedelta(seconds=after)
        with stage.later(wait):
            due = processing.sweep(everything=True).handoffs
        return self.work(due, wait=wait, raises=raises, about=None)

    def work(
        self, handoffs: Sequence[Handoff], *, wait: timedelta, raises: bool, about: object
    ) -> int:
        """For :class:`Outcome`: do what a worker would, ``wait`` later."""
        self._require_entered()
        with stage.working(self._given) as witness, stage.later(wait):
            work.do(handoffs, self._given)
        if raises and witness.errors:
            first = witness.errors[0]
            first.add_note(_note(about))
            raise first
        return witness.attempts

    def _send(
        self, message: Message, event_type: str, signing: Signing, client: Client | None
    ) -> Outcome:
        self._require_entered()
        if signing == "trusted":
            answer = posting.trust(message)
        else:
            answer = posting.post(message, signing, client or Client(enforce_csrf_checks=True))
        return Outcome(
            webhook_id=message.webhook_id,
            event_type=event_type,
            status_code=answer.status_code,
            answer=answer.answer,
            diagnosis=answer.diagnosis,
            delivery_id=answer.delivery_id,
            _worker=self,
        )

    def _give(self, told: Happening, file: GivenFile | None) -> None:
        """Have the file where the event says that it is."""
        if file is None:
            return
        if not settings.FETCH_RESULTS:
            raise ImproperlyConfigured(
                f"{SETTING}['FETCH_RESULTS'] is off: this site fetches no result files, so a test "
                "cannot give one."
            )
        request = VerifiedRequest(webhook_id="-", body=told.body, signing="none")
        self._given.add(events.parse(request).result_source or "", file)

    def _require_entered(self) -> None:
        if self._stack is None:
            raise RuntimeError("Use it in a with statement: with Gemini() as gemini: ...")


def _endpoint(endpoint: WebhookEndpoint | str | None) -> tuple[WebhookEndpoint | None, str]:
    """The row, if there is one, and the slug."""
    if not endpoint:
        return None, ""
    if isinstance(endpoint, WebhookEndpoint):
        return endpoint, endpoint.slug
    return deliveries.rows(WebhookEndpoint).filter(slug=endpoint).first(), endpoint


def _check(signing: str, *, spoiled: bool) -> None:
    if signing not in (*posting.SIGNATURES, "trusted"):
        raise ValueError(f"signing is 'hmac', 'jwt' or 'trusted', not {signing!r}")
    if signing == "trusted" and spoiled:
        raise ValueError("signing='trusted' verifies nothing: tamper=, seal= and age= need another")


def _note(about: object) -> str:
    note = "A receiver raised it. With raises=False it is only written down, as in production."
    return note if about is None else f"{note}\n{about}"
