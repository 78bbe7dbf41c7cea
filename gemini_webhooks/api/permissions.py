"""Who may do what: Django's model permissions, for reading too.

They are set on each view, so that nothing is public whatever ``DEFAULT_PERMISSION_CLASSES`` says.
"""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

APP = "gemini_webhooks"
SEES_PAYLOADS = f"{APP}.view_payload"
REPLAYS = f"{APP}.replay_webhookdelivery"


def views(model_name: str) -> str:
    """The permission to look at rows of a model."""
    return f"{APP}.view_{model_name}"


class HasNeeded(BasePermission):
    """A user who has logged in and has all permissions that the view's ``needed()`` names."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether this user may do what is asked for."""
        user: Any = request.user  # None, if the site wants that of REST framework
        return bool(user and user.is_authenticated and user.has_perms(view.needed()))
