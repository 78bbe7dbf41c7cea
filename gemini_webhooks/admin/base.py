"""What all pages have in common: they show and do not change."""

# ruff: noqa: ARG002, D102  # Django names these methods and their arguments

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin import options
from django.contrib.admin.utils import flatten_fieldsets, quote, unquote
from django.contrib.admin.views.main import ERROR_FLAG, SEARCH_VAR
from django.db import models
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

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

    class Media:
        css = {"all": ["gemini_webhooks/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows = super().get_queryset(request).defer(*self.deferred)
        if self.list_select_related:
            rows = rows.select_related(*self.list_select_related)
        return rows

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
        filters = (value for name, value in request.GET.items() if name != SEARCH_VAR)
        if any("\0" in value for value in filters):
            return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")
        return super().changelist_view(request, extra_context)

    def link(self, row: models.Model | None, text: object = None) -> SafeString | str:
        """Link to the page of another row of this app; a dash if there is none."""
        if row is None:
            return EMPTY
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
        url = reverse(name, args=[quote(row.pk)], current_app=self.admin_site.name)
        return format_html('<a href="{}">{}</a>', url, row if text is None else text)


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


def excerpt(text: str) -> str:
    """The first line of ``text``, shortened for a cell of a list."""
    first_line = text.strip().partition("\n")[0]
    return Truncator(first_line).chars(EXCERPT_CHARACTERS) or EMPTY
