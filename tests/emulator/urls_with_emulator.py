from django.urls import include, path

urlpatterns = [path("gemini/", include("gemini_webhooks.emulator.urls"))]
