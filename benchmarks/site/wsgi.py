"""For gunicorn."""

from django.core.wsgi import get_wsgi_application

from benchmarks.site.celery import app as celery_app  # before Django, as a site's package does

__all__ = ["application", "celery_app"]

application = get_wsgi_application()
