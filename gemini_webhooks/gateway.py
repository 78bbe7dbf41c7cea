"""The only module that calls ``google-genai``.

Works with 2.34 and 3.x; the package is imported when a call is made, as it is an extra. Whatever
the SDK and the HTTP client below it raise leaves here as :class:`GatewayError`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from urllib.parse import urlsplit

from gemini_webhooks.ciphers import Plaintext
from gemini_webhooks.conf import GOOGLE_API, SETTING, settings
from gemini_webhooks.exceptions import (
    ConfigurationError,
    GatewayError,
    GeminiWebhooksError,
    UnsuitableJob,
)

if TYPE_CHECKING:
    from io import IOBase

    from google.genai import Client
    from google.genai.webhooks import WebhookSubscribedEvent

BASE_URL_VARIABLE = "GOOGLE_GEMINI_BASE_URL"
CALL_TIMEOUT_MS = 20_000
#: Between two pieces of a download, not for all of it. Less than the lease of a result file.
DOWNLOAD_TIMEOUT_MS = 40_000
#: What the SDK tells the server about our patience; without it, the above.
DOWNLOAD_SERVER_TIMEOUT_SECONDS = 3600
PAGE_SIZE = 1000
#: Listed batches come with their inline answers.
BATCHES_PAGE_SIZE = 50
MAX_MESSAGE_LENGTH = 1000
#: Where the SDK itself goes instead of the API's host when the machine has a client certificate.
MTLS_HOST = "generativelanguage.mtls.googleapis.com"

#: ``revocation_behavior`` of a rotation (protocol: upper-case in the guide, lower-case in the SDK).
AFTER_GRACE: Final = "revoke_previous_secrets_after_h24"
AT_ONCE: Final = "revoke_previous_secrets_immediately"


class Sink(Protocol):
    """Takes the bytes of a download, in order."""

    def write(self, chunk: bytes, /) -> int:
        """Take ``chunk``; what it raises ends the download."""


@dataclass(frozen=True, kw_only=True)
class RemoteSecret:
    """A signing secret as Google shows it.

    Attributes:
        hint: ``whsec_…3frh``, written as :func:`gemini_webhooks.verification.secret_hint` does.
        expires_at: aware time from which Google does not sign with it; ``None`` if that is open.
    """

    hint: str
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class RemoteWebhook:
    """A webhook as Google knows it.

    Attributes:
        id: at Google.
        name: free text, may be empty.
        uri: where events are sent.
        subscribed_events: event types.
        state: ``enabled``, ``disabled`` or ``disabled_due_to_failed_deliveries``; an open set.
        secrets: what it is signed with; several during the grace of a rotation.
        create_time: aware time at which it was made, if Google says it.
        update_time: aware time of the last change, if Google says it.
        new_signing_secret: ``whsec_…``, in the answer to a creation only; it cannot be read again.
    """

    id: str
    name: str
    uri: str
    subscribed_events: tuple[str, ...]
    state: str
    secrets: tuple[RemoteSecret, ...] = ()
    create_time: datetime | None = None
    update_time: datetime | None = None
    new_signing_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of the Files API.

    Attributes:
        size: in bytes, if Google says it.
        sha256: base64, if Google says it.
        content_type: may be empty.
    """

    size: int | None
    sha256: str
    content_type: str


@dataclass(frozen=True, kw_only=True)
class BatchOutput:
    """Where the output of a batch is.

    Attributes:
        state: ``JOB_STATE_…``.
        file_name: ``files/…`` if it is a file, otherwise empty.
        answers: inline answers in the order of the requests, each with any of ``metadata``,
            ``response`` and ``error``; ``None`` if the batch has no inline answers.
    """

    state: str
    file_name: str
    answers: tuple[Mapping[str, Any], ...] | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class RemoteJob:
    """A batch, interaction or operation as Google shows it now.

    Attributes:
        name: ``batches/…``, ``models/…/operations/…``, or the id of an interaction.
        state: of a batch ``JOB_STATE_…``; of an interaction its status; of an operation
            ``running``, ``succeeded`` or ``failed``. Open sets.
        output: ``gs://…``, ``files/…`` or the URL of a video; empty if there is none to name.
        error: code and message, if Google gives them.
        created_at: aware time, if Google says it.
        changed_at: aware time of its end, or else of its last change, if Google says it.
        display_name: of a batch, as whoever started it called it; may be empty.
    """

    name: str
    state: str
    output: str = ""
    error: tuple[str, str] | None = None
    created_at: datetime | None = None
    changed_at: datetime | None = None
    display_name: str = ""


def create_webhook(
    *, api_key_name: str, name: str, uri: str, subscribed_events: Sequence[str]
) -> RemoteWebhook:
    """Register ``uri`` at Google. The answer holds the signing secret, this once.

    Raises:
        GatewayError: Google refused or did not answer; without an answer it may exist
            nevertheless.
        ConfigurationError: no such API key, or the extra is not installed.
    """
    with _calling(api_key_name) as client:
        events = cast("Sequence[WebhookSubscribedEvent]", subscribed_events)  # an open set
        return _webhook(client.webhooks.create(name=name, uri=uri, subscribed_events=events))


def get_webhook(*, api_key_name: str, webhook_id: str) -> RemoteWebhook:
    """Read one webhook. Raises as :func:`create_webhook` does."""
    with _calling(api_key_name) as client:
        return _webhook(client.webhooks.get(webhook_id))


def list_webhooks(*, api_key_name: str) -> list[RemoteWebhook]:
    """Read all webhooks of the key's project. Raises as :func:`create_webhook` does."""
    found: list[RemoteWebhook] = []
    token: str | None = None
    with _calling(api_key_name) as client:
        while True:
            page = client.webhooks.list(page_size=PAGE_SIZE, page_token=token)
            found += map(_webhook, page.webhooks or ())
            token = page.next_page_token
            if not token:
                return found


def ping_webhook(*, api_key_name: str, webhook_id: str) -> None:
    """Have Google send a test event. Raises as :func:`create_webhook` does."""
    with _calling(api_key_name) as client:
        client.webhooks.ping(webhook_id)


def delete_webhook(*, api_key_name: str, webhook_id: str) -> None:
    """Remove a webhook. Raises as :func:`create_webhook` does."""
    with _calling(api_key_name) as client:
        client.webhooks.delete(webhook_id)


def update_webhook(
    *,
    api_key_name: str,
    webhook_id: str,
    name: str | None = None,
    uri: str | None = None,
    subscribed_events: Sequence[str] | None = None,
    state: str | None = None,
) -> RemoteWebhook:
    """Change what is given. Raises as :func:`create_webhook` does."""
    given = {"name": name, "uri": uri, "subscribed_events": subscribed_events, "state": state}
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    with _calling(api_key_name) as client:
        return _webhook(client.webhooks.update(webhook_id, **changes))


def rotate_secret(*, api_key_name: str, webhook_id: str, revoke_immediately: bool) -> Plaintext:
    """Make a new signing secret and return it; it cannot be read again.

    Args:
        api_key_name: one of ``API_KEYS``.
        webhook_id: at Google.
        revoke_immediately: the old secrets end now; otherwise Google signs with them for 24
            hours more.

    Raises:
        GatewayError: Google refused, did not answer, or sent no secret.
        ConfigurationError: no such API key, or the extra is not installed.
    """
    with _calling(api_key_name) as client:
        answer = client.webhooks.rotate_signing_secret(
            webhook_id, revocation_behavior=AT_ONCE if revoke_immediately else AFTER_GRACE
        )
    secret = _hidden(answer.secret)  # the SDK passes on what does not fit its types
    if secret is None:
        raise GatewayError("Google sent no signing secret")
    return secret


def batch_output(*, api_key_name: str, name: str) -> BatchOutput:
    """Read the output of a batch, ``batches/…``. Raises as :func:`create_webhook` does.

    The SDK parses all inline answers at once; Google limits them by the size of the request.
    """
    with _calling(api_key_name) as client:
        batch = client.batches.get(name=name)
        output = batch.dest
        answers = output.inlined_responses if output else None
        return BatchOutput(
            state=batch.state.value if batch.state else "",
            file_name=(output.file_name if output else None) or "",
            answers=None if answers is None else tuple(map(_plain, answers)),
        )


def get_file(*, api_key_name: str, name: str) -> RemoteFile:
    """Read what is known about a file, ``files/…``. Raises as :func:`create_webhook` does."""
    with _calling(api_key_name) as client:
        file = client.files.get(name=name)
        return RemoteFile(
            size=file.size_bytes,
            sha256=file.sha256_hash or "",
            content_type=file.mime_type or "",
        )


def download_file(*, api_key_name: str, name: str, sink: Sink) -> None:
    """Write the content of a file, ``files/…``, to ``sink``, in pieces of about 1 MiB.

    Both SDK lines stream into a ``destination`` without holding the file in memory. Neither can
    start in the middle: they take the 206 that answers a ``Range`` for an error.

    Raises:
        GatewayError, ConfigurationError: as :func:`create_webhook` does.
        GeminiWebhooksError: what ``sink`` raised.
    """
    with _calling(api_key_name) as client:
        client.files.download(
            file=name,
            destination=cast("IOBase", sink),  # only its write() is called
            config={
                "http_options": {
                    "timeout": DOWNLOAD_TIMEOUT_MS,
                    "headers": {"X-Server-Timeout": str(DOWNLOAD_SERVER_TIMEOUT_SECONDS)},
                }
            },
        )


def create_batch(*, api_key_name: str, **arguments: Any) -> Any:
    """Submit a batch; takes and returns what the SDK's ``batches.create`` does.

    Raises:
        GatewayError: Google refused or did not answer; without an answer it may run
            nevertheless.
        ConfigurationError: no such API key, or the extra is not installed.
        UnsuitableJob: the SDK does not take these arguments.
    """
    with _calling(api_key_name) as client, _refusing_arguments():
        return client.batches.create(**arguments)


def create_interaction(*, api_key_name: str, **arguments: Any) -> Any:
    """As :func:`create_batch`, for the SDK's ``interactions.create``."""
    with _calling(api_key_name) as client, _refusing_arguments():
        return client.interactions.create(**arguments)


def create_video(*, api_key_name: str, **arguments: Any) -> Any:
    """As :func:`create_batch`, for ``models.generate_videos``, which SDK 3.x refuses."""
    with _calling(api_key_name) as client, _refusing_arguments():
        return client.models.generate_videos(**arguments)


def read_batch(*, api_key_name: str, name: str) -> RemoteJob:
    """Read how a batch, ``batches/…``, stands. Raises as :func:`create_webhook` does."""
    with _calling(api_key_name) as client:
        found = _batch(client.batches.get(name=name))
    if found.state != "JOB_STATE_FAILED":
        return found
    # The SDK leaves out why; a batch is an operation as well, and those have their error.
    try:
        return replace(found, error=read_operation(api_key_name=api_key_name, name=name).error)
    except GatewayError as refused:
        if not refused.permanent:
            raise
        return found


def read_interaction(*, api_key_name: str, name: str) -> RemoteJob:
    """Read how an interaction stands. Raises as :func:`create_webhook` does."""
    with _calling(api_key_name) as client:
        found: Any = client.interactions.get(name)
    errors = found.errors or ()
    return RemoteJob(
        name=found.id or name,
        state=found.status or "",
        error=(_text(errors[0].code), _text(errors[0].message)) if errors else None,
        created_at=_moment(found.created),
        changed_at=_moment(found.updated),
    )


def read_operation(*, api_key_name: str, name: str) -> RemoteJob:
    """Read how an operation, ``…/operations/…``, stands. Raises as :func:`create_webhook` does."""
    with _calling(api_key_name) as client:
        from google.genai.types import GenerateVideosOperation  # noqa: PLC0415  # an extra

        asked = GenerateVideosOperation.model_validate({"name": name})
        found: Any = client.operations.get(asked)
    made = (found.response.generated_videos or ()) if found.response else ()
    error = found.error
    ended = "failed" if error else "succeeded"
    return RemoteJob(
        name=found.name or name,
        state=ended if found.done else "running",
        output=(made[0].video.uri or "") if made and made[0].video else "",
        error=(_text(error.get("code")), _text(error.get("message"))) if error else None,
    )


def list_batches(*, api_key_name: str) -> Iterator[RemoteJob]:
    """Read all batches of the key's project, page by page, in Google's order.

    Raises as :func:`create_webhook` does, while it is iterated over. Why a batch failed is not
    among what is listed.
    """
    with _calling(api_key_name) as client:
        for batch in client.batches.list(config={"page_size": BATCHES_PAGE_SIZE}):
            yield _batch(batch)


def base_url() -> str:
    """Where the SDK's calls go: Google, or what its environment variable names."""
    return os.environ.get(BASE_URL_VARIABLE) or GOOGLE_API


@contextmanager
def _calling(api_key_name: str) -> Iterator[Client]:
    key = _api_key(api_key_name)
    try:
        yield _client(os.getpid(), key, base_url())
    except GeminiWebhooksError:
        raise
    except ImportError:
        raise ConfigurationError(
            "google-genai is not installed: pip install 'django-gemini-webhooks[genai]'"
        ) from None
    except Exception as error:  # noqa: BLE001  # the SDK lets those of three libraries through
        raise _gateway_error(error) from None


@contextmanager
def _refusing_arguments() -> Iterator[None]:
    """Tell what the SDK says about arguments from what it makes of an answer."""
    try:
        yield
    except (TypeError, ValueError) as error:
        # Answers that cannot be read raise subclasses, as pydantic does for arguments, too.
        if type(error) in (TypeError, ValueError):
            raise UnsuitableJob(str(error)) from None
        if not str(getattr(error, "title", "")).startswith("_"):
            raise
        wrong: Any = getattr(error, "errors", list)
        places = [".".join(map(str, one["loc"])) for one in wrong(include_input=False)]
        raise UnsuitableJob(f"google-genai does not take {', '.join(places)}") from None


def _api_key(name: str) -> str:
    key = settings.API_KEYS.get(name)
    if not key:
        raise ConfigurationError(
            f"{SETTING}['API_KEYS'] has no key {name!r}, or it is empty"
            + (" (the environment variable GEMINI_API_KEY)" if name == "default" else "")
        )
    return key


@lru_cache(maxsize=8)
def _client(pid: int, api_key: str, url: str) -> Client:
    """A client closes itself when it is dropped; connections are not shared across a fork."""
    del pid  # only tells the entries of the cache apart
    from google.genai import Client  # noqa: PLC0415  # an extra
    from google.genai.types import HttpOptions, HttpRetryOptions  # noqa: PLC0415  # an extra

    def stay_at_home(request: Any) -> None:
        # Redirects are followed, with the key: only within the host that it is meant for.
        if _origin(str(request.url)) not in homes:
            raise GatewayError("the Gemini API redirected to another host; not followed")

    homes = {_origin(url), ("https", MTLS_HOST, 443)}
    return Client(
        api_key=api_key,
        vertexai=False,
        http_options=HttpOptions(
            base_url=url,
            timeout=CALL_TIMEOUT_MS,
            # Whoever calls has a retry of its own. SDK 2.x repeats webhook calls once even so.
            retry_options=HttpRetryOptions(attempts=1),
            client_args={"event_hooks": {"request": [stay_at_home]}},
        ),
    )


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return (
        parts.scheme,
        parts.hostname or "",
        parts.port or (443 if parts.scheme == "https" else 80),
    )


def _hidden(secret: Any) -> Plaintext | None:
    """A secret that no traceback shows; ``None`` for what is none."""
    return Plaintext(secret) if isinstance(secret, str) and secret else None


def _webhook(remote: Any) -> RemoteWebhook:
    return RemoteWebhook(
        id=remote.id or "",
        name=remote.name or "",
        uri=remote.uri or "",
        subscribed_events=tuple(remote.subscribed_events or ()),
        state=remote.state or "",
        secrets=tuple(map(_secret, remote.signing_secrets or ())),
        create_time=_moment(remote.create_time),
        update_time=_moment(remote.update_time),
        new_signing_secret=_hidden(remote.new_signing_secret),
    )


def _batch(batch: Any) -> RemoteJob:
    return RemoteJob(
        name=batch.name or "",
        state=batch.state.value if batch.state else "",
        output=(batch.dest.file_name if batch.dest else None) or "",
        created_at=_moment(batch.create_time),
        changed_at=_moment(batch.end_time) or _moment(batch.update_time),
        display_name=batch.display_name or "",
    )


def _secret(remote: Any) -> RemoteSecret:
    hint = str(remote.truncated_secret or "").replace("...", "…")
    return RemoteSecret(hint=hint, expires_at=_moment(remote.expire_time))


def _moment(value: Any) -> datetime | None:
    """A time, which half of the SDK leaves as text."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, datetime) and value.tzinfo else None


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _plain(answer: Any) -> Mapping[str, Any]:
    """An inline answer with the field names that result files have."""
    plain: dict[str, Any] = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
    return plain


def _gateway_error(error: Exception) -> GatewayError:
    # Its two halves report differently: ``code`` and ``details``, ``status_code`` and ``body``.
    for status_name, body_name in (("code", "details"), ("status_code", "body")):
        status = getattr(error, status_name, None)
        if isinstance(status, int):
            body = getattr(error, body_name, None)
            message = _message(body) or f"the Gemini API answered with HTTP status {status}"
            return GatewayError(message[:MAX_MESSAGE_LENGTH], status=status)
    # Its text may quote what was sent or received.
    kind = type(error.__cause__ or error).__name__
    return GatewayError(f"the Gemini API gave no usable answer ({kind})")


def _message(body: Any) -> str:
    """Google's own text; a proxy's page is not one."""
    inner = body.get("error") if isinstance(body, Mapping) else None
    message = inner.get("message") if isinstance(inner, Mapping) else None
    return message if isinstance(message, str) else ""
