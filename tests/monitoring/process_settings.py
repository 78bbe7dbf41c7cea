"""Settings of a web server or worker in a process of its own, on the database of a test."""

from __future__ import annotations

import os
from typing import Any

from tests.monitoring.pages import example
from tests.worker_settings import *  # noqa: F403  # the same site

ROOT_URLCONF = "tests.monitoring.urls"
if secret := os.environ.get("SERVER_SECRET"):
    GEMINI_WEBHOOKS = {
        "SIGNING_SECRETS": [secret],
        "FETCH_RESULTS": False,
        "RETRY_BASE_SECONDS": 0,
    }

if file := os.environ.get("MONITORING_LINES"):
    names: dict[str, Any] = {}
    exec(example("class AsJSON"), names)
    exec(example("LOGGING = "), names)
    LOGGING = names["LOGGING"]
    LOGGING["formatters"]["json"] = {"()": names["AsJSON"]}
    LOGGING["handlers"]["console"] |= {
        "class": "logging.FileHandler",
        "filename": file,
        "formatter": "json",
    }
