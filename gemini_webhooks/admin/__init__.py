"""The admin pages: everything can be seen, almost nothing can be changed."""

from gemini_webhooks.admin.dashboard import DashboardAdmin
from gemini_webhooks.admin.deliveries import DeliveryAdmin
from gemini_webhooks.admin.endpoints import EndpointAdmin
from gemini_webhooks.admin.erasures import ErasureAdmin
from gemini_webhooks.admin.failures import FailureGroupAdmin
from gemini_webhooks.admin.jobs import JobAdmin
from gemini_webhooks.admin.lanes import LaneAdmin
from gemini_webhooks.admin.pauses import PauseAdmin
from gemini_webhooks.admin.rejections import RejectionAdmin
from gemini_webhooks.admin.replays import ReplayAdmin
from gemini_webhooks.admin.results import ResultFileAdmin
from gemini_webhooks.admin.runs import AttemptAdmin, ReceiverRunAdmin

__all__ = [
    "AttemptAdmin",
    "DashboardAdmin",
    "DeliveryAdmin",
    "EndpointAdmin",
    "ErasureAdmin",
    "FailureGroupAdmin",
    "JobAdmin",
    "LaneAdmin",
    "PauseAdmin",
    "ReceiverRunAdmin",
    "RejectionAdmin",
    "ReplayAdmin",
    "ResultFileAdmin",
]
