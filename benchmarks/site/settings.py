"""One site for all that is compared, without middleware: only the views differ.

``BENCH_DATABASE_URL``, ``BENCH_BROKER_URL``, ``BENCH_SECRET`` and ``BENCH_JWKS_URL`` say where
everything is; with ``BENCH_POOL`` each process has so many connections, instead of one a thread.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import dj_database_url

SECRET_KEY = "benchmarks-only"  # noqa: S105  # no site has it
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "benchmarks.site.urls"
WSGI_APPLICATION = "benchmarks.site.wsgi.application"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "gemini_webhooks",
    "benchmarks.site",
]
MIDDLEWARE: list[str] = []

DATABASES: dict[str, Any] = {
    "default": {**dj_database_url.parse(os.environ["BENCH_DATABASE_URL"], conn_max_age=None)}
}
if (pool := os.environ.get("BENCH_POOL")) and "postgresql" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"] |= {"CONN_MAX_AGE": 0, "OPTIONS": {"pool": {"max_size": int(pool)}}}
elif pool:
    DATABASES["default"]["CONN_MAX_AGE"] = 0
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL",
    }
if DATABASES["default"]["ENGINE"].endswith("mysql"):
    pymysql: Any = import_module("pymysql")
    pymysql.version_info = (2, 2, 8, "final", 0)
    pymysql.install_as_MySQLdb()

CELERY_BROKER_URL = os.environ["BENCH_BROKER_URL"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("BENCH_QUEUE", "benchmarks")

GEMINI_WEBHOOKS = {
    "SIGNING_SECRETS": [os.environ["BENCH_SECRET"]],
    "AUDIENCES": ["benchmarks"],
    "PUBLIC_BASE_URL": "https://site.example",
    "FETCH_RESULTS": False,
    **({"JWKS_URL": jwks} if (jwks := os.environ.get("BENCH_JWKS_URL")) else {}),
}
