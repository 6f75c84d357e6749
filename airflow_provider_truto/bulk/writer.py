"""Sending one record of a bulk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_truto.bulk.customers import CustomerChecks
from airflow_provider_truto.bulk.matching.index import MatchIndex
from airflow_provider_truto.bulk.matching.matcher import Matcher, read_keys
from airflow_provider_truto.bulk.matching.plan import MatchPlan
from airflow_provider_truto.bulk.plan import Plan
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.state.changes import ChangeFilter
from airflow_provider_truto.bulk.tenants import TenantDirectory
from airflow_provider_truto.client.accounts import normalize_account
from airflow_provider_truto.client.errors import TrutoError, TrutoNotFoundError, TrutoSchemaError
from airflow_provider_truto.records.build import build_request
from airflow_provider_truto.records.coerce import CoercionOptions
from airflow_provider_truto.records.customer_schema import names_all_custom_fields
from airflow_provider_truto.records.diff import Change
from airflow_provider_truto.records.pipeline import RecordResult, prepare_request, send_record, write_record
from airflow_provider_truto.records.prepared import PreparedWrites
from airflow_provider_truto.records.request import PACKAGED, RecordRequest
from airflow_provider_truto.records.safeguards import Safeguards
from airflow_provider_truto.records.validate import ValidRequest, load_body_schema

if TYPE_CHECKING:
    from airflow_provider_truto.client.aio import AsyncClient  # slow to import; DAG files must not pay for it


#: Stands for the id of a record that was not looked up yet.
_UNKNOWN_ID = "?"
#: Makes what marks the records that are as they were confirmed last, of what names a record's customer.
MakeFilter = Callable[[Callable[[Record], str]], ChangeFilter]


class RecordWriter:
    """Sends records as a plan says. ``on_backoff`` surrounds each wait between two attempts of a call.

    ``on_named`` is called with each record of which is known what it is about, and not yet what it changes.
    """

    def __init__(
        self,
        client: AsyncClient,
        plan: Plan,
        *,
        on_backoff: Callable[[], AbstractContextManager[None]] | None = None,
        make_filter: MakeFilter | None = None,
        on_named: Callable[[Record], None] | None = None,
    ) -> None:
        if on_backoff is not None:
            client = client.with_backoff(on_backoff).putting_off(over=plan.longest_wait)
        self._client = client
        self._plan = plan
        self._coercion_of_data = replace(plan.coercion, data_of="the record")
        self._requests_before = client.requests
        self._prepared: dict[tuple[str, str], PreparedWrites] = {}
        #: Like those, of records that were checked and not sent.
        self._checked: dict[tuple[str, str], PreparedWrites] = {}
        self._customers = CustomerChecks(client, plan.template, plan.safeguards)
        self._safeguards = plan.safeguards.of_record()
        self._tenants = TenantDirectory(client)
        self._changes = None if make_filter is None else make_filter(self.find_account_id)
        self._create = _make_create(plan.template)
        self._on_named = on_named
        named = plan.template.integrated_account_id
        #: The customer of records that name none, as the plan names one, and as the connection does.
        self._named = None if named is None else normalize_account(named)
        self._default = normalize_account(client.settings.integrated_account_id or "")

    @property
    def max_attempts(self) -> int:
        """How often a record is sent at most."""
        return self._client.settings.max_attempts

    @property
    def hides_values(self) -> bool:
        """Whether no value of a record is to be shown."""
        return self._client.settings.hide_values

    @property
    def requests(self) -> int:
        """Requests that were sent since this writer was made, each attempt and each read beside the writes."""
        return self._client.requests - self._requests_before

    async def resolve(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return the records with what must be known before they are sent.

        That is their accounts, what those without an id find their records by, and what is unchanged. Raises
        ``TrutoError`` where Truto cannot be asked.
        """
        records = await self._tenants.resolve(records)
        if (match := self._plan.match) is not None:
            records = [read_keys(record, match.rule) for record in records]
        if self._on_named is not None:
            for record in records:
                self._on_named(record)
        return records if self._changes is None else await self._changes.resolve(records)

    def make_matcher(self, match: MatchPlan, index: MatchIndex) -> Matcher:
        """Make what finds the records of rows without an id, over the same client."""
        template = self._plan.template
        return Matcher(
            self._client,
            match,
            index,
            model=template.model or "",
            resource=template.resource,
            require_customer=self._customers.require,
        )

    async def write(self, record: Record, *, was_refused: bool) -> RecordResult:
        """Send a record, and return its answer. Raises ``TrutoError``.

        ``was_refused``: Truto refused it before somebody cleared the task, so that it needs a new key.
        """
        plan = self._plan
        identity = plan.cleared_identity if was_refused else plan.identity
        task = None if identity is None else identity.of(record.ordinal)
        account_id = self.find_account_id(record)
        if record.match_keys and self._changes is not None:
            await self._changes.note_found(record, account_id)
        kind = (account_id, self._create.method if _is_new(record) else plan.template.method)
        prepared = None if record.is_removed else self._prepared.get(kind)
        if prepared is not None and (valid := prepared.admit(record.id, record.body)):
            return await self._client.do(send_record, valid, task=task)
        await self._customers.check(account_id)
        request = self._build_request(record)
        try:
            result = await self._client.do(
                write_record,
                request,
                coercion=self._choose_coercion(record),
                safeguards=self._choose_safeguards(record),
                task=task,
            )
        except TrutoNotFoundError:
            if not record.is_removed:
                raise
            return RecordResult(request=request, response=None)  # gone already: there is nothing left to do
        if record.is_removed:
            return result
        if result.result is not None and (prepared is None or prepared.is_outdated) and self._may_prepare(result):
            self._prepared[kind] = PreparedWrites(result.request, result.result.request)
        return result

    def _may_prepare(self, result: RecordResult) -> bool:
        """Whether a body alone decides how another record of the customer is sent.

        Other safeguards look at the record as it is now, and a list of custom fields that is partial warns of names.
        """
        safeguards = self._safeguards
        is_checked_by_schema = not safeguards.check_custom_fields or names_all_custom_fields(result.request)
        return is_checked_by_schema and replace(safeguards, check_custom_fields=False) == Safeguards()

    async def find_fault(self, record: Record) -> TrutoSchemaError | None:
        """Check a record without writing it; return what is wrong with it.

        What is in the way of a whole customer, as a lapsed connection, is not wrong with a record: sending says so,
        and stops that customer alone. Raises what may pass.
        """
        if record.problems:
            return TrutoSchemaError.of("the row is not a record", record.problems)
        if not record.is_sent:
            return None
        try:
            await self.prepare(record)
        except TrutoSchemaError as error:
            return error
        except TrutoError as error:
            if error.transient or not self._customers.has_found(error):
                raise
        return None

    async def list_changes(self, record: Record) -> tuple[Change, ...]:
        """Read a record as it is now, and list what a write would change in it. Raises ``TrutoError``."""
        result = await self._client.do(
            write_record,
            self._build_request(record),
            coercion=self._choose_coercion(record),
            safeguards=replace(self._safeguards, preview=True, skip_unchanged=False),
        )
        return () if result.preview is None else result.preview.changes

    async def prepare(self, record: Record, *, is_looked_up: bool = False) -> ValidRequest:
        """Do all that precedes sending a record, whose customer is looked at first. Raises ``TrutoError``.

        One that has keys and no id is an update of whatever it finds, or a create where it ``is_looked_up``.
        """
        request, account_id = self._build_request(record), self.find_account_id(record)
        if _is_new(record) and not is_looked_up:
            template = self._plan.template
            request = request.replace(method=template.method, schema=template.schema, record_id=_UNKNOWN_ID)
        checked = self._checked.get((account_id, request.method))
        if checked is not None and (valid := checked.admit(record.id, record.body)):
            return valid
        await self._customers.check(account_id)
        valid = await self._client.do(
            prepare_request,
            request,
            coercion=self._choose_coercion(record),
            safeguards=self._choose_safeguards(record),
        )
        if not self._safeguards.check_custom_fields and (checked is None or checked.is_outdated):
            self._checked[account_id, request.method] = PreparedWrites(valid.request, build_request(valid))
        return valid

    def find_account_id(self, record: Record) -> str:
        """Return the customer of a record: the one that it names, the plan's, or the connection's; else ``""``."""
        named = self._find_named_account(record)
        return self._default if named is None else named

    def _find_named_account(self, record: Record) -> str | None:
        """Return the customer that is named; an empty name is one, so that no default steps in."""
        given = record.integrated_account_id
        return self._named if given is None else given

    def _build_request(self, record: Record) -> RecordRequest:
        """Build the request of a record; one that was looked for by its keys and not found is created."""
        template = self._create if _is_new(record) else self._plan.template
        request = template.replace(
            record_id=record.id,
            body=record.body,
            integrated_account_id=self._find_named_account(record),
        )
        return request.replace(method="delete", schema=None) if _is_deleted(record) else request

    def _choose_safeguards(self, record: Record) -> Safeguards:
        """Return the safeguards; of what is created or deleted, nothing can be unchanged."""
        safeguards = self._safeguards
        return replace(safeguards, skip_unchanged=False) if _is_new(record) or _is_deleted(record) else safeguards

    def _choose_coercion(self, record: Record) -> CoercionOptions:
        """Return how to coerce a record; a null in it may be an accident, so that ``on_none`` says what it means."""
        return self._plan.coercion if record.nulls_are_meant else self._coercion_of_data


def _is_new(record: Record) -> bool:
    """Whether a record was looked for by its keys and not found."""
    return record.id is None and bool(record.match_keys)


def _is_deleted(record: Record) -> bool:
    """Whether a record has left the source, and is deleted for it."""
    return record.is_removed and record.body is None


def _make_create(update: RecordRequest) -> RecordRequest:
    """Make the create that stands in for an update whose record does not exist; the schema is that of the update.

    Rows are written before anybody knows which of them is found, and are typed and checked in the same way.
    """
    create = update.replace(method="create", needs_id=False)
    if update.schema == PACKAGED and (schema := load_body_schema(update)) is not None:
        return create.replace(schema=schema.source)
    return create
