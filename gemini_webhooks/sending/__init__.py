"""Makes up an event, signs it as Google would, posts it, and watches what receivers do with it.

For development and for a look at a site that is set up: nothing here is part of receiving.
"""

from gemini_webhooks.sending.addresses import address_of, is_public
from gemini_webhooks.sending.following import Followed, follow
from gemini_webhooks.sending.posting import Answer, Unreachable, post, usable
from gemini_webhooks.sending.refusals import diagnosis_of
from gemini_webhooks.sending.requests import Request
from gemini_webhooks.sending.samples import assign, body_of, fields_of, likely_meant, new_id, sample
from gemini_webhooks.sending.signing import (
    audience_of,
    only_dynamic,
    sign_dynamic,
    sign_static,
    signing_key,
    tampered,
)

__all__ = [
    "Answer",
    "Followed",
    "Request",
    "Unreachable",
    "address_of",
    "assign",
    "audience_of",
    "body_of",
    "diagnosis_of",
    "fields_of",
    "follow",
    "is_public",
    "likely_meant",
    "new_id",
    "only_dynamic",
    "post",
    "sample",
    "sign_dynamic",
    "sign_static",
    "signing_key",
    "tampered",
    "usable",
]
