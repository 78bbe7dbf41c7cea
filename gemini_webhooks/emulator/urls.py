"""The URLs of the emulator, at the root of its own server or in a site's URLconf."""

from __future__ import annotations

from django.urls import include, path, re_path

from gemini_webhooks.emulator import (
    batches,
    files,
    interactions,
    status,
    steering,
    storage,
    videos,
    webhooks,
    well_known,
)
from gemini_webhooks.emulator.page import actions, views

api = [
    path("webhooks", webhooks.collection),
    path("webhooks/<str:webhook_id>:ping", webhooks.pinging),
    path("webhooks/<str:webhook_id>:rotateSigningSecret", webhooks.rotating),
    # As in the guide's curl sample.
    path("webhooks/<str:webhook_id>/rotate_secret", webhooks.rotating),
    path("webhooks/<str:webhook_id>", webhooks.resource),
    path("models/<str:model>:batchGenerateContent", batches.generating),
    path("models/<str:model>:asyncBatchEmbedContent", batches.embedding),
    path("models/<str:model>:predictLongRunning", videos.generating),
    path("models/<str:model>/operations/<str:operation_id>", videos.operation),
    path("batches", batches.collection),
    path("batches/<str:batch_id>:cancel", batches.cancelling),
    path("batches/<str:batch_id>", batches.resource),
    path("interactions", interactions.collection),
    path("interactions/<str:interaction_id>/cancel", interactions.cancelling),
    path("interactions/<str:interaction_id>", interactions.resource),
    path("files", files.collection),
    path("files:register", files.registering),
    path("files/<str:file_id>:download", files.downloading),
    path("files/<str:file_id>", files.resource),
]

urlpatterns = [
    # google-genai 3 calls v1, google-genai 2 calls v1beta.
    re_path(r"^v1(?:beta)?/", include(api)),
    re_path(r"^upload/v1(?:beta)?/files$", files.uploading),
    path(".well-known/jwks.json", well_known.jwks),
    path("storage/v1/b/<str:bucket>/o/<path:name>", storage.resource),
    path("download/storage/v1/b/<str:bucket>/o/<path:name>", storage.downloading),
    path("favicon.ico", views.asset, {"name": "icon.svg"}),
    path("emulator/deliveries", status.deliveries),
    path("emulator/state", status.state),
    path("", views.root),
    path("emulator", views.root),
    path("emulator/", views.home),
    path("emulator/page/live", views.live),
    path("emulator/page/message", views.message),
    path("emulator/page/static/<str:name>", views.asset),
    path("emulator/page/do/<str:action>", actions.doing),
    path("emulator/switches", steering.switches),
    path("emulator/sign", steering.signing),
]
