"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failure", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One result of one check.

    Attributes:
        name: what was looked at.
        status: ``skipped``: it could not be looked at, or there is nothing to look at.
        message: what was found, without anything secret.
        hint: what to do about it; empty if there is nothing to do.
    """

    name: str
    status: Status
    message: str
    hint: str = ""


def ok(name: str, message: str) -> Finding:
    """It works."""
    return Finding(name=name, status="ok", message=message)


def warning(name: str, message: str, hint: str) -> Finding:
    """It works, or may work, but somebody should know."""
    return Finding(name=name, status="warning", message=message, hint=hint)


def failure(name: str, message: str, hint: str) -> Finding:
    """It does not work."""
    return Finding(name=name, status="failure", message=message, hint=hint)


def skipped(name: str, message: str, hint: str = "") -> Finding:
    """It was not looked at."""
    return Finding(name=name, status="skipped", message=message, hint=hint)
