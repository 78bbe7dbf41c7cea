"""Starting jobs whose end this site is to hear of, and the ledger of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit

from django.db import transaction
from django.urls import NoReverseMatch, reverse

from gemini_webhooks import clock, gateway, logs, redaction, seals
from gemini_webhooks.conf import settings
from gemini_webhooks.deliveries import alias, rows
from gemini_webhooks.events import bare_id, job_state
from gemini_webhooks.exceptions import ConfigurationError
from gemini_webhooks.models import Job, WebhookDelivery, WebhookEndpoint
from gemini_webhooks.storable import storable

logger = logs.get_logger(__name__)

#: Google ends a batch that was not processed in time after 24 h (guide) or 48 h (SDK).
DUE_AFTER = timedelta(hours=24)


def webhook_config(
    user_metadata: Mapping[str, Any] | None = None,
    *,
    endpoint: WebhookEndpoint | str | None = None,
) -> dict[str, Any]:
    """Return what the SDK takes as ``webhook_config``: our URI and sealed metadata.

    The seal is what proves, when the event comes, that this site started the job: anybody with
    a Gemini API key can name our URI in a job of his own.

    Args:
        user_metadata: a JSON object that comes back as ``event.user_metadata``.
        endpoint: the registered endpoint, or its slug, to deliver to; by default the root one.

    Raises:
        ConfigurationError: ``PUBLIC_BASE_URL`` is not set, or the URLs are not included.
        TypeError, ValueError: ``user_metadata`` is not a JSON object.
    """
    slug = endpoint.slug if isinstance(endpoint, WebhookEndpoint) else endpoint or ""
    stored_uri = endpoint.uri if isinstance(endpoint, WebhookEndpoint) else ""
    return {
        "uris": [stored_uri or public_uri(slug)],
        "user_metadata": seals.seal_metadata(user_metadata or {}, endpoint=slug),
    }


def public_uri(slug: str = "") -> str:
    """The address that Google is to call: of the root endpoint, or of the one named ``slug``.

    Raises:
        ConfigurationError: ``PUBLIC_BASE_URL`` is not set, or the URLs are not included.
    """
    base = settings.PUBLIC_BASE_URL
    if not base or not urlsplit(base).netloc:
        raise ConfigurationError(
            'Set GEMINI_WEBHOOKS["PUBLIC_BASE_URL"] to this site\'s public address, for example '
            '"https://app.example.com": Google has to be told where to deliver. On your desk, run '
            "the export lines that `manage.py runserver --with-emulator` prints instead."
        )
    try:
        if not slug:
            return urljoin(base, reverse("gemini_webhooks:receive"))
        path = reverse("gemini_webhooks:receive-endpoint", kwargs={"slug": slug})
    except NoReverseMatch:
        raise ConfigurationError(
            f"No URL for {slug or 'the root endpoint'}: is "
            'path("webhooks/gemini/", include("gemini_webhooks.urls")) in the URLconf?'
        ) from None
    return urljoin(base, path)


def track(
    resource: Any,
    *,
    user_metadata: Mapping[str, Any] | None = None,
    endpoint: WebhookEndpoint | str | None = None,
    api_key_name: str = "default",
    due_at: datetime | None = None,
) -> Job:
    """Enter a job that was just submitted in the ledger; one that was lost is asked about again.

    Args:
        resource: what the SDK returned: a batch, an interaction or an operation; or its name.
        user_metadata: what was given to :func:`webhook_config`.
        endpoint: likewise.
        api_key_name: the key in ``API_KEYS`` that it was submitted with.
        due_at: aware time after which its silence is suspicious; 24 h from now by default.

    Raises:
        TypeError, ValueError: ``resource`` has neither a name nor an id, or ``due_at`` is not an
            aware time.
        CannotRedact: a function of ``REDACT`` failed.
    """
    _check_due(due_at)
    name = resource if isinstance(resource, str) else _name(resource)
    if not name:
        raise ValueError("track() takes a batch, an interaction or an operation, or its name")
    bare = bare_id(name)
    job, _ = rows(Job).update_or_create(
        resource_id=bare,
        defaults={
            "kind": _kind(name),
            "name": name,
            "endpoint": _endpoint(endpoint),
            "user_metadata": redaction.metadata_to_store(storable(dict(user_metadata or {}))),
            "api_key_name": api_key_name,
            "due_at": clock.for_database(due_at) if due_at else clock.now() + DUE_AFTER,
        },
    )
    if (
        rows(Job)
        .filter(pk=job.pk, state=Job.State.LOST)
        .update(state=Job.State.SUBMITTED, last_error="")
    ):
        job.state, job.last_error = Job.State.SUBMITTED, ""
    settle_from_the_past(job)
    return job


def submit_batch(
    *,
    model: str,
    src: Any,
    config: Any = None,
    user_metadata: Mapping[str, Any] | None = None,
    endpoint: WebhookEndpoint | str | None = None,
    dynamic: bool = True,
    api_key_name: str = "default",
    due_at: datetime | None = None,
) -> Any:
    """Submit a batch, have its end announced here, and enter it in the ledger.

    Call it outside of a transaction: the batch runs, and costs, also if that is rolled back. The
    ledger is a help, so if it cannot be written now, that is logged and the batch returned.

    Args:
        model: as the SDK's ``client.batches.create`` takes it.
        src: likewise.
        config: likewise, without ``webhook_config``.
        user_metadata: a JSON object that comes back as ``event.user_metadata``.
        endpoint: the registered endpoint, or its slug, to deliver to; by default the root one.
        dynamic: ``False`` leaves it to the registered webhooks to announce the end.
        api_key_name: one of ``API_KEYS``.
        due_at: as for :func:`track`.

    Returns:
        What the SDK returns.

    Raises:
        GatewayError: Google refused or did not answer; without an answer it may run
            nevertheless, and its event comes.
        ConfigurationError: as for :func:`webhook_config`, or there is no such API key.
        TypeError, ValueError: the SDK or :func:`webhook_config` does not take the arguments.
    """
    _check(user_metadata, due_at)
    notice = _notice(user_metadata, endpoint, dynamic=dynamic)
    batch = gateway.create_batch(
        api_key_name=api_key_name, model=model, src=src, config=_config(config, notice)
    )
    return _enter(batch, user_metadata, endpoint, api_key_name, due_at)


def submit_interaction(
    *,
    user_metadata: Mapping[str, Any] | None = None,
    endpoint: WebhookEndpoint | str | None = None,
    dynamic: bool = True,
    api_key_name: str = "default",
    due_at: datetime | None = None,
    **arguments: Any,
) -> Any:
    """As :func:`submit_batch`, for an interaction in the background.

    ``arguments`` are those of the SDK's ``client.interactions.create``, without ``background``,
    which is always set, and ``webhook_config``.
    """
    _check(user_metadata, due_at)
    notice = _notice(user_metadata, endpoint, dynamic=dynamic)
    _keep_out(arguments, "background", "webhook_config")
    interaction = gateway.create_interaction(
        api_key_name=api_key_name, background=True, **arguments, **notice
    )
    return _enter(interaction, user_metadata, endpoint, api_key_name, due_at)


def submit_video(
    *,
    config: Any = None,
    user_metadata: Mapping[str, Any] | None = None,
    endpoint: WebhookEndpoint | str | None = None,
    dynamic: bool = True,
    api_key_name: str = "default",
    due_at: datetime | None = None,
    **arguments: Any,
) -> Any:
    """As :func:`submit_batch`, for a video; ``google-genai`` 3.x refuses to start one.

    ``arguments`` are those of the SDK's ``client.models.generate_videos``.
    """
    _check(user_metadata, due_at)
    notice = _notice(user_metadata, endpoint, dynamic=dynamic)
    operation = gateway.create_video(
        api_key_name=api_key_name, config=_config(config, notice), **arguments
    )
    return _enter(operation, user_metadata, endpoint, api_key_name, due_at)


def _check(user_metadata: Mapping[str, Any] | None, due_at: datetime | None) -> None:
    """Refuse what the ledger could not take, while nothing runs yet.

    Raises:
        TypeError, ValueError: one of them is not what :func:`submit_batch` says.
    """
    seals.checked(user_metadata or {})
    _check_due(due_at)


def _check_due(due_at: datetime | None) -> None:
    if due_at is None:
        return
    if not isinstance(due_at, datetime):
        raise TypeError(f"due_at must be a datetime, not {type(due_at).__name__}")
    if due_at.utcoffset() is None:
        raise ValueError("due_at must be an aware time: give it a tzinfo")


def _notice(
    user_metadata: Mapping[str, Any] | None,
    endpoint: WebhookEndpoint | str | None,
    *,
    dynamic: bool,
) -> dict[str, Any]:
    """The SDK's argument that has the end announced here; none for a static webhook."""
    return {"webhook_config": webhook_config(user_metadata, endpoint=endpoint)} if dynamic else {}


def _config(config: Any, notice: Mapping[str, Any]) -> dict[str, Any]:
    """The SDK's ``config``, a dict or a model of its own, and our part."""
    given = dict(config or {})  # a model iterates over its fields
    given = {name: value for name, value in given.items() if value is not None}
    _keep_out(given, "webhook_config")
    return {**given, **notice}


def _keep_out(arguments: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if name in arguments:
            raise ValueError(f"{name} is given by this function itself: leave it out")


def _enter(
    resource: Any,
    user_metadata: Mapping[str, Any] | None,
    endpoint: WebhookEndpoint | str | None,
    api_key_name: str,
    due_at: datetime | None,
) -> Any:
    """Enter what runs already in the ledger; what goes wrong must not hide it from its owner."""
    try:
        # In a transaction of the caller, this one's failure must not spoil it.
        with transaction.atomic(using=alias()):
            track(
                resource,
                user_metadata=user_metadata,
                endpoint=endpoint,
                api_key_name=api_key_name,
                due_at=due_at,
            )
    except Exception as error:  # noqa: BLE001  # it runs: its handle has to reach the caller
        logger.error(  # noqa: TRY400  # a database error's text may quote the row
            "%s was submitted, but is not in the ledger (%s): track() it again, or let "
            "`manage.py gemini_webhooks reconcile --discover` find it if it is a batch",
            _name(resource) or "a job",
            type(error).__name__,
        )
    return resource


def _endpoint(endpoint: WebhookEndpoint | str | None) -> WebhookEndpoint | None:
    if isinstance(endpoint, str):
        return rows(WebhookEndpoint).filter(slug=endpoint).first()
    return endpoint


def settle_from_the_past(job: Job) -> None:
    """A short job's event may have come before the job was entered."""
    names = {job.name, job.resource_id}
    told = rows(WebhookDelivery).exclude(source=WebhookDelivery.Source.RECORDING)
    came = told.filter(resource_id__in=names).order_by("-received_at").first()
    state = job_state(came.event_type) if came else None
    if state is None:
        return
    job.state, job.delivery = state, came
    job.save(update_fields=["state", "delivery"])


def _name(resource: Any) -> str:
    found = getattr(resource, "name", None) or getattr(resource, "id", None)
    return found if isinstance(found, str) else ""


def _kind(name: str) -> Job.Kind:
    if name.startswith("batches/"):
        return Job.Kind.BATCH
    return Job.Kind.OPERATION if "operations/" in name else Job.Kind.INTERACTION
