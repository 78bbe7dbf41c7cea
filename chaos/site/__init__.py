"""The site of the experiment: settings, receivers, a Celery app."""

from chaos.site.celery import app as celery_app

__all__ = ["celery_app"]
