"""Settings for a database without a site; ``CHAOS_DATABASE`` holds Django's entry for it."""

from __future__ import annotations

import json
import os

DATABASES = {"default": json.loads(os.environ["CHAOS_DATABASE"])}
if DATABASES["default"]["ENGINE"].endswith("mysql"):
    import pymysql  # type: ignore[import-untyped]  # ships none

    # Django asks for mysqlclient, which needs a compiler; PyMySQL speaks the same protocol.
    pymysql.version_info = (2, 2, 8, "final", 0)
    pymysql.install_as_MySQLdb()

SECRET_KEY = "no secret is kept"  # noqa: S105  # it is none
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["gemini_webhooks"]
