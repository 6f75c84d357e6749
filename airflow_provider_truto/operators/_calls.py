"""What every operator that makes one call shares: rendering, the way of one record, XCom, and how it fails."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from airflow_provider_truto._compat import AirflowFailException
from airflow_provider_truto.client.errors import Problem, TrutoError, TrutoSchemaError
from airflow_provider_truto.operators._files import write_whole
from airflow_provider_truto.operators._operator import TrutoOperator
from airflow_provider_truto.operators._task import failing_in_airflow_terms, running_task
from airflow_provider_truto.records.request import LIVE, PACKAGED, RecordRequest, SchemaSource
from airflow_provider_truto.records.xcom import (
    XCOM_LIMIT,
    build_xcom_value,
    collect_list,
    encode_json,
    is_text,
    make_storable,
    measure_json,
    summarize,
)

if TYPE_CHECKING:
    # Slow to import, and every DAG file imports this module: what only a run needs is imported in it.
    from airflow_provider_truto.client.sync import Listing
    from airflow_provider_truto.hooks.truto import TrutoHook
    from airflow_provider_truto.records.pipeline import Preview, RecordResult, Safeguards
    from airflow_provider_truto.records.verify import Verification

Verify = Literal["warn", "fail"] | None
_BODY_HINT = "; set on_none='omit' to leave such fields out, on_none='null' to clear them"
#: Characters of an error's message that go to XCom.
_LONGEST_MESSAGE = 10_000


class TrutoCallOperator(TrutoOperator):
    """One call for one customer: rendered with types kept, typed, checked, sent once over retries, verified.

    What a public operator does not take as an argument has the value here.
    """

    #: What the operator calls the record's id.
    id_name: ClassVar[str] = "record_id"
    needs_id: ClassVar[bool] = False
    #: ``None`` for the proxy API.
    model: Any = None
    query: Any = None
    max_records: Any = None
    # What only the unified API has.
    response_format: Any = "unified"
    ignore_remote_data: Any = False
    exclude_fields: Any = None
    remote_query: Any = None
    schema: SchemaSource = None
    extra_fields: Any = None
    allow_empty: Any = True
    check_custom_fields: Any = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        #: What is known of the call: whom and what it is for, and how it went.
        self._subject: dict[str, Any] = {}
        self._outcome: dict[str, Any] = {}

    def _contradictions(self, given: Mapping[str, Any], present: Collection[str]) -> Iterator[Problem]:
        yield from super()._contradictions(given, present)
        if self._taken["body"] and "body_file" in present:
            yield Problem("/body", "give either body or body_file")
        if given.get("preview") and ("expect" in present or given.get("skip_unchanged")):
            yield Problem("/preview", "sends nothing; expect and skip_unchanged go to a later task")

    def execute(self, context: Any) -> Any:
        """Make the call: typed, checked, called, answered, verified, XCom."""
        self._subject, self._outcome = {}, {}
        self._problems = self._read_arguments()
        with failing_in_airflow_terms(self, skip_on=self.skip_on or (), tell=partial(self._push_failure, context)):
            return self._called(context)

    def _called(self, context: Any) -> Any:
        from airflow_provider_truto.hooks.truto import TrutoHook
        from airflow_provider_truto.records.pipeline import CoercionOptions, write_record

        problems = list(self._problems)
        request = self._request(problems)
        self._subject = _subject(request)
        if self.truto_conn_id is None:
            raise TrutoSchemaError.of(f"task {self.task_id!r} names no connection", problems)
        hook = TrutoHook(self.truto_conn_id)
        if not problems and request.integrated_account_id is None and request.tenant_id is None:
            self._subject["integrated_account_id"] = hook.connection.settings.integrated_account_id
        if request.method == "list":
            return self._listed(context, hook, request, problems)
        is_write = not (request.is_read or self.preview)
        task = running_task(context) if is_write else None
        done = hook.do(
            write_record,
            request,
            coercion=CoercionOptions(on_none=self.on_none, hint=_BODY_HINT),
            earlier=problems,
            safeguards=self._safeguards(),
            task=task.identity if task else None,
            key_versions=task.key_versions if task else None,
        )
        value = self._finished(context, done, hide_values=hook.connection.settings.hide_values)
        if task:
            task.done()
        return value

    def _request(self, problems: list[Problem]) -> RecordRequest:
        """Make the request of the arguments that are right, and add what only all of them tell."""
        account = self.integrated_account_id
        if account is None and self._taken["integrated_account_id"]:
            account = ""  # given, and nothing came of it: the connection's default must not step in
        if self.response_format == "stream" and self.output_path is None:
            problems.append(Problem("/output_path", "is needed for response_format 'stream'"))
        return RecordRequest(
            model=self.model,
            resource=self.resource or "",
            method=self.method or "",
            record_id=getattr(self, self.id_name),
            id_name=self.id_name,
            needs_id=self.needs_id,
            body=self.body,
            query=self.query,
            integrated_account_id=account,
            tenant_id=self.tenant_id,
            integration=self.integration,
            response_format=self.response_format or "",
            ignore_remote_data=bool(self.ignore_remote_data),
            exclude_fields=self.exclude_fields,
            remote_query=self.remote_query,
            schema=schema_beside_dag(self, self.schema),
            extra_fields=self.extra_fields,
            allow_empty=bool(self.allow_empty),
            idempotency_key=self.idempotency_key,
            text_advice="make it text: `{{ … | string }}`, or where the value comes from",
        )

    def _safeguards(self) -> Safeguards:
        from airflow_provider_truto.records.pipeline import Safeguards

        return Safeguards(
            preflight=bool(self.preflight),
            expected_tenant_id=self.expected_tenant_id,
            check_custom_fields=bool(self.check_custom_fields),
            preview=bool(self.preview),
            expect=self.expect,
            skip_unchanged=bool(self.skip_unchanged),
        )

    def _finished(self, context: Any, done: RecordResult, *, hide_values: bool) -> Any:
        from airflow_provider_truto.records.verify import Verification, describe_doubts, verify

        outcome = done.result
        verification = verify(done.request, done.response) if outcome else Verification()
        self._subject = _subject(done.request)
        self._outcome |= {
            "status": outcome.response.status if outcome else None,
            "attempts": outcome.attempts if outcome else 0,
            "waited_seconds": round(outcome.waited, 3) if outcome else 0.0,
            "paced_seconds": round(outcome.paced, 3) if outcome else 0.0,
            "idempotency_key": outcome.request.idempotency_key if outcome else None,
            "integrated_account_id": done.request.integrated_account_id,
            **({} if done.request.is_read else {"verification": verification.as_dict()}),
            **({"preview": self._shown(done.preview, hide_values=hide_values)} if done.preview else {}),
            **({"unchanged": list(done.unchanged)} if self.skip_unchanged else {}),
        }
        value, stored = self._stored(done)
        self._outcome |= stored
        self._tell(done)
        if self.verify is not None:
            self._judge(done, verification, describe_doubts(done.request, done.response, verification))
        self._push(context, self._outcome)
        return value

    def _shown(self, preview: Preview, *, hide_values: bool) -> dict[str, Any]:
        """Give a preview for XCom: without its values where these are too large, or are to be hidden."""
        shown = preview.as_dict(hide_values=hide_values)
        if measure_json(shown) > XCOM_LIMIT:
            self.log.warning("The preview is too large for XCom: it goes there without the values")
            shown = preview.as_dict(hide_values=True)
        return cast("dict[str, Any]", make_storable(shown))

    def _stored(self, done: RecordResult) -> tuple[Any, dict[str, Any]]:
        """Give what goes to XCom as the response, and where a file holds it instead."""
        record_id = done.request.record_id
        of_record = {} if record_id is None else {"id": record_id}
        if self.output_path is not None and done.result is not None and done.result.response.stream is not None:
            written = self._written(done.result.response.stream)
            return {**of_record, "path": written["path"]}, written
        if isinstance(done.response, bytes) and (len(done.response) > XCOM_LIMIT or not is_text(done.response)):
            return self._stored_bytes(done.response, of_record)
        value = build_xcom_value(done.response, record_id, without_remote_data=self.ignore_remote_data)
        size = measure_json(value)
        if size <= XCOM_LIMIT:
            return make_storable(value), {}
        if self.output_path is not None:
            written = self._written([encode_json(value)])
            return {"id": value.get("id"), "path": written["path"]}, written
        self.log.warning(
            "The answer has %d bytes, more than the %d that go to XCom: only a summary does. Set output_path, or"
            " name fields to leave out in exclude_fields.",
            size,
            XCOM_LIMIT,
        )
        return summarize(value, size=size), {"bytes": size}

    def _stored_bytes(self, content: bytes, of_record: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Put an answer that is no JSON, and too large or no text, into the file as it is."""
        size = len(content)
        if self.output_path is not None:
            written = self._written([content])
            return {**of_record, "path": written["path"]}, written
        self.log.warning(
            "The answer is %d bytes that XCom does not take: only a summary goes there. Set output_path.", size
        )
        return summarize(of_record, size=size), {"bytes": size}

    def _written(self, chunks: Iterable[bytes]) -> dict[str, Any]:
        """Write the file that ``output_path`` names, and say so for XCom."""
        return {"path": str(self.output_path), "bytes": write_whole(self.output_path, chunks)}

    def _listed(self, context: Any, hook: TrutoHook, request: RecordRequest, problems: Sequence[Problem]) -> Any:
        """Read a list page by page: to XCom up to a limit, or as JSON Lines to a file."""
        from airflow_provider_truto.records.pipeline import open_pages

        listing = hook.listing(open_pages, request, earlier=problems, safeguards=self._safeguards())
        lines = self._lines(listing)
        stored: dict[str, Any] = {}
        value: Any
        if self.output_path is not None:
            stored = self._written(lines)
            value = {"count": listing.count, "path": stored["path"], "cursor": listing.cursor}
        else:
            value = collect_list(lines)
        self._outcome |= {
            "count": listing.count,
            "cursor": listing.cursor,
            "is_partial_response": listing.is_partial_response,
            "ended_early": listing.ended_early,
            **stored,
        }
        self._push(context, self._outcome)
        self.log.info(
            "%s: %d records%s", request, listing.count, "" if listing.cursor is None else ", and more after that"
        )
        return value

    def _lines(self, listing: Listing) -> Iterator[bytes]:
        for page in listing.pages():
            for record in page.items:
                shown = (
                    build_xcom_value(record, None, without_remote_data=True) if self.ignore_remote_data else record
                )
                yield encode_json(shown) + b"\n"
            if self.max_records is not None and listing.count >= self.max_records:
                return

    def _tell(self, done: RecordResult) -> None:
        if done.result is not None or done.preview is None:
            return
        if self.preview:
            self.log.info(
                "Preview of %s: it would change %s. Nothing was sent. Hash: %s",
                done.request,
                ", ".join(change.pointer or "the whole record" for change in done.preview.changes) or "nothing",
                done.preview.hash,
            )
        else:
            self.log.info("%s: every field is as it should be already; nothing was sent", done.request)

    def _judge(self, done: RecordResult, verification: Verification, doubts: str) -> None:
        if verification.changed:
            self.log.info("%s: the CRM took in its own form: %s", done.request, ", ".join(verification.changed))
        if verification.unverifiable:
            self.log.info("%s: the answer cannot confirm: %s", done.request, ", ".join(verification.unverifiable))
        if not doubts:
            return
        if self.verify == "fail":
            happened = "" if done.request.is_read or done.result is None else " The write HAS happened;"
            self._outcome["error"] = "not_confirmed"
            raise AirflowFailException(f"{doubts}{happened} verify='fail' fails the task for it.")
        self.log.warning(doubts)

    def _push_failure(self, context: Mapping[str, Any], error: Exception, is_skip: bool) -> None:
        """Push what is known of a call that failed, so that a later task can say what became of all of them."""
        outcome = {**self._subject, **self._outcome}
        outcome |= {name: value for name, value in _details(error).items() if outcome.get(name) is None}
        message = str(error)
        if len(message) > _LONGEST_MESSAGE:
            message = f"{message[:_LONGEST_MESSAGE]}…"
        outcome |= {"message": message, "skipped": is_skip}
        try:
            self._push(context, make_storable(outcome))
        except Exception:  # the task fails for a reason of its own, which must not be hidden
            self.log.warning("Why this task fails could not be pushed to XCom", exc_info=True)

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: Any, seen_oids: Any
    ) -> None:
        try:
            super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        except Exception as error:
            if parent is self:
                self._push_failure(context, error, is_skip=False)
            raise


def _subject(request: RecordRequest) -> dict[str, Any]:
    """Name the customer and the record for XCom, as far as they are known."""
    named = {
        "tenant_id": request.tenant_id,
        "integration": request.integration,
        "record_id": request.record_id,
    }
    return {
        "integrated_account_id": request.integrated_account_id or None,
        **{name: value for name, value in named.items() if value is not None},
    }


def _details(error: Exception) -> dict[str, Any]:
    """Say for XCom what an error knows of itself and of its call."""
    details: dict[str, Any] = {"error": type(error).__name__, "status": None}
    if isinstance(error, TrutoError):
        details |= {
            "error": error.code,
            "status": getattr(error, "status", None) or None,
            "attempts": error.attempts,
            "waited_seconds": round(error.waited, 3),
            "idempotency_key": error.idempotency_key,
            "integrated_account_id": error.integrated_account_id,
        }
    return details


def schema_beside_dag(operator: Any, schema: SchemaSource) -> SchemaSource:
    """Look for a relative schema path beside the DAG file first: a worker's current folder means nothing."""
    is_path = isinstance(schema, (str, PathLike)) and schema not in {PACKAGED, LIVE}
    if is_path and operator.has_dag():
        beside = Path(operator.dag.folder) / str(schema)
        return beside if beside.exists() else schema
    return schema
