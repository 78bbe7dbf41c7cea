"""``include("gemini_webhooks.api.urls")`` where programs look."""

from __future__ import annotations

from django.urls import path
from rest_framework.routers import SimpleRouter

from gemini_webhooks.api.deliveries import AttemptViews, DeliveryViews, RunViews
from gemini_webhooks.api.others import EndpointViews, RejectionViews
from gemini_webhooks.api.replays import ReplayViews
from gemini_webhooks.api.results import ResultViews
from gemini_webhooks.api.schema import SchemaView
from gemini_webhooks.api.stats import StatsViews

app_name = "gemini_webhooks_api"

router = SimpleRouter()
for views in (
    DeliveryViews,
    RunViews,
    AttemptViews,
    ResultViews,
    RejectionViews,
    EndpointViews,
    ReplayViews,
):
    router.register(views.basename, views, basename=views.basename)

described = [
    *router.urls,
    path("stats/", StatsViews.as_view({"get": "over_time"}, basename="stats"), name="stats"),
    path("backlog/", StatsViews.as_view({"get": "backlog"}, basename="stats"), name="backlog"),
]
urlpatterns = [
    *described,
    path("schema/", SchemaView.as_view(patterns=described), name="schema"),
]
