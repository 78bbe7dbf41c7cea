"""What comes in is JSON, and not much of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.http import UnreadablePostError
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

MAX_BYTES = 128 * 1024


class BodyTooLarge(APIException):
    """413: more than anything that is asked for needs."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = f"The body is larger than {MAX_BYTES} bytes."
    default_code = "body_too_large"


class JSONOnly(BaseParser):
    """JSON as its standard has it, whatever the site's own parsers take."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Read the body.

        Raises:
            ParseError: it is not JSON.
            BodyTooLarge: it is too large.
        """
        del media_type, parser_context
        try:
            body = stream.read(MAX_BYTES + 1)
        except UnreadablePostError:
            raise ParseError("The sender went away while it sent the body.") from None
        if len(body) > MAX_BYTES:
            raise BodyTooLarge
        try:
            return json.loads(body, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise ParseError("The body is not JSON.") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
