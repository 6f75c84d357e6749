"""Finds the records of rows without an id, out of what the customers' CRMs have and what this run has written.

    look_up → (not known yet: prepare) → look_up → what the row means: an update, a create, a skip, or why neither

A record is looked up when its turn has come, so that it finds what earlier rows have created. ``look_up`` makes no
call. ``prepare`` lists all records of the customer once, or asks for those of one row by a filter.

By ``"auto"``, a list is read as long as it has not taken more pages than rows of the customer wait for it, or the
source is not yet read to its end. Then the rows are asked for one by one where Truto documents a filter, which costs
twice the cheaper way at most. A filter that finds nothing proves nothing, since spellings differ: the list is read
then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from airflow_provider_truto.bulk.matching.errors import (
    TrutoAmbiguousMatchError,
    TrutoNoMatchError,
    TrutoUnknownMatchError,
)
from airflow_provider_truto.bulk.matching.index import MOST_IDS, MatchIndex
from airflow_provider_truto.bulk.matching.plan import MatchPlan
from airflow_provider_truto.bulk.matching.questions import Listing, Questions
from airflow_provider_truto.bulk.matching.rule import MatchRule
from airflow_provider_truto.bulk.record import Record, Skip
from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.client.redaction import quote_line

if TYPE_CHECKING:
    from airflow_provider_truto.client.aio import AsyncClient  # slow to import; DAG files must not pay for it

_LONGEST_ID = 100
#: Of what is to be looked up, how many rows wait; ``None`` where the source is not read to its end.
CountRows = Callable[[], int | None]


def read_keys(record: Record, rule: MatchRule) -> Record:
    """Return a record with the keys that find its record, or with why none can; one with an id needs none."""
    if record.id or not record.is_sent:
        return record
    keys, problems = rule.read_row(record.body)
    return record.replace(id=None, match_keys=keys, problems=tuple(problems))


class Matcher:
    """Says which record of its customer's CRM a row means.

    ``index`` also has what this run has written, see ``MatchIndex.remember``. ``require_customer`` raises the
    ``TrutoError`` that is in the way of a customer, before anything of theirs is asked for.
    """

    def __init__(
        self,
        client: AsyncClient,
        plan: MatchPlan,
        index: MatchIndex,
        *,
        model: str,
        resource: str,
        require_customer: Callable[[str], Awaitable[None]],
    ) -> None:
        self._client = client
        self._plan = plan
        self._index = index
        self._questions = Questions(plan.rule, index, model=model, resource=resource)
        self._require_customer = require_customer
        self._noun = resource.replace("-", " ")
        #: Customers whose rows are asked for one by one.
        self._filtered: set[str] = set()
        #: Those of them whose CRM ignores the filter.
        self._unfiltered: set[str] = set()
        #: Customers who could not be asked, as ``find`` remembers them.
        self._unknown: dict[str, TrutoError] = {}

    def look_up(self, account_id: str, record: Record) -> Record | TrutoError | None:
        """Return what a record means that has keys and no id; ``None`` where ``prepare`` is needed first.

        It has the id of its record then, or none, where it is to be created, or ``skip``. An error says why it cannot
        be sent.
        """
        listing = self._questions.find_whole_list(account_id)
        was_asked = listing is None and self._index.was_asked(account_id, record.match_key)
        is_unknown = listing is None and not was_asked
        ids: list[str] = []
        for keys in filter(None, record.match_keys):
            # Of a CRM that was shown in part, only what this run has written itself is sure to be all that there is.
            ids = self._index.find(account_id, keys, only_own=is_unknown)
            if ids or is_unknown:
                break
        if len(ids) == 1 and ids[0]:
            return self._name_record(account_id, record, ids[0])
        if ids:
            return self._judge_several(record, ids)
        if listing is None and not (was_asked and self._plan.by == "filter"):
            return None
        return self._judge_none(record, listing)

    def has_written(self, account_id: str, record: Record) -> bool:
        """Whether another row of this run has found the record of a row, and has written it."""
        return self._index.find_source(account_id, record.id or "") not in {None, record.ordinal}

    async def find(self, account_id: str, record: Record) -> Record | TrutoError:
        """Return what ``look_up`` does, after asking for all that it needs. Raises ``TrutoError``.

        A customer who could not be asked is not asked again.
        """
        while (found := self.look_up(account_id, record)) is None:
            if (known := self._unknown.get(account_id)) is not None:
                return known
            try:
                await self.prepare(account_id, record, count_rows=lambda: None)
            except TrutoError as error:
                self._unknown[account_id] = error
                raise
        return found

    def asks_for_each(self, account_id: str, record: Record) -> bool:
        """Whether ``prepare`` makes a call for this record alone, so that others may go on meanwhile."""
        may_ask = account_id in self._filtered and account_id not in self._unfiltered
        return may_ask and not self._index.was_asked(account_id, record.match_key)

    async def prepare(self, account_id: str, record: Record, *, count_rows: CountRows) -> None:
        """Ask the customer's CRM for what ``look_up`` needs. Raises ``TrutoError``."""
        await self._require_customer(account_id)
        do, questions = self._client.do, self._questions
        if self.asks_for_each(account_id, record):
            try:
                await do(questions.ask, account_id, record.body)
            except TrutoUnknownMatchError:
                if self._plan.by == "filter":
                    raise
                self._unfiltered.add(account_id)
            else:
                self._index.note_asked(account_id, record.match_key)
        elif self._plan.by == "filter":
            if not await do(questions.can_filter, account_id):
                raise TrutoUnknownMatchError(
                    f"Truto documents no filter by {self._plan.rule.names} for the {self._noun} of customer"
                    f" {account_id}. Nothing was sent. Set match_by='list'"
                )
            self._filtered.add(account_id)
        else:
            is_whole_wanted = self._plan.by == "list" or account_id in self._filtered

            def is_enough(pages: int) -> bool:
                rows = None if is_whole_wanted else count_rows()
                return rows is not None and rows <= pages

            listing = await do(questions.read_list, account_id, is_enough=is_enough)
            if not listing.is_done and await do(questions.can_filter, account_id):
                self._filtered.add(account_id)
            elif not listing.is_done:
                await do(questions.read_list, account_id, is_enough=lambda _pages: False)

    def _name_record(self, account_id: str, record: Record, record_id: str) -> Record:
        earlier = self._index.find_source(account_id, record_id)
        if earlier is None or earlier == record.ordinal:
            return record.replace(id=record_id)
        note = f"row {earlier} was about the same record, {_quote(record_id)}: both were sent, in their order"
        return record.replace(id=record_id, note=note)

    def _judge_several(self, record: Record, ids: list[str]) -> Record | TrutoError:
        what = self._describe(record)
        if "" in ids:
            return TrutoUnknownMatchError(
                f"an earlier row has created a record with {what}, and the CRM's answer named no id. Nothing was sent"
            )
        some = ", ".join(map(_quote, ids[:MOST_IDS])) + (" and more" if len(ids) > MOST_IDS else "")
        count = f"more than {MOST_IDS}" if len(ids) > MOST_IDS else str(len(ids))
        message = f"{count} {self._noun} of this customer have {what}: {some}. Nothing was sent"
        if self._plan.on_ambiguous == "skip":
            return record.replace(skip=Skip(TrutoAmbiguousMatchError.code, message))
        return TrutoAmbiguousMatchError(f"{message}. Merge them in the CRM, or give the row an id")

    def _judge_none(self, record: Record, listing: Listing | None) -> Record | TrutoError:
        if listing is not None and not listing.is_whole:
            return TrutoUnknownMatchError(
                f"none of the {listing.records} {self._noun} that were listed has {self._describe(record)}, and"
                " Truto says that the list is not whole. Nothing was sent. Give the row an id"
            )
        if self._plan.on_missing == "create":
            return record
        compared = "of the filtered" if listing is None else f"of this customer's {listing.records}"
        message = f"none {compared} {self._noun} has {self._describe(record)}. Nothing was sent"
        if self._plan.on_missing == "skip":
            return record.replace(skip=Skip(TrutoNoMatchError.code, message))
        return TrutoNoMatchError(f"{message}. on_missing='create' would create it")

    def _describe(self, record: Record) -> str:
        return self._plan.rule.describe(record.body, hide_values=self._client.settings.hide_values)


def _quote(record_id: str) -> str:
    return quote_line(record_id, most=_LONGEST_ID)
