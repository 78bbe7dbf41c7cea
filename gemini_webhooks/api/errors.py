"""Errors as JSON, the same on every site: a stable code, a sentence, and which field is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import InterfaceError, OperationalError
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.exceptions import APIException
from rest_framework.response import Response
from rest_framework.views import exception_handler

from gemini_webhooks import logs
from gemini_webhooks.storable import storable

logger = logs.get_logger(__name__)

RETRY_AFTER_SECONDS = 10


class Problem(APIException):
    """Something that a request asks for and that cannot be had; raise a subclass or give a code.

    Args:
        detail: one sentence for who asked.
        code: stable, for programs.
    """

    status_code: int = status.HTTP_409_CONFLICT
    default_code = "conflict"


class NotThere(Problem):
    """404 with a code that says what is missing."""

    status_code = status.HTTP_404_NOT_FOUND
    default_code = "not_found"


class Unavailable(Problem):
    """503: ask again after a while."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"


@extend_schema_serializer(component_name="GeminiError")
class ErrorSerializer(serializers.Serializer[Any]):
    """What every error looks like."""

    error = serializers.CharField(help_text="Stable, for programs.")
    detail = serializers.CharField(help_text="A sentence for people.")


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
        "example": {"state": ['"done" is not a valid choice.']},
    }
)
class Fields(serializers.DictField):
    """What is wrong with each field."""


@extend_schema_serializer(component_name="GeminiInvalid")
class InvalidSerializer(ErrorSerializer):
    """What is wrong with a query or a body."""

    fields_ = Fields(required=False, help_text="What is wrong, by parameter or field.")

    def get_fields(self) -> Any:
        """The declared fields under their names: ``fields`` is taken in Python."""
        declared = super().get_fields()
        declared["fields"] = declared.pop("fields_")
        return declared


def handle(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Answer an error; ``None`` for those that are bugs."""
    if isinstance(error, OperationalError | InterfaceError):
        # Not its text: that may hold values.
        logger.error("api: the database does not answer: %s", type(error).__name__)
        error = Unavailable("The database does not answer.", code="database_unavailable")
    response = exception_handler(error, dict(context))
    if response is None:
        return None
    if response.status_code == status.HTTP_503_SERVICE_UNAVAILABLE:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    # What is quoted of a request may be no text that can be sent.
    response.data = storable(_described(response.data, error))
    return response


def _described(data: Any, error: Exception) -> dict[str, Any]:
    if isinstance(error, serializers.ValidationError):
        fields = {name: list(_texts(texts)) for name, texts in _by_name(data).items()}
        sentences = [f"{name}: {' '.join(texts)}" for name, texts in fields.items()]
        return {"error": "invalid", "detail": " ".join(sentences), "fields": fields}
    detail = data["detail"]
    return {"error": detail.code, "detail": str(detail)}


def _by_name(data: Any) -> Mapping[str, Any]:
    return data if isinstance(data, Mapping) else {"": data}


def _texts(found: Any) -> Any:
    """All sentences below ``found``, whatever they are nested in."""
    if isinstance(found, Mapping):
        for name, below in found.items():
            yield from (f"{name}: {text}" for text in _texts(below))
    elif isinstance(found, list | tuple):
        for below in found:
            yield from _texts(below)
    else:
        yield str(found)
