"""What happens to a commission, from its being placed to its end."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from example_project.studio import google
from example_project.studio.models import STUCK_AFTER, Approval, Commission, Tenant

State = Commission.State


def place(tenant: Tenant, user: User, **asked: Any) -> Commission:
    """Take a commission and submit its job.

    The row is there before the job, so that an event that is faster than the answer to us finds
    it. Not in a transaction: the job runs also if that is rolled back.
    """
    commission = Commission.objects.create(tenant=tenant, placed_by=user, **asked)
    commission.note(f"{user} asked for {_a(commission)}.")
    submit(commission)
    return commission


def submit(commission: Commission) -> None:
    """Start the job of this try."""
    try:
        resource_id = google.start(commission)
    except google.NotStarted as refusal:
        # Without an answer it may run all the same, and its event may have come.
        submitting = _of_this_try(commission).filter(state=State.SUBMITTING)
        submitting.advance(state=State.FAILED, error=str(refusal))
        commission.note(f"The Gemini API did not take it: {refusal}")
        return
    _goes_on(commission, resource_id)
    commission.note(f"Submitted as {resource_id}.")


def submit_again(
    commission: Commission, *, after_try: int, why: str, was_interrupted: bool = False
) -> bool:
    """Submit a commission whose try ``after_try`` came to nothing; ``False`` if that was done.

    Args:
        commission: what is asked for.
        after_try: the number of that try.
        why: for its story.
        was_interrupted: whoever asks may have been stopped here before, and then submits once
            more: two jobs are better than none.
    """
    claimed = Commission.objects.filter(pk=commission.pk, tries=after_try)
    interrupted = Commission.objects.filter(
        pk=commission.pk, tries=after_try + 1, state=State.SUBMITTING, resource_id=""
    )
    anew = {"state": State.SUBMITTING, "resource_id": "", "error": "", "answer": "", "result": None}
    if not claimed.advance(tries=after_try + 1, **anew) and not (
        was_interrupted and interrupted.exists()
    ):
        return False
    commission.refresh_from_db()
    commission.note(why)
    submit(commission)
    return True


def put_off(commission: Commission, *, after_try: int) -> bool:
    """Take back a try that did not start; ``False`` if it did after all."""
    not_started = Commission.objects.filter(
        pk=commission.pk, tries=after_try + 1, state=State.FAILED, resource_id=""
    )
    return bool(not_started.advance(tries=after_try, state=State.RETRYING))


def settle(
    commission: Commission, state: str, resource_id: str, said: str = "", **found: Any
) -> None:
    """Write down how the job ended, and what is ``said`` about that; nothing if it is known."""
    new = _of_this_try(commission).exclude(state=state, resource_id=resource_id)
    if new.advance(state=state, resource_id=resource_id, **{"error": "", **found}) and said:
        commission.note(said)


def decide(commission: Commission, user: User, *, interaction_id: str, granted: bool) -> bool:
    """Decide about all calls of an interaction that waits, and tell the model.

    What is granted is granted, and published, whether the model hears of it at once or not.

    Args:
        commission: what waits.
        user: who decides.
        interaction_id: of the calls that he has seen.
        granted: what he says.

    Returns:
        Whether it was his decision; ``False`` if somebody else was faster.

    Raises:
        google.NotStarted: the answer did not reach the Gemini API, see :func:`answer_again`.
    """
    verdict = Approval.Verdict.GRANTED if granted else Approval.Verdict.REFUSED
    with transaction.atomic():
        asked = list(commission.asked(interaction_id))
        if not asked or not _to_be_answered(commission, interaction_id):
            return False
        for approval in asked:
            approval.verdict, approval.decided_by = verdict, user
            approval.decided_at = timezone.now()
            approval.save()
            commission.note(f"{user} has {verdict} “{approval.function}”.")
    _answer(commission, interaction_id)
    return True


def answer_again(commission: Commission, *, interaction_id: str) -> bool:
    """Tell the model what was decided, if that is to be told; otherwise ``False``.

    Raises:
        google.NotStarted: the answer did not reach the Gemini API this time either.
    """
    with transaction.atomic():
        is_open = commission.asked(interaction_id).exists()
        if is_open or not _to_be_answered(commission, interaction_id):
            return False
    _answer(commission, interaction_id)
    return True


def _to_be_answered(commission: Commission, interaction_id: str) -> bool:
    """Whether it waits for an answer, which whoever asks here first has to give then."""
    waits = Q(state__in=[State.WAITING, State.UNTOLD]) | Q(
        state=State.SUBMITTING, changed_at__lt=timezone.now() - STUCK_AFTER
    )
    found = Commission.objects.filter(waits, pk=commission.pk, resource_id=interaction_id)
    return bool(found.advance(state=State.SUBMITTING))


def _answer(commission: Commission, interaction_id: str) -> None:
    commission.refresh_from_db()
    decided = list(commission.approvals.filter(interaction_id=interaction_id))
    try:
        resource_id = google.go_on(commission, decided)
    except google.NotStarted:
        # Without an answer it may go on all the same, and its event may have come.
        _of_this_try(commission).filter(state=State.SUBMITTING).advance(state=State.UNTOLD)
        raise
    _goes_on(commission, resource_id)
    commission.note(f"It goes on as {resource_id}.")


def _goes_on(commission: Commission, resource_id: str) -> None:
    # Its event may have come by now, and then says more than that it was submitted.
    _of_this_try(commission).filter(state=State.SUBMITTING).advance(
        state=State.RUNNING, resource_id=resource_id
    )


def _of_this_try(commission: Commission) -> Any:
    return Commission.objects.filter(pk=commission.pk, tries=commission.tries)


def _a(commission: Commission) -> str:
    article = "an" if commission.kind == Commission.Kind.INTERACTION else "a"
    count = len(commission.prompts)
    requests = (
        f" of {count} request{'s' * (count != 1)}"
        if commission.kind == Commission.Kind.BATCH
        else ""
    )
    return f"{article} {commission.get_kind_display()}{requests}"
