"""The studio's addresses."""

from __future__ import annotations

from django.urls import path

from example_project.studio import views

app_name = "studio"
urlpatterns = [
    path("", views.home, name="home"),
    path("studio/<slug:slug>/", views.studio, name="studio"),
    path("studio/<slug:slug>/list/", views.commissions_list, name="list"),
    path("studio/<slug:slug>/published/", views.published, name="published"),
    path("studio/<slug:slug>/new/<slug:kind>/", views.place, name="place"),
    path("studio/<slug:slug>/<int:pk>/", views.commission, name="commission"),
    path("studio/<slug:slug>/<int:pk>/story/", views.story, name="story"),
    path("studio/<slug:slug>/<int:pk>/decide/", views.decide, name="decide"),
    path("studio/<slug:slug>/<int:pk>/again/", views.again, name="again"),
    path("studio/<slug:slug>/<int:pk>/film/", views.film, name="film"),
]
