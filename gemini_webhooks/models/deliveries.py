"""Deliveries, the runs of their receivers and the attempts of those."""

from __future__ import annotations

import json
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.models.endpoints import SigningSecret, WebhookEndpoint
from gemini_webhooks.models.fields import ExactCharField, OptionalExactCharField


class WebhookDelivery(models.Model):
    """One event, stored once, however often it was sent."""

    class State(models.TextChoices):
        RECEIVED = "received", _("received")
        PROCESSING = "processing", _("processing")
        PROCESSED = "processed", _("processed")
        FAILED = "failed", _("failed")
        IGNORED = "ignored", _("ignored")
        UNREADABLE = "unreadable", _("unreadable")

    class Signing(models.TextChoices):
        HMAC = "hmac", _("static (HMAC)")
        JWT = "jwt", _("dynamic (JWT)")
        NONE = "none", _("none: no webhook came")

    class Binding(models.TextChoices):
        EVENT = "event", _("the token carries the event")
        BODY = "body", _("the token carries a digest of the body")
        WEBHOOK_ID = "webhook_id", _("the token carries the webhook id")
        UNBOUND = "unbound", _("the token names the sender only")

    class Source(models.TextChoices):
        WEBHOOK = "webhook", _("webhook")
        RECONCILER = "reconciler", _("reconciler")
        RECORDING = "recording", _("recording")

    class EmptiedBy(models.TextChoices):
        RETENTION = "retention", _("retention")
        ERASURE = "erasure", _("erasure")
        REDACTION = "redaction", _("redaction")

    webhook_id = ExactCharField(_("webhook id"), max_length=255, unique=True)
    endpoint = models.ForeignKey(
        WebhookEndpoint,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="deliveries",
        verbose_name=_("endpoint"),
    )
    signing = models.CharField(_("signing"), max_length=10, choices=Signing)
    binding = models.CharField(
        _("what the token vouches for"), max_length=20, choices=Binding, blank=True
    )
    sealed = models.BooleanField(_("sealed"), default=False)
    key_hint = models.CharField(
        _("key"), max_length=255, blank=True, help_text=_("Hint of the secret, or the key id.")
    )
    secret = models.ForeignKey(
        SigningSecret,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="deliveries",
        verbose_name=_("signing secret"),
    )
    event_type = models.CharField(_("event type"), max_length=255, blank=True)
    resource_id = models.CharField(_("resource id"), max_length=255, blank=True)
    user_metadata = models.JSONField(_("user metadata"), default=dict, blank=True)
    occurred_at = models.DateTimeField(_("occurred"), null=True, blank=True)
    received_at = models.DateTimeField(_("received"), default=timezone.now)
    state = models.CharField(_("state"), max_length=20, choices=State, default=State.RECEIVED)
    body = models.BinaryField(_("body"), null=True, help_text=_("Empty once pruned."))
    #: Those that are no secret; ``None`` where no request came, or one of the version before.
    headers = models.JSONField(_("headers"), null=True, editable=False)
    #: Since when there is neither body nor metadata, and why. The defaults of the database, here
    #: and below, are for processes of the version before, during an upgrade.
    emptied_at = models.DateTimeField(_("content removed"), null=True, editable=False)
    emptied_by = models.CharField(
        _("content removed by"),
        max_length=10,
        choices=EmptiedBy,
        blank=True,
        default="",
        db_default="",
        editable=False,
    )
    #: ``REDACT`` changed the body, or the metadata, before they were stored.
    redacted = models.BooleanField(_("redacted"), default=False, db_default=False, editable=False)
    size = models.PositiveIntegerField(_("size in bytes"), default=0)
    duplicate_count = models.PositiveIntegerField(_("duplicates"), default=0)
    source = models.CharField(_("source"), max_length=20, choices=Source, default=Source.WEBHOOK)
    #: What it says about which job, for one delivery of it: the event and the reconciler's find of
    #: the same cannot both be stored. Further events of Google's own about it have none.
    occasion = OptionalExactCharField(_("occasion"), max_length=300, null=True, editable=False)
    #: When the sweeper hands it off again if it is still ``received``.
    sweep_at = models.DateTimeField(_("sweep at"), null=True, blank=True)
    #: When it last came to one of its final states.
    settled_at = models.DateTimeField(_("done"), null=True, editable=False)
    #: From receipt until it was done for the first time.
    took = models.DurationField(_("time until done"), null=True, editable=False)

    class Meta:
        permissions = [
            ("view_payload", _("Can see payloads, metadata and rows of results")),
            ("replay_webhookdelivery", _("Can replay deliveries")),
        ]
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ["-received_at", "-pk"]
        constraints = [
            # Not unique=True: PostgreSQL would get a second index, for LIKE, which nobody asks for.
            models.UniqueConstraint(fields=["occasion"], name="gw_delivery_occasion"),
        ]
        indexes = [
            models.Index(fields=["-received_at", "-id"], name="gw_delivery_newest"),
            models.Index(fields=["state", "-received_at"], name="gw_delivery_by_state"),
            models.Index(fields=["event_type", "-received_at"], name="gw_delivery_by_type"),
            models.Index(fields=["resource_id"], name="gw_delivery_by_resource"),
            models.Index(fields=["state", "sweep_at"], name="gw_delivery_to_sweep"),
            # Finds what still has its content without a look at what has lost it.
            models.Index(fields=["emptied_at", "received_at", "id"], name="gw_delivery_to_empty"),
            models.Index(fields=["settled_at"], name="gw_delivery_settled"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type or '?'} {self.webhook_id}"

    @property
    def payload(self) -> Any:
        """The parsed JSON body; ``None`` if it is not JSON or was pruned."""
        if self.body is None:
            return None
        try:
            return json.loads(bytes(self.body))
        except (ValueError, RecursionError):
            return None


class ReceiverRun(models.Model):
    """One receiver of one delivery."""

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        RUNNING = "running", _("running")
        SUCCEEDED = "succeeded", _("succeeded")
        RETRYING = "retrying", _("retrying")
        DEAD = "dead", _("dead")

    delivery = models.ForeignKey(
        WebhookDelivery, on_delete=models.CASCADE, related_name="runs", verbose_name=_("delivery")
    )
    receiver = ExactCharField(_("receiver"), max_length=255)
    result = models.ForeignKey(
        "ResultFile",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="runs",
        verbose_name=_("result"),
        help_text=_("The result file that it waits for."),
    )
    queue = models.CharField(_("queue"), max_length=255, blank=True)
    #: Name of the :class:`Lane` whose limit it obeys; empty once it has ended. The defaults of the
    #: database are for processes of the version before, during an upgrade.
    lane = ExactCharField(_("lane"), max_length=255, blank=True, default="", db_default="")
    #: Since when it waits for a place in its lane; ``None`` if it does not.
    parked_at = models.DateTimeField(_("waits for a place since"), null=True, blank=True)
    state = models.CharField(_("state"), max_length=20, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    #: Since when a pause holds it; ``None`` if none does.
    held_at = models.DateTimeField(_("held by a pause since"), null=True, blank=True)
    #: Primary key of the :class:`Pause` that holds it. Not a foreign key: what a pause held that is
    #: gone, the sweep lets go.
    held_by = models.BigIntegerField(null=True, editable=False)
    #: ``None`` while it waits for its result file or in its lane, or is held, and once it has
    #: ended.
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, blank=True)
    #: How often the sweeper has handed it on since it was due.
    sweeps = models.PositiveSmallIntegerField(default=0, db_default=0, editable=False)
    last_error = models.TextField(_("last error"), blank=True)
    error_class = ExactCharField(
        _("error class"), max_length=255, blank=True, default="", db_default=""
    )
    #: How the coming attempt came about, and for whom.
    trigger = models.CharField(_("trigger"), max_length=20, default="delivery")
    actor = models.CharField(_("actor"), max_length=255, blank=True)
    #: Told to the receiver as ``event.is_replay``, on retries of the replay too.
    is_replay = models.BooleanField(_("replay"), default=False)
    claim = models.CharField(_("claim"), max_length=32, blank=True)
    claimed_at = models.DateTimeField(_("claimed"), null=True, blank=True)
    lease_until = models.DateTimeField(_("lease ends"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    class Meta:
        verbose_name = _("receiver run")
        verbose_name_plural = _("receiver runs")
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["delivery", "receiver"], name="gw_run_once"),
        ]
        indexes = [
            models.Index(fields=["state", "next_attempt_at"], name="gw_run_due"),
            models.Index(fields=["state", "lease_until"], name="gw_run_leased"),
            models.Index(fields=["receiver", "state"], name="gw_run_by_receiver"),
            models.Index(fields=["lane", "parked_at"], name="gw_run_in_lane"),
            models.Index(fields=["held_by", "held_at"], name="gw_run_held"),
            models.Index(
                fields=["state", "receiver", "error_class", "finished_at"], name="gw_run_dead"
            ),
        ]

    def __str__(self) -> str:
        return self.receiver


class Attempt(models.Model):
    """Audit row: one try of one run. Written once, when it ended, and never changed."""

    class Trigger(models.TextChoices):
        DELIVERY = "delivery", _("delivery")
        RETRY = "retry", _("retry")
        REPLAY = "replay", _("replay")

    class Outcome(models.TextChoices):
        SUCCEEDED = "succeeded", _("succeeded")
        FAILED = "failed", _("failed")
        POSTPONED = "postponed", _("postponed by the receiver")
        GAVE_UP = "gave_up", _("given up by the receiver")
        LOST = "lost", _("lost: the worker did not come back")
        SKIPPED = "skipped", _("skipped: a newer event of the resource is stored")

    run = models.ForeignKey(
        ReceiverRun,
        on_delete=models.CASCADE,
        related_name="attempt_log",
        verbose_name=_("receiver run"),
    )
    number = models.PositiveIntegerField(_("number"))
    trigger = models.CharField(_("trigger"), max_length=20, choices=Trigger)
    actor = models.CharField(_("actor"), max_length=255, blank=True)
    started = models.DateTimeField(_("started"))
    finished = models.DateTimeField(_("finished"), default=timezone.now)
    outcome = models.CharField(_("outcome"), max_length=20, choices=Outcome)
    error_class = models.CharField(_("error class"), max_length=255, blank=True)
    traceback = models.TextField(_("traceback"), blank=True)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ["run", "number"]
        constraints = [
            models.UniqueConstraint(fields=["run", "number"], name="gw_attempt_number"),
        ]

    def __str__(self) -> str:
        return f"#{self.number} {self.outcome}"


class TokenUse(models.Model):
    """What a dynamic token was first used for: it serves that and nothing else.

    Tokens that name only the sender and come with a seal may serve several deliveries and
    have no row here.
    """

    token_digest = ExactCharField(_("digest of the token"), max_length=64, unique=True)
    webhook_id = ExactCharField(_("webhook id"), max_length=255)
    body_digest = models.CharField(_("digest of the body"), max_length=64)
    used_at = models.DateTimeField(_("first used"), default=timezone.now, db_index=True)
    #: When the token itself ends; rows of older versions do not know.
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)

    class Meta:
        verbose_name = _("token use")
        verbose_name_plural = _("token uses")

    def __str__(self) -> str:
        return self.token_digest[:12]


class ResourceLock(models.Model):
    """Held by a ``latest_only`` run while it works; see :func:`deliveries.hold_resource`.

    Resources share the locks by a digest of their id, so there are few rows, and none to remove.
    """

    name = models.CharField(_("name"), max_length=4, primary_key=True)
    taken_at = models.DateTimeField(_("last taken"), default=timezone.now)

    class Meta:
        verbose_name = _("resource lock")
        verbose_name_plural = _("resource locks")

    def __str__(self) -> str:
        return self.name
