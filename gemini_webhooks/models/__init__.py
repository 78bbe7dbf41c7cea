"""The tables. No behaviour here beyond a model's own fields; ``deliveries`` writes."""

from gemini_webhooks.models.deliveries import (
    Attempt,
    ReceiverRun,
    ResourceLock,
    TokenUse,
    WebhookDelivery,
)
from gemini_webhooks.models.endpoints import SigningSecret, WebhookEndpoint
from gemini_webhooks.models.erasures import Erasure
from gemini_webhooks.models.failures import FailureGroup, FailureMail
from gemini_webhooks.models.figures import Figure, RollUp
from gemini_webhooks.models.jobs import Job
from gemini_webhooks.models.lanes import Lane
from gemini_webhooks.models.pauses import Pause
from gemini_webhooks.models.rejections import RejectedRequest
from gemini_webhooks.models.replays import Replay, ReplayedDelivery
from gemini_webhooks.models.results import ResultFile

__all__ = [
    "Attempt",
    "Erasure",
    "FailureGroup",
    "FailureMail",
    "Figure",
    "Job",
    "Lane",
    "Pause",
    "ReceiverRun",
    "RejectedRequest",
    "Replay",
    "ReplayedDelivery",
    "ResourceLock",
    "ResultFile",
    "RollUp",
    "SigningSecret",
    "TokenUse",
    "WebhookDelivery",
    "WebhookEndpoint",
]
