"""Errors as Google's APIs answer them (google.rpc.Status in its JSON form)."""

from __future__ import annotations

from collections.abc import Mapping

from django.http import JsonResponse

STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    416: "OUT_OF_RANGE",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class ApiError(Exception):
    """What a view raises to refuse a request.

    Args:
        code: HTTP status.
        message: shown to the client.
        headers: more response headers.
        status: name of the error, if it is not the usual one for ``code``.
    """

    def __init__(
        self,
        code: int,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        status: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.headers = headers or {}
        self.status = status or STATUS_NAMES.get(code, "UNKNOWN")

    def response(self) -> JsonResponse:
        """The HTTP answer."""
        body = {"error": {"code": self.code, "message": self.message, "status": self.status}}
        return JsonResponse(body, status=self.code, headers=dict(self.headers))


def invalid(message: str) -> ApiError:
    """400: the request makes no sense."""
    return ApiError(400, message)


def failed_precondition(message: str) -> ApiError:
    """400: the resource is not in the state for it (google.rpc.Code maps it so, not to 412)."""
    return ApiError(400, message, status="FAILED_PRECONDITION")


def not_found(what: str) -> ApiError:
    """404: ``what`` does not exist."""
    return ApiError(404, f"{what} was not found.")
