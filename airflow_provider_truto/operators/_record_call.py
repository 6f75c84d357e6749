"""Makes the call of an operator of one record: builds the request, sends it, and pushes the outcome to XCom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_truto._compat import AirflowFailException
from airflow_provider_truto.airflow_task import read_running_task
from airflow_provider_truto.client.core import putting_off
from airflow_provider_truto.client.errors import Problem, TrutoApiError, TrutoSchemaError
from airflow_provider_truto.client.plurals import count
from airflow_provider_truto.hooks.truto import TrutoHook
from airflow_provider_truto.operators._files import find_schema
from airflow_provider_truto.operators._outlets import emit_events
from airflow_provider_truto.operators._record_list import read_list
from airflow_provider_truto.operators._record_xcom import (
    describe_error,
    describe_result,
    describe_subject,
    show_preview,
    store_response,
)
from airflow_provider_truto.records.coerce import CoercionOptions
from airflow_provider_truto.records.pipeline import RecordResult, open_pages, write_record
from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.records.safeguards import Safeguards
from airflow_provider_truto.records.verify import Verification, describe_doubts, verify
from airflow_provider_truto.records.xcom import make_storable

if TYPE_CHECKING:
    from airflow_provider_truto.operators._deferral import Deferrals
    from airflow_provider_truto.operators._record import TrutoRecordOperator

_BODY_HINT = "; set on_none='omit' to leave such fields out, on_none='null' to clear them"


class RecordCall:
    """The call of one try of a task. Keeps what is known of it for XCom, also for a call that fails."""

    def __init__(self, operator: TrutoRecordOperator, context: Any, deferrals: Deferrals | None = None) -> None:
        self._operator = operator
        self._context = context
        self._deferrals = deferrals
        #: The customer and the record, as far as they are known.
        self._subject: dict[str, Any] = {}
        #: Status, attempts, verification and so on, as far as they are known.
        self._outcome: dict[str, Any] = {}
        if deferrals is not None and deferrals.count:
            self._outcome["deferred_seconds"] = round(deferrals.seconds, 3)

    def execute(self, problems: Sequence[Problem]) -> Any:
        """Make the call and return what goes to XCom as its value; ``problems`` are those of the arguments.

        Raises ``TrutoError``, ``AirflowFailException`` for ``verify="fail"``, and ``TaskDeferred`` for a long wait.
        """
        operator = self._operator
        request, problems = build_request(operator, problems)
        self._subject = describe_subject(request)
        if operator.truto_conn_id is None:
            raise TrutoSchemaError.of(f"task {operator.task_id!r} names no connection", problems)
        hook = TrutoHook(operator.truto_conn_id)
        try:
            return self._call(hook, request, problems)
        except TrutoApiError as error:
            if error.is_put_off and error.retry_after is not None and self._deferrals is not None:
                at_most = hook.connection.settings.max_attempts - 1
                operator.wait_deferred(self._context, error.retry_after, self._deferrals, at_most=at_most)
            raise

    def _call(self, hook: TrutoHook, request: RecordRequest, problems: Sequence[Problem]) -> Any:
        operator = self._operator
        if not problems and request.integrated_account_id is None and request.tenant_id is None:
            self._subject["integrated_account_id"] = hook.connection.settings.integrated_account_id
        if request.method == "list":
            return self._read_list(hook, request, problems)
        is_write = not (request.is_read or operator.preview)
        task = read_running_task(self._context) if is_write else None
        result = hook.do(
            putting_off(write_record, over=operator.find_longest_wait(self._context)),
            request,
            coercion=CoercionOptions(on_none=operator.on_none, hint=_BODY_HINT),
            earlier=problems,
            safeguards=build_safeguards(operator),
            task=task.identity if task else None,
            key_versions=task.key_versions if task else None,
        )
        value = self._finish(result, hide_values=hook.connection.settings.hide_values)
        if task:
            task.mark_done()
        return value

    def push_failure(self, error: Exception, is_skip: bool) -> None:
        """Push what is known of a call that failed, so that a later task can report on all calls."""
        outcome = {**self._subject, **self._outcome}
        outcome |= {name: value for name, value in describe_error(error).items() if outcome.get(name) is None}
        outcome["skipped"] = is_skip
        try:
            self._operator.push_outcome(self._context, make_storable(outcome))
        except Exception:  # the task fails for a reason of its own, which must not be hidden
            self._operator.log.warning("Why this task fails could not be pushed to XCom", exc_info=True)

    def _read_list(self, hook: TrutoHook, request: RecordRequest, problems: Sequence[Problem]) -> Any:
        operator = self._operator
        open_first = putting_off(open_pages, over=operator.find_longest_wait(self._context))
        listing = hook.listing(open_first, request, earlier=problems, safeguards=build_safeguards(operator))
        value, outcome = read_list(operator, listing, self._context)
        self._outcome |= outcome
        operator.push_outcome(self._context, self._outcome)
        more = "" if listing.cursor is None else ", and more after that"
        operator.log.info("%s: %s%s", request, count(listing.count, "record"), more)
        return value

    def _finish(self, result: RecordResult, *, hide_values: bool) -> Any:
        """Verify the answer, and return what goes to XCom as the value."""
        operator = self._operator
        verification = verify(result.request, result.response) if result.result else Verification()
        self._subject = describe_subject(result.request)
        self._outcome |= describe_result(result)
        if not result.request.is_read:
            self._outcome["verification"] = verification.as_dict()
        if result.preview:
            self._outcome["preview"] = show_preview(operator, result.preview, hide_values=hide_values)
        if operator.skip_unchanged:
            self._outcome["unchanged"] = list(result.unchanged)
        value, stored = store_response(operator, result)
        self._outcome |= stored
        self._log_unsent(result)
        operator.written = self._count(result)  # lineage has it also where the judgement fails the task
        if operator.verify is not None:
            self._judge(result, verification)
        operator.push_outcome(self._context, self._outcome)
        request = result.request
        record_id = request.record_id or (value.get("id") if isinstance(value, dict) else None)
        emit_events(operator, self._context, operator.written, method=request.method, record_id=record_id)
        return value

    def _count(self, result: RecordResult) -> dict[str, dict[str, int]]:
        """Return what became of the record as the counts of its account; nothing for a read."""
        request = result.request
        if request.is_read or self._operator.preview or request.integrated_account_id is None:
            return {}
        became = "created" if request.method == "create" else "updated"
        return {request.integrated_account_id: {became if result.result else "unchanged": 1}}

    def _log_unsent(self, result: RecordResult) -> None:
        if result.result is not None or result.preview is None:
            return
        if self._operator.preview:
            self._operator.log.info(
                "Preview of %s: it would change %s. Nothing was sent. Hash: %s",
                result.request,
                ", ".join(change.pointer or "the whole record" for change in result.preview.changes) or "nothing",
                result.preview.hash,
            )
        else:
            self._operator.log.info("%s: every field is as it should be already; nothing was sent", result.request)

    def _judge(self, result: RecordResult, verification: Verification) -> None:
        """Log what the answer does not confirm. Raises ``AirflowFailException`` for it under ``verify="fail"``."""
        log, request = self._operator.log, result.request
        if verification.changed:
            log.info("%s: the CRM took in its own form: %s", request, ", ".join(verification.changed))
        if verification.unverifiable:
            log.info("%s: the answer cannot confirm: %s", request, ", ".join(verification.unverifiable))
        doubts = describe_doubts(request, result.response, verification)
        if doubts and self._operator.verify == "fail":
            happened = "" if request.is_read or result.result is None else " The write HAS happened;"
            self._outcome["error"] = "not_confirmed"
            raise AirflowFailException(f"{doubts}{happened} verify='fail' fails the task for it.")
        if doubts:
            log.warning(doubts)


def build_request(
    operator: TrutoRecordOperator, problems: Sequence[Problem]
) -> tuple[RecordRequest, Sequence[Problem]]:
    """Build the request from the arguments; return it with ``problems`` and those of arguments that contradict."""
    account = operator.integrated_account_id
    if account is None and operator.is_given("integrated_account_id"):
        account = ""  # it was given and rendered to nothing: the connection's default must not be used instead
    if operator.response_format == "stream" and operator.output_path is None:
        problems = [*problems, Problem("/output_path", "is needed for response_format 'stream'")]
    request = RecordRequest(
        model=operator.model,
        resource=operator.resource or "",
        method=operator.method or "",
        record_id=getattr(operator, operator.id_name),
        id_name=operator.id_name,
        needs_id=operator.needs_id,
        body=operator.body,
        query=operator.query,
        integrated_account_id=account,
        tenant_id=operator.tenant_id,
        integration=operator.integration,
        response_format=operator.response_format or "",
        ignore_remote_data=bool(operator.ignore_remote_data),
        exclude_fields=operator.exclude_fields,
        remote_query=operator.remote_query,
        schema=find_schema(operator, operator.schema),
        extra_fields=operator.extra_fields,
        allow_empty=bool(operator.allow_empty),
        idempotency_key=operator.idempotency_key,
        text_advice="make it text: `{{ … | string }}`, or where the value comes from",
    )
    return request, problems


def build_safeguards(operator: TrutoRecordOperator) -> Safeguards:
    """Build the safeguards that the arguments ask for."""
    return Safeguards(
        preflight=bool(operator.preflight),
        expected_tenant_id=operator.expected_tenant_id,
        check_custom_fields=bool(operator.check_custom_fields),
        preview=bool(operator.preview),
        expect=operator.expect,
        skip_unchanged=bool(operator.skip_unchanged),
    )
