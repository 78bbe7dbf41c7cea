"""Settings of the site; what differs from run to run is in the file that ``CHAOS_CONFIG`` names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = json.loads(Path(os.environ["CHAOS_CONFIG"]).read_text())

SECRET_KEY = CONFIG["secret_key"]
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
ROOT_URLCONF = "chaos.site.urls"
WSGI_APPLICATION = "chaos.site.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["gemini_webhooks", "chaos.site.apps.ChaosSiteConfig"]
MIDDLEWARE: list[str] = []
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "PORT": CONFIG["database_port"],
        "USER": "chaos",
        "NAME": "postgres",
        # Kept, and not asked whether they still work: harder than a new one for each request.
        "CONN_MAX_AGE": 600,
    },
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": CONFIG["cache"],
    },
}
MEDIA_ROOT = CONFIG["media"]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"}
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}

CELERY_BROKER_URL = CONFIG["broker"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

GEMINI_WEBHOOKS = {
    "SIGNING_SECRETS": [CONFIG["signing_secret"]],
    "AUDIENCES": [CONFIG["audience"]],
    "JWKS_URL": CONFIG["key_set_url"],
    "JWKS_CACHE_SECONDS": 20,
    "JWKS_TIMEOUT_SECONDS": 1,
    "ALLOWED_BUCKETS": [CONFIG["bucket"]],
    "API_KEYS": {"default": None},
    # Each kill is an attempt: here only what is stuck shall stay unfinished, not what had bad luck.
    "MAX_ATTEMPTS": 200,
    "RETRY_BASE_SECONDS": 0.5,
    "RETRY_MAX_SECONDS": 3,
}
