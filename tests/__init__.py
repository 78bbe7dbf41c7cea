from tests.celery_app import app as celery_app  # noqa: F401  # makes it the current app
