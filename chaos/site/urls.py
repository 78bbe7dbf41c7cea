"""The site's only address."""

from django.urls import include, path

urlpatterns = [path("webhooks/gemini/", include("gemini_webhooks.urls"))]
