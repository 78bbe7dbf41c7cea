"""The admin pages: everything can be seen, almost nothing can be changed."""

from gemini_webhooks.admin.deliveries import AttemptAdmin, DeliveryAdmin, ReceiverRunAdmin
from gemini_webhooks.admin.endpoints import EndpointAdmin
from gemini_webhooks.admin.erasures import ErasureAdmin
from gemini_webhooks.admin.jobs import JobAdmin
from gemini_webhooks.admin.lanes import LaneAdmin
from gemini_webhooks.admin.rejections import RejectionAdmin
from gemini_webhooks.admin.results import ResultFileAdmin

__all__ = [
    "AttemptAdmin",
    "DeliveryAdmin",
    "EndpointAdmin",
    "ErasureAdmin",
    "JobAdmin",
    "LaneAdmin",
    "ReceiverRunAdmin",
    "RejectionAdmin",
    "ResultFileAdmin",
]
