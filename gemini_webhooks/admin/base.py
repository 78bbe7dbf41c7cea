"""What all pages have in common: they show and do not change."""

# ruff: noqa: ARG002, D102  # Django names these methods and their arguments

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin import options
from django.contrib.admin.utils import flatten_fieldsets, quote, unquote
from django.contrib.admin.views.main import ERROR_FLAG, SEARCH_VAR, ChangeList
from django.db import models
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from gemini_webhooks.admin.paging import BoundedChangeList, BoundedPaginator

if TYPE_CHECKING:
    BaseModelAdmin = options.BaseModelAdmin[Any]
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    InlineFormSet = BaseInlineFormSet[Any, Any, Any]
else:  # generic only in the stubs
    BaseModelAdmin = options.BaseModelAdmin
    ModelAdmin, TabularInline = admin.ModelAdmin, admin.TabularInline
    InlineFormSet = BaseInlineFormSet

EMPTY = "-"
EXCERPT_CHARACTERS = 100
VIEW_PAYLOAD = "gemini_webhooks.view_payload"
#: A selection may name values of metadata; a file, where it can be had.
PAYLOAD_COLUMNS = {"body", "user_metadata", "selection", "file"}
PAYLOAD_NEEDED = _(
    "You need the permission “Can see payloads, metadata and rows of results” to see it."
)


class NoChanges(BaseModelAdmin):
    """Rows that the app alone writes. Who has the view permission may look."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return flatten_fieldsets(self.get_fieldsets(request, obj))


class ReadOnlyAdmin(NoChanges, ModelAdmin):
    """Lists and pages without a form.

    Attributes:
        deferred: large or secret columns that a list must not read. A page that shows one
            reads it on its own.
    """

    deferred: ClassVar[tuple[str, ...]] = ()
    list_select_related: ClassVar[tuple[str, ...]] = ()
    #: Fields of the page that hold payloads. For who may not see these, :func:`withheld` makes
    #: another of the name ``withheld_…``.
    payloads: ClassVar[tuple[str, ...]] = ()

    class Media:
        css = {"all": ["gemini_webhooks/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows = super().get_queryset(request).defer(*self.deferred)
        if self.list_select_related:
            rows = rows.select_related(*self.list_select_related)
        return rows

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets: Any = super().get_fieldsets(request, obj)
        if not self.payloads or may_see_payload(request):
            return fieldsets
        return [
            (title, {**options, "fields": tuple(map(self._withheld, options["fields"]))})
            for title, options in fieldsets
        ]

    def _withheld(self, field: Any) -> Any:
        return f"withheld_{field}" if field in self.payloads else field

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Columns that hold payloads are no filters of an address: values could be guessed."""
        if not PAYLOAD_COLUMNS.isdisjoint(lookup.split("__")):
            return False
        return super().lookup_allowed(lookup, value, request)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Find the row; PostgreSQL takes no NUL, so nothing has one in its name."""
        if "\0" in unquote(object_id):
            return None
        return super().get_object(request, object_id, from_field)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list; a filter with a NUL is none. At the search Django looks itself."""
        filters = {name: given for name, given in request.GET.lists() if name != SEARCH_VAR}
        if any("\0" in text for name, given in filters.items() for text in (name, *given)):
            return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")
        return super().changelist_view(request, extra_context)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        if obj is not None:
            self.add_to_page(request, context, obj)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def add_to_page(self, request: HttpRequest, context: dict[str, Any], row: Any) -> None:
        """Put into the context what the page of ``row`` shows beside its fields."""

    def link(self, row: models.Model | None, text: object = None) -> SafeString | str:
        """Link to the page of another row of this app; a dash if there is none."""
        if row is None:
            return EMPTY
        return format_html('<a href="{}">{}</a>', self.page_of(row), row if text is None else text)

    def page_of(self, row: models.Model) -> str:
        """The address of the page of another row of this app."""
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
        return reverse(name, args=[quote(row.pk)], current_app=self.admin_site.name)

    def address_of(self, row: models.Model) -> str:
        """As :meth:`page_of`; empty if the rows of this table have no pages on this site."""
        return self.page_of(row) if self.admin_site.is_registered(type(row)) else ""

    def list_of(self, model: type[models.Model], **query: str) -> str:
        """The address of a list, narrowed by the parameters of its filters."""
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        url = reverse(name, current_app=self.admin_site.name)
        return f"{url}?{urlencode(query)}" if query else url


class LongList(ReadOnlyAdmin):
    """A list that may have a million rows.

    Attributes:
        goes_on_by: the field by which the list is sorted, and the lookup for what comes after a
            value of it.
    """

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    #: No column has an index to sort by, where nothing else is said.
    sortable_by: ClassVar[Any] = ()
    goes_on_by: ClassVar[tuple[str, str]] = ("pk", "id__lt")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BoundedChangeList


class RelatedRows(InlineFormSet):
    """The rows of one table on the page of another."""

    @property
    def empty_text(self) -> str | Promise:
        """What the page says when there are none."""
        raise NotImplementedError


class ReadOnlyInline(NoChanges, TabularInline):
    """A table of related rows, each linking to its own page where it has one."""

    template = "admin/gemini_webhooks/related_rows.html"
    formset: type[RelatedRows] = RelatedRows
    deferred: ClassVar[tuple[str, ...]] = ()
    extra = 0

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return super().get_queryset(request).defer(*self.deferred)


def withheld(description: Any) -> Callable[[Any, models.Model], Promise]:
    """A field that stands for one of ``payloads``."""

    @admin.display(description=description)
    def shown(page: Any, row: models.Model) -> Promise:  # noqa: ARG001  # as Django calls it
        return PAYLOAD_NEEDED

    return shown


def may_see_payload(request: HttpRequest) -> bool:
    """Whether the user may see payloads, metadata and rows of results."""
    return request.user.has_perm(VIEW_PAYLOAD)


def may_view(request: HttpRequest, model: type[models.Model]) -> bool:
    """Whether the user may see rows of a model of this app."""
    name = model._meta.model_name
    return any(request.user.has_perm(f"gemini_webhooks.{to}_{name}") for to in ("view", "change"))


def excerpt(text: str) -> str:
    """The first line of ``text``, shortened for a cell of a list."""
    first_line = text.strip().partition("\n")[0]
    return Truncator(first_line).chars(EXCERPT_CHARACTERS) or EMPTY
