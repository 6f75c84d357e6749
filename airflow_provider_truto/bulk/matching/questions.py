"""What a customer's CRM is asked to find records: a list of all, or a filter for one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_truto.bulk.matching.errors import TrutoUnknownMatchError
from airflow_provider_truto.bulk.matching.index import MatchIndex
from airflow_provider_truto.bulk.matching.rule import Alternative, MatchRule
from airflow_provider_truto.client.core import Client
from airflow_provider_truto.client.endpoints import meta_request, unified_request
from airflow_provider_truto.client.errors import TrutoApiError, TrutoSchemaError
from airflow_provider_truto.client.pages import Pages
from airflow_provider_truto.client.redaction import quote_line
from airflow_provider_truto.client.request import Request

#: Records of a page, of each list.
PAGE_SIZE = 100
#: Pages of a filter's answer; one that has more was ignored, as CRMs do with filters that they do not know.
_MOST_FILTERED = 3


@dataclass(kw_only=True)
class Listing:
    """A list of all records of a customer, as far as it was read.

    ``is_whole``: what was read is all that there is up to there; Truto may say that it is not.
    """

    pages: Pages
    read: int = 0
    records: int = 0
    is_whole: bool = True
    is_done: bool = False


class Questions:
    """Asks one resource of the customers' CRMs, and puts what has come into the index."""

    def __init__(self, rule: MatchRule, index: MatchIndex, *, model: str, resource: str) -> None:
        self._rule = rule
        self._index = index
        self._model = model
        self._resource = resource
        self._listings: dict[str, Listing] = {}

    def find_whole_list(self, account_id: str) -> Listing | None:
        """Return the list of a customer that was read to its end, if it was."""
        listing = self._listings.get(account_id)
        return listing if listing is not None and listing.is_done else None

    async def read_list(self, client: Client, account_id: str, *, is_enough: Callable[[int], bool]) -> Listing:
        """Go on reading all records of a customer, to the end or until ``is_enough`` says so of the pages read.

        Raises ``TrutoError``; the list starts over then.
        """
        listing = self._listings.pop(account_id, None) or Listing(pages=Pages(client, self._build(account_id, {})))
        while not listing.is_done and not (listing.read and is_enough(listing.read)):
            page = await listing.pages.next()
            if page is not None:
                self._add(account_id, page.items)
                listing.read += 1
                listing.records += len(page.items)
                listing.is_whole = listing.is_whole and not page.is_partial and not page.ended_early
            listing.is_done = page is None or page.cursor is None
        self._listings[account_id] = listing
        return listing

    async def ask(self, client: Client, account_id: str, body: Mapping[str, Any]) -> None:
        """Ask for the records of one row, by each of its values in turn until one is found.

        Raises ``TrutoError``, ``TrutoUnknownMatchError`` where the filter was ignored.
        """
        for one in self._rule.alternatives:
            found = one.find(body).values
            keys = one.make_keys(found)
            for value in dict.fromkeys([*_list_texts(one, body), *found]):
                await self._filter(client, account_id, one.name, value)
            if keys and self._index.find(account_id, keys):
                return

    async def can_filter(self, client: Client, account_id: str) -> bool:
        """Whether Truto documents, for this customer, a filter for everything that rows are found by.

        Raises ``TrutoError`` for a failure that may pass; any other answer says nothing of a filter.
        """
        request = meta_request(self._model, self._resource, "list", integrated_account_id=account_id)
        try:
            meta = await client.fetch_object(request)
        except TrutoApiError as error:
            if error.transient:
                raise
            return False
        schema = meta.get("query_schema")
        known = schema.get("properties") if isinstance(schema, Mapping) else None
        return isinstance(known, Mapping) and all(one.name in known for one in self._rule.alternatives)

    async def _filter(self, client: Client, account_id: str, name: str, value: str) -> None:
        pages = Pages(client, self._build(account_id, {name: value}))
        for _ in range(_MOST_FILTERED):
            if (page := await pages.next()) is None:
                return
            self._add(account_id, page.items)
            if page.cursor is None:
                return
        raise TrutoUnknownMatchError(
            f"the CRM of customer {account_id} answers the filter {name!r} with more than {_MOST_FILTERED} pages, as"
            " if there were none. Nothing was sent. Set match_by='list'"
        )

    def _build(self, account_id: str, filters: Mapping[str, str]) -> Request:
        query = {"limit": PAGE_SIZE, "truto_ignore_remote_data": True, **filters}
        return unified_request(self._model, self._resource, "list", integrated_account_id=account_id, query=query)

    def _add(self, account_id: str, records: list[Any]) -> None:
        found = []
        for record in records:
            record_id = record.get("id") if isinstance(record, Mapping) else None
            if record_id in (None, ""):
                continue
            try:
                found += [(key, str(record_id)) for key in self._rule.read_record(record)]
            except Exception as error:  # the author's function; a record without a key would be created again
                which = quote_line(str(record_id), most=100)
                raise TrutoSchemaError(
                    f"match_on raised {type(error).__name__} for the record {which} of customer {account_id}, so that"
                    " no row of this customer can find its record. Nothing was sent."
                ) from error
        self._index.add(account_id, found)


def _list_texts(one: Alternative, body: Mapping[str, Any]) -> list[str]:
    """List the values as the row has them: a CRM may compare letter by letter."""
    value = one.read(body)
    return [
        text.strip() for text in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(text, str)
    ]
