"""What the studio keeps."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

TITLE_LENGTH = 80
#: The function that a model may call, if whoever asks lets it.
PUBLISH = "publish"
#: No call takes so long to submit something.
STUCK_AFTER = timedelta(minutes=3)


class Tenant(models.Model):
    """A customer of the studio; sees nothing of the others."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=100)
    members = models.ManyToManyField(
        settings.AUTH_USER_MODEL, blank=True, related_name="studio_tenants"
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """The tenant's studio."""
        return reverse("studio:studio", args=[self.slug])


class CommissionQuerySet(models.QuerySet["Commission"]):
    """Commissions change by conditional updates: web processes and workers meet on them."""

    def advance(self, **fields: Any) -> int:
        """Update, and let open pages know; returns how many there were."""
        return self.update(changed_at=timezone.now(), **fields)

    def with_verdicts(self) -> CommissionQuerySet:
        """Each with ``verdict``: what a person said when it last wanted to publish something."""
        decided = Approval.objects.filter(
            commission=models.OuterRef("pk"), function=PUBLISH, decided_at__isnull=False
        )
        last = decided.order_by("-decided_at", "-pk").values("verdict")[:1]
        return self.annotate(verdict=models.Subquery(last))


class Commission(models.Model):
    """Something that the model is to make for a tenant, however many jobs that takes."""

    class Kind(models.TextChoices):
        BATCH = "batch", "batch"
        INTERACTION = "interaction", "interaction"
        VIDEO = "video", "video"

    class State(models.TextChoices):
        SUBMITTING = "submitting", "being submitted"
        RUNNING = "running", "running"
        WAITING = "waiting", "waits for approval"
        UNTOLD = "untold", "answer not confirmed"
        RETRYING = "retrying", "failed, is tried again"
        SUCCEEDED = "succeeded", "done"
        FAILED = "failed", "failed"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="commissions")
    kind = models.CharField(max_length=20, choices=Kind)
    prompt = models.TextField()
    may_publish = models.BooleanField(default=False)
    placed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    placed_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=20, choices=State, default=State.SUBMITTING)
    tries = models.PositiveSmallIntegerField(default=1)
    # Of the newest job. Empty while that is being submitted: its event may come first.
    resource_id = models.CharField(max_length=255, blank=True)
    answer = models.TextField(blank=True)
    error = models.TextField(blank=True)
    result = models.ForeignKey(
        "gemini_webhooks.ResultFile", null=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = CommissionQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """Its page."""
        return reverse("studio:commission", args=[self.tenant.slug, self.pk])

    @property
    def title(self) -> str:
        """The first line of what was asked for."""
        first = self.prompt.strip().partition("\n")[0].strip()
        return first if len(first) <= TITLE_LENGTH else f"{first[: TITLE_LENGTH - 1].rstrip()}…"

    @property
    def prompts(self) -> list[str]:
        """What is asked for: each line of a batch is a request of its own."""
        if self.kind != self.Kind.BATCH:
            return [self.prompt]
        return [line.strip() for line in self.prompt.splitlines() if line.strip()]

    def prompt_of(self, key: str) -> str:
        """What a row of a batch answers, by its key, which is the number of the request."""
        number = int(key) if key.isdecimal() else 0
        return self.prompts[number - 1] if 0 < number <= len(self.prompts) else ""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is to be expected."""
        return self.state in {self.State.SUCCEEDED, self.State.FAILED}

    @property
    def can_be_submitted_again(self) -> bool:
        """Whether it has failed, or whoever submitted it was interrupted."""
        return self.state == self.State.FAILED or (self._is_stuck and not self.resource_id)

    @property
    def is_to_be_answered(self) -> bool:
        """Whether a model waits for a decision, or may not have heard of the one that was made."""
        waits = self.state in {self.State.WAITING, self.State.UNTOLD}
        return waits or bool(self._is_stuck and self.resource_id)

    @property
    def _is_stuck(self) -> bool:
        is_old = self.changed_at < timezone.now() - STUCK_AFTER
        return self.state == self.State.SUBMITTING and is_old

    @property
    def metadata(self) -> dict[str, Any]:
        """What the job carries, sealed, so that its event finds the way back."""
        return {"tenant": self.tenant.slug, "commission": self.pk, "try": self.tries}

    def note(self, text: str) -> None:
        """Write an entry into its story."""
        self.entries.create(text=text)

    def has_noted(self, text: str) -> bool:
        """Whether its story has that entry, which a replay need not write again."""
        return self.entries.filter(text=text).exists()

    def asked(self, interaction_id: str) -> models.QuerySet[Approval]:
        """The calls of an interaction about which nobody has decided."""
        return self.approvals.filter(interaction_id=interaction_id, verdict=Approval.Verdict.OPEN)

    def is_decided(self, interaction_id: str) -> bool:
        """Whether a person has said what is to become of the calls of an interaction."""
        decided = self.approvals.exclude(verdict=Approval.Verdict.OPEN)
        return decided.filter(interaction_id=interaction_id).exists()


class Entry(models.Model):
    """One line of a commission's story."""

    commission = models.ForeignKey(Commission, on_delete=models.CASCADE, related_name="entries")
    at = models.DateTimeField(default=timezone.now)
    text = models.TextField()

    class Meta:
        ordering = ["pk"]
        verbose_name_plural = "entries"

    def __str__(self) -> str:
        return self.text


class ApprovalQuerySet(models.QuerySet["Approval"]):
    """What the model wanted to do; what of it was granted, is done."""

    def published(self, tenant: Tenant) -> ApprovalQuerySet:
        """The texts of a tenant that a person has let be published, the newest first."""
        return self.filter(
            commission__tenant=tenant, function=PUBLISH, verdict=Approval.Verdict.GRANTED
        ).order_by("-decided_at", "-pk")


class Approval(models.Model):
    """A function that an interaction calls, and what a person says to that."""

    class Verdict(models.TextChoices):
        OPEN = "open", "open"
        GRANTED = "granted", "granted"
        REFUSED = "refused", "refused"

    commission = models.ForeignKey(Commission, on_delete=models.CASCADE, related_name="approvals")
    interaction_id = models.CharField(max_length=255)
    call_id = models.CharField(max_length=255)
    function = models.CharField(max_length=100)
    arguments = models.JSONField(default=dict)
    verdict = models.CharField(max_length=20, choices=Verdict, default=Verdict.OPEN)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    decided_at = models.DateTimeField(null=True)

    objects = ApprovalQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["interaction_id", "call_id"], name="studio_call_asked_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.function} of {self.commission}"

    @property
    def named_arguments(self) -> list[tuple[str, Any]]:
        """Of the call; a template would take a key ``items`` for the method."""
        return list(self.arguments.items()) if isinstance(self.arguments, dict) else []


class BatchRow(models.Model):
    """The answer to one request of a batch, or why there is none."""

    batch_id = models.CharField(max_length=255)
    tenant = models.CharField(max_length=100, blank=True)
    key = models.CharField(max_length=255)
    text = models.TextField(blank=True)
    error = models.TextField(blank=True)

    class Meta:
        verbose_name = "batch row"
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["batch_id", "key"], name="studio_row_once"),
        ]

    def __str__(self) -> str:
        return f"{self.batch_id} {self.key}"
