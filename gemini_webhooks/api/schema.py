"""What OpenAPI says about the addresses, and the address that says it.

It is written down next to each view, not decorated onto its methods: decorators fall back to the
site's ``DEFAULT_SCHEMA_CLASS``, which may be none of drf-spectacular's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

import gemini_webhooks
from gemini_webhooks.api import errors, queries
from gemini_webhooks.api.caching import private
from gemini_webhooks.api.permissions import HasNeeded, views
from gemini_webhooks.api.throttling import ReadThrottle, throttled

DESCRIPTION = """\
What Gemini API webhooks delivered to this site, and what became of it. Lists are ordered newest \
first and come in pages; follow `next`. A parameter that is not known is refused. All times are in \
UTC. Who may do what follows the permissions of the site's users."""

#: What any request may be answered.
USUAL: Mapping[int, str] = {
    400: "A parameter or the body is not as it should be.",
    401: "Nobody is logged in.",
    403: "Nobody is logged in, or a permission is missing.",
    404: "There is no such row.",
    406: "The format that is asked for is not offered.",
    429: "Too often. Retry-After says for how long to wait.",
    503: "The database or the storage does not answer. Retry-After likewise.",
}
FOR_BODIES: Mapping[int, str] = {
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What is said about one method of one address.

    Attributes:
        summary: in a few words.
        description: whatever else has to be known.
        answers: serializers of success by status; empty: that of the view.
        problems: further statuses of errors, and when.
        query: the parameters of its address.
        body: what is sent.
        examples: of what is sent or answered.
    """

    summary: str
    description: str = ""
    answers: Mapping[Any, Any] | None = None
    problems: Mapping[int, str] | None = None
    query: type[queries.Query] | None = None
    body: Any = None
    examples: Sequence[OpenApiExample] = ()


class Schema(AutoSchema):
    """Reads ``operations`` of the view."""

    view: Any  # a Resource

    @property
    def operation(self) -> Operation:
        """What is said about what is being looked at."""
        found: Operation = self.view.operations[self.view.action]
        return found

    def get_operation_id(self) -> str:
        """The same wherever the site puts the addresses."""
        return f"gemini_webhooks_{self.view.basename}_{self.view.action}"

    def get_tags(self) -> list[str]:
        """One for all, so that they stand together in the schema of a whole site."""
        return ["gemini_webhooks"]

    def get_summary(self) -> str:
        """In a few words."""
        return self.operation.summary

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular has it
        """The rest, with the permissions."""
        needed = ", ".join(f"`{name.partition('.')[2]}`" for name in self.view.needed())
        return f"{self.operation.description}\n\nNeeds the permissions {needed}.".strip()

    def get_override_parameters(self) -> list[Any]:
        """The parameters of the address."""
        return [self.operation.query] if self.operation.query else []

    def get_request_serializer(self) -> Any:
        """What is sent."""
        return self.operation.body

    def get_response_serializers(self) -> Any:
        """What may be answered."""
        answers: dict[Any, Any] = dict(
            self.operation.answers or {200: self.view.get_serializer_class()}
        )
        usual = {**USUAL, **(FOR_BODIES if self.operation.body else {})}
        for status, why in {**usual, **(self.operation.problems or {})}.items():
            described = errors.InvalidSerializer if status == 400 else errors.ErrorSerializer
            answers[status] = OpenApiResponse(described, description=why)
        return answers

    def get_examples(self) -> list[OpenApiExample]:
        """Of what is sent or answered."""
        return list(self.operation.examples)


class SchemaView(APIView):
    """The schema, for who may look at deliveries.

    Attributes:
        patterns: of the addresses that it describes.
    """

    patterns: Sequence[URLPattern] = ()
    permission_classes = (HasNeeded,)
    renderer_classes = (OpenApiJsonRenderer, OpenApiYamlRenderer)
    metadata_class = None
    versioning_class = None
    schema = None

    def needed(self) -> list[str]:
        """The permissions that the request needs."""
        return [views("webhookdelivery")]

    def get_throttles(self) -> list[BaseThrottle]:
        """Ours, and those of the site."""
        return throttled(ReadThrottle)

    def get_exception_handler(self) -> Any:
        """Ours."""
        return errors.handle

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Tell caches to keep off."""
        return private(super().finalize_response(request, response, *args, **kwargs))

    def get(self, request: Request) -> Response:
        """Write it down, for wherever the site has put it."""
        generator: Any = SchemaGenerator
        found = generator(patterns=self.patterns).get_schema(request=request, public=True)
        found["info"] = {
            "title": "django-gemini-webhooks",
            "version": gemini_webhooks.__version__,
            "description": DESCRIPTION,
        }
        found["servers"] = [{"url": request.path.removesuffix("schema/").rstrip("/")}]
        return Response(found)
