"""The studio's pages. Everything on them came by webhook; no page asks Google about a job."""

from __future__ import annotations

import os
from typing import Any

from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from example_project.studio import commissions, films, google
from example_project.studio.forms import FORMS, CommissionForm
from example_project.studio.models import Approval, BatchRow, Commission, Tenant

PER_PAGE = 20
NOTHING_NEW = 204


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """To the studio of whoever is logged in, if there is one."""
    tenant = _tenants(request).first()
    return redirect(tenant) if tenant else render(request, "studio/nowhere.html")


@require_GET
def studio(request: HttpRequest, slug: str) -> HttpResponse:
    """What can be asked for, and what was."""
    tenant = _tenant(request, slug)
    return render(request, "studio/studio.html", _listed(request, tenant) | _offered())


@require_GET
def commissions_list(request: HttpRequest, slug: str) -> HttpResponse:
    """The list alone, for a page that is open; nothing if it has not changed."""
    listed = _listed(request, _tenant(request, slug))
    return _if_new(request, "studio/list.html", listed)


@require_GET
def published(request: HttpRequest, slug: str) -> HttpResponse:
    """What the model was granted to publish."""
    tenant = _tenant(request, slug)
    texts = Approval.objects.published(tenant).select_related("commission__tenant", "decided_by")
    context = {
        "tenant": tenant,
        "tenants": _tenants(request),
        "page": Paginator(texts, PER_PAGE).get_page(request.GET.get("page")),
    }
    return render(request, "studio/published.html", context)


@require_POST
def place(request: HttpRequest, slug: str, kind: str) -> HttpResponse:
    """Take a commission."""
    tenant = _tenant(request, slug)
    if kind not in FORMS:
        raise Http404(f"Nothing of the kind {kind}")
    form = FORMS[kind](request.POST)
    if not form.is_valid():
        context = _listed(request, tenant) | _offered(form)
        return render(request, "studio/studio.html", context)
    commission = commissions.place(tenant, _user(request), kind=kind, **form.cleaned_data)
    commission.refresh_from_db()
    if commission.error:
        messages.error(request, f"The Gemini API did not take it: {commission.error}")
    return redirect(tenant)


@require_GET
def commission(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One commission, with its story."""
    return render(request, "studio/commission.html", _told(request, slug, pk))


@require_GET
def story(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The same without the page around it; nothing if it has not changed."""
    return _if_new(request, "studio/story.html", _told(request, slug, pk))


@require_POST
def decide(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Grant or refuse what the model wants to do."""
    found = _commission(request, slug, pk)
    verdict = request.POST.get("verdict")
    shown = request.POST.get("interaction", "")
    if verdict not in {"grant", "refuse", "again"}:
        messages.error(request, "Grant it or refuse it.")
        return redirect(found)
    try:
        done = (
            commissions.answer_again(found, interaction_id=shown)
            if verdict == "again"
            else commissions.decide(
                found, _user(request), interaction_id=shown, granted=verdict == "grant"
            )
        )
        if not done:
            messages.info(
                request, "It has been decided already, or asks for something else by now."
            )
    except google.NotStarted as refusal:
        messages.error(request, f"The Gemini API did not take the answer: {refusal}")
    return redirect(found)


@require_POST
def again(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Submit once more what has failed."""
    found = _commission(request, slug, pk)
    why = f"{request.user} had it submitted again."
    if not (
        found.can_be_submitted_again
        and commissions.submit_again(found, after_try=found.tries, why=why)
    ):
        messages.info(request, "Only what has failed is submitted again.")
    return redirect(found)


@require_GET
def film(request: HttpRequest, slug: str, pk: int) -> HttpResponseBase:
    """The video, from the storage of result files, for its tenant alone."""
    found = _commission(request, slug, pk)
    is_video = found.kind == Commission.Kind.VIDEO
    if not is_video or found.result is None or not found.result.file:
        raise Http404("No video, or not any more")
    result = found.result
    try:
        file = result.file.open("rb")
    except FileNotFoundError:
        raise Http404("No video, or not any more") from None
    version = f"{result.pk}-{result.crc32c or result.generation or result.file.name}"
    return films.send(request, file, name=f"video-{found.pk}.mp4", version=version)


def _user(request: HttpRequest) -> Any:
    return request.user  # LoginRequiredMiddleware lets nobody else in


def _tenants(request: HttpRequest) -> QuerySet[Tenant]:
    return Tenant.objects.filter(members=_user(request))


def _tenant(request: HttpRequest, slug: str) -> Tenant:
    return get_object_or_404(_tenants(request), slug=slug)


def _commission(request: HttpRequest, slug: str, pk: int) -> Commission:
    found = Commission.objects.select_related("tenant", "result", "placed_by")
    return get_object_or_404(found, tenant=_tenant(request, slug), pk=pk)


def _offered(sent: CommissionForm | None = None) -> dict[str, Any]:
    opened = sent.kind if sent else Commission.Kind.BATCH
    forms = [sent if sent and sent.kind == kind else form() for kind, form in FORMS.items()]
    emulator = os.environ.get("GOOGLE_GEMINI_BASE_URL")
    return {"forms": forms, "opened": opened, "emulator": emulator}


def _listed(request: HttpRequest, tenant: Tenant) -> dict[str, Any]:
    listed = tenant.commissions.with_verdicts().select_related("result")
    page = Paginator(listed, PER_PAGE).get_page(request.GET.get("page"))
    newest = max((item.changed_at for item in page), default=None)
    waiting = tenant.commissions.filter(state=Commission.State.WAITING).count()
    parts = (page.paginator.count, page.number, waiting, newest and newest.isoformat())
    return {
        "tenant": tenant,
        "tenants": _tenants(request),
        "page": page,
        "waiting": waiting,
        "version": _version(*parts),
        "said": _latest(page),
    }


def _latest(page: Page[Commission]) -> str:
    """What a screen reader says when the list changes."""
    changed = max(page, key=lambda item: item.changed_at, default=None)
    return f"{changed}: {changed.get_state_display()}" if changed else ""


def _told(request: HttpRequest, slug: str, pk: int) -> dict[str, Any]:
    found = _commission(request, slug, pk)
    entries = list(found.entries.all())
    is_batch = found.kind == Commission.Kind.BATCH and found.resource_id
    rows = BatchRow.objects.filter(tenant=slug, batch_id=found.resource_id) if is_batch else ()
    return {
        "tenant": found.tenant,
        "tenants": _tenants(request),
        "commission": found,
        "entries": entries,
        "rows": [(found.prompt_of(row.key), row) for row in rows],
        "approvals": found.approvals.select_related("decided_by"),
        "is_open": found.asked(found.resource_id).exists(),
        "version": _version(found.changed_at.isoformat(), len(entries)),
        "said": entries[-1].text if entries else "",
    }


def _version(*parts: object) -> str:
    return "_".join(map(str, parts))


def _if_new(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    if request.GET.get("seen") == context["version"]:
        return HttpResponse(status=NOTHING_NEW)
    return render(request, template, context | {"is_update": True})
