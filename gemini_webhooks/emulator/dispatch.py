"""What all views share: methods, API key, JSON in and out, errors in Google's form."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import connections
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from gemini_webhooks.emulator.collection import Collection, R
from gemini_webhooks.emulator.errors import ApiError, invalid
from gemini_webhooks.emulator.origins import refuse_other_sites
from gemini_webhooks.emulator.resources import WebhookConfig
from gemini_webhooks.emulator.state import ENVIRON_KEY, Emulator, shared
from gemini_webhooks.emulator.transport import is_target

Answer = HttpResponse | StreamingHttpResponse | dict[str, Any]
View = Callable[..., HttpResponse | StreamingHttpResponse]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request as the handlers want it."""

    emulator: Emulator
    request: HttpRequest
    body: bytes = field(repr=False)

    def json(self) -> dict[str, Any]:
        """The body as an object; an empty body is an empty one. 400 if it is not JSON."""
        try:
            value = json.loads(self.body or b"{}")
        except (ValueError, RecursionError):
            raise invalid("The body is not JSON.") from None
        if not isinstance(value, dict):
            raise invalid("The body is not a JSON object.")
        return value

    @property
    def project(self) -> str:
        """Whose call it is: with that option, each API key stands for a project of its own."""
        return _key_of(self.request) if self.emulator.options.separate_projects else ""

    def page(
        self,
        items: Collection[R],
        *,
        size: int,
        limit: int,
        only: Callable[[R], bool] = lambda _: True,
    ) -> tuple[list[R], str]:
        """The page that the query asks for; both spellings of the parameters are known."""
        query = self.request.GET
        asked = query.get("page_size") or query.get("pageSize") or "0"
        if not (asked.isascii() and asked.isdigit()):
            raise invalid("The page size is not a number.")
        token = query.get("page_token") or query.get("pageToken") or ""
        return items.page(min(int(asked) or size, limit), token, only)

    def base_url(self) -> str:
        """Scheme and host that the client called."""
        return f"{self.request.scheme}://{self.request.META.get('HTTP_HOST', 'localhost')}"


Handler = Callable[..., Answer]


def view(*, public: bool = False, spared: bool = False, **handlers: Handler) -> View:
    """A Django view from one handler per method.

    Handlers take a :class:`Call` and what the URL captures, run under the emulator's lock,
    and return JSON, a response, or raise ``ApiError``.

    Args:
        public: no API key is asked for.
        spared: it is no part of the API, so the faults on demand are not for it.
        handlers: by method, for example ``GET=show``.
    """

    def dispatch(request: HttpRequest, **captured: str) -> HttpResponse | StreamingHttpResponse:
        try:
            answer = _handle(request, handlers, captured, public=public, spared=spared)
        except ApiError as error:
            return error.response()
        return JsonResponse(answer) if isinstance(answer, dict) else answer

    exempt: Any = csrf_exempt(dispatch)
    # In a site's own URLconf neither its login wall nor its transactions are our concern.
    exempt.login_required = False
    exempt._non_atomic_requests = set(connections)  # as non_atomic_requests does for one alias
    return exempt  # type: ignore[no-any-return]  # the attributes made it Any


def _handle(
    request: HttpRequest,
    handlers: Mapping[str, Handler],
    captured: Mapping[str, str],
    *,
    public: bool,
    spared: bool,
) -> Answer:
    emulator = request.META.get(ENVIRON_KEY) or shared()
    method = request.method or ""
    handler = handlers.get(method)
    if handler is None:
        raise ApiError(405, f"{method} is not served here.")
    if method != "GET":
        refuse_other_sites(request)
    if not public:
        check_key(request, emulator.options.api_key)
    if not spared:
        emulator.faults.meet(method, request.path, done=False)
    # Not request.body: a site's limit for uploads in memory would hold for it.
    call = Call(emulator=emulator, request=request, body=request.read())
    with emulator.lock:
        answer = handler(call, **captured)
    if method != "GET":
        emulator.touch()
    if not spared:
        emulator.faults.meet(method, request.path, done=True)
    return answer


def webhook_config(value: Any) -> WebhookConfig:
    """Read a job's ``webhook_config``; 400 if it cannot be used."""
    if value is None:
        return WebhookConfig()
    if not isinstance(value, dict):
        raise invalid("webhook_config is not an object.")
    uris = value.get("uris") or []
    if not isinstance(uris, list) or not all(is_target(uri) for uri in uris):
        raise invalid("webhook_config.uris must be absolute http or https URIs.")
    metadata = value.get("user_metadata", value.get("userMetadata"))
    if not isinstance(metadata, Mapping | None):
        raise invalid("webhook_config.user_metadata is not an object.")
    return WebhookConfig(uris=tuple(uris), user_metadata=metadata)


def check_key(request: HttpRequest, expected: str | None) -> None:
    """401 without an API key, 403 with another one than ``expected``."""
    given = _key_of(request)
    if not given:
        raise ApiError(401, "An API key is needed: send x-goog-api-key.")
    if expected is not None and not hmac.compare_digest(given.encode(), expected.encode()):
        raise ApiError(403, "The API key is not valid.")


def _key_of(request: HttpRequest) -> str:
    return request.headers.get("x-goog-api-key") or request.GET.get("key") or ""
