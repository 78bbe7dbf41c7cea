"""For servers that speak ASGI."""

from django.core.asgi import get_asgi_application

from benchmarks.site.celery import app as celery_app  # before Django, as a site's package does

__all__ = ["application", "celery_app"]

application = get_asgi_application()
