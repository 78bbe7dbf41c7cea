"""Templates, without any site's settings for them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from django.http import HttpResponse
from django.template import Context, Engine

HERE = Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def page(template: str, **values: Any) -> HttpResponse:
    """A page or a part of one; nothing in it runs but the emulator's own script.

    Args:
        template: name of a file in the folder of templates.
        values: for the template; all are escaped.
    """
    # Neither the language nor the time zone of a site is our concern.
    context = Context(values, use_l10n=False, use_tz=False)
    response = HttpResponse(_engine().get_template(template).render(context))
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response


@cache
def _engine() -> Engine:
    return Engine(dirs=[str(HERE / "templates")])
