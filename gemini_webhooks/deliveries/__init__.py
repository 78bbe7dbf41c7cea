"""The only writer of delivery and run state.

Every change of state is one conditional UPDATE, so that whoever comes second changes nothing:
two workers, a worker and the sweeper, a worker that was thought dead.
"""

from gemini_webhooks.deliveries.backlog import (
    handed_off,
    replays_due,
    results_due,
    runs_due,
    to_dispatch,
    untaken,
)
from gemini_webhooks.deliveries.claims import (
    Claim,
    RunHeld,
    bury,
    bury_lost,
    claim,
    claim_new,
    postpone,
    renew,
    retry,
    skip,
    succeed,
)
from gemini_webhooks.deliveries.common import (
    LEASE_SECONDS,
    SWEEP_GRACE_SECONDS,
    LeaseLost,
    alias,
    rows,
)
from gemini_webhooks.deliveries.erasing import erase, erase_jobs, is_in_work, jobs_of
from gemini_webhooks.deliveries.lanes import admit, lanes_of, with_room
from gemini_webhooks.deliveries.ordering import (
    about,
    hold_resource,
    is_superseded,
    spellings,
    told_of,
)
from gemini_webhooks.deliveries.pauses import LetGo, let_go
from gemini_webhooks.deliveries.planning import (
    Plan,
    PlannedRun,
    Started,
    prepare,
    refetch,
    reopen,
    start,
    unreadable,
)
from gemini_webhooks.deliveries.progress import (
    bury_waiting,
    release,
    settle,
    settle_all,
    unreleased,
)
from gemini_webhooks.deliveries.reading import delivery_of
from gemini_webhooks.deliveries.recording import (
    Recorded,
    record,
    record_found,
    record_loaded,
    stored,
    sweep_soon,
)
from gemini_webhooks.deliveries.removal import finished
from gemini_webhooks.deliveries.selection import Selection, select

__all__ = [
    "LEASE_SECONDS",
    "SWEEP_GRACE_SECONDS",
    "Claim",
    "LeaseLost",
    "LetGo",
    "Plan",
    "PlannedRun",
    "Recorded",
    "RunHeld",
    "Selection",
    "Started",
    "about",
    "admit",
    "alias",
    "bury",
    "bury_lost",
    "bury_waiting",
    "claim",
    "claim_new",
    "delivery_of",
    "erase",
    "erase_jobs",
    "finished",
    "handed_off",
    "hold_resource",
    "is_in_work",
    "is_superseded",
    "jobs_of",
    "lanes_of",
    "let_go",
    "postpone",
    "prepare",
    "record",
    "record_found",
    "record_loaded",
    "refetch",
    "release",
    "renew",
    "reopen",
    "replays_due",
    "results_due",
    "retry",
    "rows",
    "runs_due",
    "select",
    "settle",
    "settle_all",
    "skip",
    "spellings",
    "start",
    "stored",
    "succeed",
    "sweep_soon",
    "to_dispatch",
    "told_of",
    "unreadable",
    "unreleased",
    "untaken",
    "with_room",
]
