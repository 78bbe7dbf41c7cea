"""Takes in jobs that other code started, such as a loop that polls, on the day it is replaced."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal

from gemini_webhooks import deliveries, events, gateway, redaction
from gemini_webhooks.conf import SETTING
from gemini_webhooks.deliveries import rows
from gemini_webhooks.events import bare_id
from gemini_webhooks.exceptions import ConfigurationError, GatewayError
from gemini_webhooks.gateway import RemoteJob
from gemini_webhooks.models import Job, WebhookEndpoint
from gemini_webhooks.reconcile import ledger
from gemini_webhooks.reconcile.asking import READ, api_keys, end_of
from gemini_webhooks.storable import storable, strings_in

#: ``new`` is what can be adopted; ``tracked`` is in the ledger, the event of ``told`` has come.
Standing = Literal["new", "tracked", "told", "ended", "old", "unknown", "failed"]

#: What a name of Google's is made of, so that it is safe in the URL of a call.
BATCH = re.compile(r"batches/\w[\w.~-]*", re.ASCII)
OPERATION = re.compile(r"(?:\w[\w.~-]*/)*operations/\w[\w.~-]*", re.ASCII)
INTERACTION = re.compile(r"(?:interactions/)?(\w[\w.~-]*)", re.ASCII)
MAX_NAME_LENGTH = 255

#: How the types of the events of a kind of job begin.
EVENTS_OF: Mapping[str, str] = {
    Job.Kind.BATCH: "batch.",
    Job.Kind.INTERACTION: "interaction.",
    Job.Kind.OPERATION: "video.",
}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A job at Google, and how it stands here.

    Attributes:
        name: ``batches/…``, ``…/operations/…``, or the id of an interaction.
        standing: whether it can be adopted, and else why not.
        kind: one of ``Job.Kind``; empty if the name is none of a job.
        api_key_name: the key in ``API_KEYS`` that knows it.
        display_name: of a batch; may be empty.
        state: Google's word for it; empty if Google could not be asked.
        created_at: aware time, if Google says it.
        reason: of ``failed``, in a sentence; of ``tracked``, its state in the ledger.
    """

    name: str
    standing: Standing
    kind: str = ""
    api_key_name: str = ""
    display_name: str = ""
    state: str = ""
    created_at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Audience:
    """Who is told by Google how the jobs of one kind and API key end.

    Attributes:
        kind: one of ``Job.Kind``.
        api_key_name: one of ``API_KEYS``.
        endpoints: slugs of the registered endpoints that are enabled and told of some.
        unheard: event types that none of them is told of.
    """

    kind: str
    api_key_name: str
    endpoints: tuple[str, ...]
    unheard: tuple[str, ...]


class Search:
    """Looks at Google for jobs that could be adopted.

    Args:
        api_key_name: one of ``API_KEYS``; all of them by default.
        match: a pattern for the display names of batches, such as ``nightly-*``.
        ended_since: take those as well that ended within this time and sent no event.

    Attributes:
        failures: API keys whose batches could not be listed, and why.

    Raises:
        ConfigurationError: there is no such API key, or none at all.
    """

    def __init__(
        self, *, api_key_name: str | None, match: str = "", ended_since: timedelta | None = None
    ) -> None:
        self._keys = api_keys(api_key_name)
        if not self._keys:
            raise ConfigurationError(
                f"{SETTING}['API_KEYS'] has no key with a value: set the environment variable "
                "GEMINI_API_KEY, or name the keys there."
            )
        self._match = match
        self._ended_since = ended_since
        self.failures: list[str] = []

    def listed(self) -> Iterator[Candidate]:
        """The batches that Google lists, each once, though two keys may be of one project."""
        seen: set[str] = set()
        for key in self._keys:
            try:
                for batch in gateway.list_batches(api_key_name=key):
                    matches = fnmatchcase(batch.display_name, self._match or "*")
                    if batch.name and batch.name not in seen and matches:
                        seen.add(batch.name)
                        yield self._judged(batch.name, Job.Kind.BATCH, key, batch)
            except (GatewayError, ConfigurationError) as error:
                self.failures.append(f"batches of API key {key} not listed: {error}")

    def named(self, names: Iterable[str]) -> Iterator[Candidate]:
        """The jobs of these names, each once, told apart by their form."""
        for given in dict.fromkeys(names):
            name, kind = _recognised(given)
            if kind:
                yield self._asked(name, kind)
            else:
                reason = "it is no name of a job: batches/…, …/operations/…, or an interaction's id"
                yield Candidate(name=name, standing="failed", reason=reason)

    def _asked(self, name: str, kind: str) -> Candidate:
        trouble = ""
        for key in self._keys:
            try:
                remote = READ[kind](api_key_name=key, name=name)
            except GatewayError as error:
                if error.status != 404:
                    trouble = str(error)
            except ConfigurationError as error:
                trouble = str(error)
            else:
                return self._judged(name, kind, key, remote)
        standing: Standing = "failed" if trouble else "unknown"
        return Candidate(name=name, kind=kind, standing=standing, reason=trouble)

    def _judged(self, name: str, kind: str, key: str, remote: RemoteJob) -> Candidate:
        tracked = rows(Job).filter(resource_id=bare_id(name)).first()
        return Candidate(
            name=name,
            kind=kind,
            standing="tracked" if tracked else self._standing(name, kind, remote),
            api_key_name=key,
            display_name=remote.display_name,
            state=remote.state,
            created_at=remote.created_at,
            reason=tracked.state if tracked else "",
        )

    def _standing(self, name: str, kind: str, remote: RemoteJob) -> Standing:
        event_type = end_of(kind, remote)
        if event_type is None or events.job_state(event_type) == "requires_action":
            return "new"
        if deliveries.told_of(name).exists():
            return "told"
        if self._ended_since is None:
            return "ended"
        now = datetime.now(UTC)
        return "new" if (remote.changed_at or now) >= now - self._ended_since else "old"


def adopt(
    candidates: Iterable[Candidate],
    *,
    due_in: timedelta,
    user_metadata: Mapping[str, Any] | None = None,
    endpoint: WebhookEndpoint | None = None,
) -> Iterator[Candidate]:
    """Enter jobs in the ledger, and yield those that nobody entered meanwhile.

    Args:
        candidates: what a :class:`Search` found, in the standing ``new``.
        due_in: when a pass of :func:`reconcile` is to ask about them first.
        user_metadata: a JSON object that their events are given if Google does not tell of them.
        endpoint: likewise.

    Raises:
        CannotRedact: a function of ``REDACT`` failed.
        django.db.Error: the database did not answer.
    """
    metadata = redaction.metadata_to_store(storable(dict(user_metadata or {})))
    now = datetime.now(UTC)
    for candidate in candidates:
        entered = ledger.take_in(
            candidate.name,
            candidate.kind,
            candidate.api_key_name,
            submitted_at=candidate.created_at or now,
            due_at=now + due_in,
            user_metadata=metadata,
            endpoint=endpoint,
        )
        if entered:
            yield candidate


def audiences(candidates: Iterable[Candidate]) -> list[Audience]:
    """Who is told of the ends of these jobs, for each kind and API key among them."""
    found = sorted({(each.kind, each.api_key_name) for each in candidates})
    return [_audience(kind, api_key_name) for kind, api_key_name in found]


def _audience(kind: str, api_key_name: str) -> Audience:
    wanted = [name for name in events.CATALOGUE if name.startswith(EVENTS_OF[kind])]
    enabled = rows(WebhookEndpoint).filter(
        api_key_name=api_key_name, state=WebhookEndpoint.State.ENABLED
    )
    told = {
        endpoint.slug: set(wanted).intersection(strings_in(endpoint.subscribed_events))
        for endpoint in enabled.exclude(remote_id="")
    }
    heard = set().union(*told.values())
    return Audience(
        kind=kind,
        api_key_name=api_key_name,
        endpoints=tuple(slug for slug, types in told.items() if types),
        unheard=tuple(name for name in wanted if name not in heard),
    )


def _recognised(given: str) -> tuple[str, str]:
    """A name as Google is asked for it, and its kind; the kind is empty if it is none of a job."""
    if len(given) > MAX_NAME_LENGTH:
        return given[:MAX_NAME_LENGTH], ""
    if BATCH.fullmatch(given):
        return given, Job.Kind.BATCH
    if OPERATION.fullmatch(given):
        return given, Job.Kind.OPERATION
    interaction = INTERACTION.fullmatch(given)
    return (interaction[1], Job.Kind.INTERACTION) if interaction else (given, "")
