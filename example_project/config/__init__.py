"""The site's configuration."""

from example_project.config.celery import app as celery_app

__all__ = ["celery_app"]
