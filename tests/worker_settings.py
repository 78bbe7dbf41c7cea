"""Settings of a Celery worker that works on the database of a running test."""

from __future__ import annotations

import json
import os

from tests.settings import *  # noqa: F403  # the same site
from tests.settings import INSTALLED_APPS as SITE_APPS

DATABASES = {"default": json.loads(os.environ["WORKER_DATABASE"])}
DATABASE_ROUTERS: list[str] = []
INSTALLED_APPS = [
    app if app != "tests.site" else "tests.worker_app.WorkerConfig" for app in SITE_APPS
]
GEMINI_WEBHOOKS = {"FETCH_RESULTS": False, "RETRY_BASE_SECONDS": 0}
