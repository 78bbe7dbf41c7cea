"""Pages of long lists: nothing is counted to its end, and no page lies deep.

Whoever wants to see what comes after the last page goes on from its last row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin.views.main import ORDER_VAR, SEARCH_VAR, ChangeList
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils import formats
from django.utils.functional import cached_property

#: So many rows are counted and have pages; a multiple of what a page holds.
MOST = 10_000

if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
else:  # generic only in the stubs
    AnyPaginator = Paginator


class BoundedPaginator(AnyPaginator):
    """Counts no further than :data:`MOST`, and has pages for so many rows."""

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[: MOST + 1].count())

    @cached_property
    def count(self) -> int:
        """How many rows have a page."""
        return min(self._counted, MOST)

    @property
    def is_cut(self) -> bool:
        """Whether there are more rows than that."""
        return self._counted > MOST

    @property
    def most(self) -> str:
        """How many have pages, to be read."""
        return formats.number_format(MOST, force_grouping=True)


class BoundedChangeList(ChangeList):
    """A list with :class:`BoundedPaginator`; see :class:`base.LongList`.

    Attributes:
        further_url: of the list that begins where the last page ends; only there.
        newest_url: of the list from its beginning, if this one began elsewhere.
        cleared_url: of the list without the search, if there is one.
    """

    further_url = ""
    newest_url = ""
    cleared_url = ""

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, and find out where the next list begins."""
        super().get_results(request)
        # So that the form of the search says nothing of how many there are, which is said below.
        self.full_result_count = self.result_count
        if self.query:
            self.cleared_url = self.get_query_string(remove=[SEARCH_VAR])
        long_list: Any = self.model_admin
        field, lookup = long_list.goes_on_by
        if lookup in self.params:
            self.newest_url = self.get_query_string(remove=[lookup])
        is_last = self.page_num == self.paginator.num_pages
        if self.paginator.is_cut and is_last and ORDER_VAR not in self.params:
            rows: Any = self.result_list
            last = getattr(list(rows)[-1], field)
            self.further_url = self.get_query_string({lookup: str(last)})
