"""What every operator that makes one call shares: rendering, the way of one record, XCom, and how it fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast, get_args

from airflow_provider_truto._compat import AirflowFailException, BaseOperator
from airflow_provider_truto.client.errors import Problem, TrutoSchemaError
from airflow_provider_truto.connection_fields import DEFAULT_CONN_ID
from airflow_provider_truto.operators._files import write_whole
from airflow_provider_truto.operators._rendering import TypedRenderingMixin
from airflow_provider_truto.operators._task import (
    codes_of_errors,
    failing_in_airflow_terms,
    task_identity,
    task_suffixes,
)
from airflow_provider_truto.updates.request import LIVE, PACKAGED, OnNone, RecordRequest, SchemaSource
from airflow_provider_truto.updates.xcom import (
    XCOM_LIMIT,
    is_text,
    json_bytes,
    json_size,
    listed_value,
    storable,
    summary,
    xcom_value,
)

if TYPE_CHECKING:
    # Slow to import, and every DAG file imports this module: what only a run needs is imported in it.
    from airflow_provider_truto.client.sync import Listing
    from airflow_provider_truto.hooks.truto import TrutoHook
    from airflow_provider_truto.updates.typed import Typed
    from airflow_provider_truto.updates.verified import Verification
    from airflow_provider_truto.updates.way import Care, Done, Preview

Verify = Literal["warn", "fail"] | None
#: The key under which everything but the response goes to XCom.
XCOM_KEY = "truto"
#: Arguments that are lists of names.
_NAMES = ("exclude_fields", "extra_fields")
#: Arguments that are objects of any shape.
_OBJECTS = ("query", "remote_query")
#: Arguments that say which record is meant, and under which conditions: ``None`` is no way to leave them out.
_NEVER_NONE = ("record_id", "tenant_id", "integration", "expected_tenant_id", "expect")
_BODY_HINT = "; set on_none='omit' to leave such fields out, on_none='null' to clear them"


class _NotGiven:
    """Tells an argument that was left out from one that was given as ``None``."""

    def __repr__(self) -> str:
        return "<not given>"


NOT_GIVEN: Any = _NotGiven()


class TrutoCallOperator(TypedRenderingMixin, BaseOperator):
    """One call for one customer: rendered with types kept, typed, checked, sent once over retries, verified.

    :param integrated_account_id: the customer's integrated account (a UUID); left out, the connection's default.
        One that is given and renders to nothing is an error. (templated)
    :param tenant_id: names the customer instead, by your own id for them; looked up before the call. (templated)
    :param integration: with ``tenant_id``, which of the customer's accounts: ``"hubspot"``. (templated)
    :param expected_tenant_id: refuse an integrated account that belongs to any other tenant. (templated)
    :param truto_conn_id: the Airflow connection. (templated)
    :param body: what to send, as a dict, JSON text or the output of another task. (templated)
    :param body_file: instead of ``body``, a JSON file found like a template; its strings are rendered.
    :param query: query parameters of the method: filters, ``limit``. (templated)
    :param on_none: what a template that gives ``None`` means: ``"error"``, ``"omit"`` the field, or send
        ``"null"``. A ``None`` that is written in the DAG file is always sent as null, which clears the field.
    :param preflight: before the call, make sure that the account is active, not blocked, and has the method.
    :param preview: read the record, say what would be changed, with a hash of it, and send nothing.
    :param expect: the hash of a preview: send only where it would change just what was previewed. (templated)
    :param skip_unchanged: read the record first and send only the top-level fields that differ, nothing where none
        does. Not a lock: somebody else may write in between.
    :param verify: what to do with fields that the answer does not confirm: ``"warn"``, ``"fail"`` (the write has
        happened then), or ``None``.
    :param skip_on: names of errors that skip the task instead of failing it, such as ``("not_found",)``.
    :param idempotency_key: a key of your own. Truto executes a key once an account and path, also after a
        clear. (templated)
    :param output_path: an ``ObjectStoragePath`` for a streamed answer, for one too large for XCom, or for a list, as
        JSON Lines. (templated)
    :param max_records: end a list with the page in which it reaches so many records.

    XCom: ``return_value`` is the response; status, attempts, verification, preview, cursor and paths are under
    ``truto``.
    """

    #: What the operator calls the record's id.
    id_name: ClassVar[str] = "record_id"
    needs_id: ClassVar[bool] = False
    #: ``None`` for the proxy API.
    model: str | None = None
    resource: str
    method: str
    # What only the unified API has.
    response_format: str = "unified"
    ignore_remote_data: bool = False
    exclude_fields: Sequence[str] | None = None
    remote_query: Mapping[str, Any] | None = None
    schema: SchemaSource = None
    extra_fields: Sequence[str] | None = None
    allow_empty: bool = True
    check_custom_fields: bool = False

    template_fields: Sequence[str] = (
        "truto_conn_id",
        "integrated_account_id",
        "tenant_id",
        "integration",
        "expected_tenant_id",
        "body",
        "body_file",
        "query",
        "expect",
        "idempotency_key",
        "output_path",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"body": "json", "query": "json"}
    ui_color = "#e3f2ee"

    def __init__(
        self,
        *,
        integrated_account_id: str = NOT_GIVEN,
        tenant_id: str = NOT_GIVEN,
        integration: str = NOT_GIVEN,
        expected_tenant_id: str = NOT_GIVEN,
        truto_conn_id: str = DEFAULT_CONN_ID,
        body: Mapping[str, Any] | str = NOT_GIVEN,
        body_file: str | None = None,
        query: Mapping[str, Any] | None = None,
        on_none: OnNone = "error",
        preflight: bool = False,
        preview: bool = False,
        expect: str = NOT_GIVEN,
        skip_unchanged: bool = False,
        verify: Verify = "warn",
        skip_on: Sequence[str] = (),
        idempotency_key: str | None = None,
        output_path: str | None = None,
        max_records: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if body is not NOT_GIVEN and body_file is not None:
            raise ValueError("give either body or body_file")
        if on_none not in get_args(OnNone):
            raise ValueError(f"on_none: expects one of {', '.join(get_args(OnNone))}, got {on_none!r}")
        if verify not in {"warn", "fail", None}:
            raise ValueError(f"verify: expects 'warn', 'fail' or None, got {verify!r}")
        if isinstance(skip_on, str) or (unknown := set(skip_on) - set(codes_of_errors())):
            named = skip_on if isinstance(skip_on, str) else ", ".join(sorted(unknown))
            raise ValueError(f"skip_on: expects a list out of {', '.join(sorted(codes_of_errors()))}, got {named}")
        if preview and (expect is not NOT_GIVEN or skip_unchanged):
            raise ValueError("preview: sends nothing; expect and skip_unchanged go to a later task")
        if max_records is not None and max_records < 1:
            raise ValueError(f"max_records: must be 1 or more, got {max_records}")
        self._given: set[str] = set()
        self.integrated_account_id = self._noted("integrated_account_id", integrated_account_id)
        self.tenant_id = self._noted("tenant_id", tenant_id)
        self.integration = self._noted("integration", integration)
        self.expected_tenant_id = self._noted("expected_tenant_id", expected_tenant_id)
        self.truto_conn_id = truto_conn_id
        self.body = self._noted("body", body)
        self.body_file = body_file
        self.query = query
        self.on_none = on_none
        self.preflight = preflight
        self.preview = preview
        self.expect = self._noted("expect", expect)
        self.skip_unchanged = skip_unchanged
        self.verify = verify
        self.skip_on = skip_on
        self.idempotency_key = idempotency_key
        self.output_path = output_path
        self.max_records = max_records

    def _noted(self, name: str, value: Any) -> Any:
        """Remember that an argument was given. A mapped task gets ``None`` where its row holds nothing."""
        if value is NOT_GIVEN:
            return None
        self._given.add(name)
        return value

    def execute(self, context: Any) -> Any:
        """Make the call: typed, checked, called, answered, verified, XCom."""
        with failing_in_airflow_terms(self, skip_on=self.skip_on):
            return self._called(context)

    def _called(self, context: Any) -> Any:
        from airflow_provider_truto.hooks.truto import TrutoHook
        from airflow_provider_truto.updates.way import Typing, record_way

        arguments = self._typed_arguments()
        conn_id = arguments.value.get("truto_conn_id")
        if not (conn_id and isinstance(conn_id, str)):
            nameless = Problem("/truto_conn_id", f"expects the name of a connection, got {conn_id!r}")
            raise TrutoSchemaError.of(f"task {self.task_id!r} names no connection", arguments.problems or [nameless])
        hook = TrutoHook(conn_id)
        request, problems = self._request(arguments)
        care = self._care(arguments.value)
        output_path = arguments.value.get("output_path")
        if request.method == "list":
            return self._listed(context, hook, request, problems, care, output_path)
        way = record_way(
            request,
            typing=Typing(on_none=self.on_none, hint=_BODY_HINT),
            earlier=problems,
            care=care,
            task=task_identity(context),
        )
        done: Done = hook.do(way, suffixes=task_suffixes(context))
        return self._finished(context, done, output_path, hide_values=hook.connection.settings.hide_values)

    def _typed_arguments(self) -> Typed:
        """Type the rendered arguments: ids become text, what is JSON text becomes an object or a list."""
        from airflow_provider_truto.updates.typed import typed

        properties: dict[str, Any] = {
            name: {"type": "string"}
            for name in ("model", "resource", "method", "response_format", *self.template_fields)
            if name not in {"body", "body_file"}
        }
        properties |= {name: {"type": "array", "items": {"type": "string"}} for name in _NAMES}
        properties |= {name: {"type": "object"} for name in _OBJECTS}
        return typed({name: getattr(self, name) for name in properties}, {"properties": properties})

    def _request(self, arguments: Typed) -> tuple[RecordRequest, list[Problem]]:
        given = arguments.value
        problems = list(arguments.problems)
        account = given.get("integrated_account_id")
        if account is None and "integrated_account_id" in self._given:
            account = ""  # given, and nothing came of it: the connection's default must not step in
        told = {problem.pointer for problem in problems}
        problems += [
            Problem(f"/{name}", "was given and is None: leave it out where nothing is meant")
            for name in _NEVER_NONE
            if name in self._given and given.get(name) is None and f"/{name}" not in told
        ]
        if given.get("response_format") == "stream" and not given.get("output_path"):
            problems.append(Problem("/output_path", "is needed for response_format 'stream'"))
        request = RecordRequest(
            model=given.get("model"),
            resource=given.get("resource") or "",
            method=given.get("method") or "",
            record_id=given.get(self.id_name),
            id_name=self.id_name,
            needs_id=self.needs_id,
            body=self.body,
            query=given.get("query"),
            integrated_account_id=account,
            tenant_id=given.get("tenant_id"),
            integration=given.get("integration"),
            response_format=given.get("response_format") or "",
            ignore_remote_data=self.ignore_remote_data,
            exclude_fields=given.get("exclude_fields"),
            remote_query=given.get("remote_query"),
            schema=schema_beside_dag(self, self.schema),
            extra_fields=given.get("extra_fields"),
            allow_empty=self.allow_empty,
            idempotency_key=given.get("idempotency_key"),
        )
        return request, problems

    def _care(self, given: Mapping[str, Any]) -> Care:
        from airflow_provider_truto.updates.way import Care

        return Care(
            preflight=self.preflight,
            expected_tenant_id=given.get("expected_tenant_id"),
            check_custom_fields=self.check_custom_fields,
            preview=self.preview,
            expect=given.get("expect"),
            skip_unchanged=self.skip_unchanged,
        )

    def _finished(self, context: Any, done: Done, output_path: str | None, *, hide_values: bool) -> Any:
        from airflow_provider_truto.updates.verified import Verification, doubts, verified

        verification = verified(done.request, done.response) if done.outcome else Verification()
        value, stored = self._stored(done, output_path)
        outcome = done.outcome
        self._push(
            context,
            {
                "status": outcome.answer.status if outcome else None,
                "attempts": outcome.attempts if outcome else 0,
                "waited_seconds": round(outcome.waited, 3) if outcome else 0.0,
                "paced_seconds": round(outcome.paced, 3) if outcome else 0.0,
                "idempotency_key": outcome.call.idempotency_key if outcome else None,
                "integrated_account_id": done.request.integrated_account_id,
                "verification": verification.as_dict(),
                **({"preview": self._shown(done.preview, hide_values=hide_values)} if done.preview else {}),
                **({"unchanged": list(done.unchanged)} if self.skip_unchanged else {}),
                **stored,
            },
        )
        self._tell(done)
        if self.verify is not None:
            self._judge(done, verification, doubts(done.request, done.response, verification))
        return value

    def _shown(self, preview: Preview, *, hide_values: bool) -> dict[str, Any]:
        """Give a preview for XCom: without its values where these are too large, or are to be hidden."""
        shown = preview.as_dict(hide_values=hide_values)
        if json_size(shown) > XCOM_LIMIT:
            self.log.warning("The preview is too large for XCom: it goes there without the values")
            shown = preview.as_dict(hide_values=True)
        return cast("dict[str, Any]", storable(shown))

    def _stored(self, done: Done, output_path: str | None) -> tuple[Any, dict[str, Any]]:
        """Give what goes to XCom as the response, and where a file holds it instead."""
        record_id = done.request.record_id
        of_record = {} if record_id is None else {"id": record_id}
        if output_path is not None and done.outcome is not None and done.outcome.answer.stream is not None:
            size = write_whole(output_path, done.outcome.answer.stream)
            return {**of_record, "path": output_path}, {"path": output_path, "bytes": size}
        if isinstance(done.response, bytes) and (len(done.response) > XCOM_LIMIT or not is_text(done.response)):
            return self._stored_bytes(done.response, of_record, output_path)
        value = xcom_value(done.response, record_id, without_remote_data=self.ignore_remote_data)
        size = json_size(value)
        if size <= XCOM_LIMIT:
            return storable(value), {}
        if output_path is not None:
            write_whole(output_path, [json_bytes(value)])
            return {"id": value.get("id"), "path": output_path}, {"path": output_path, "bytes": size}
        self.log.warning(
            "The answer has %d bytes, more than the %d that go to XCom: only a summary does. Set output_path, or"
            " name fields to leave out in exclude_fields.",
            size,
            XCOM_LIMIT,
        )
        return summary(value, size=size), {"bytes": size}

    def _stored_bytes(
        self, content: bytes, of_record: dict[str, Any], output_path: str | None
    ) -> tuple[Any, dict[str, Any]]:
        """Put an answer that is no JSON, and too large or no text, into the file as it is."""
        size = len(content)
        if output_path is not None:
            write_whole(output_path, [content])
            return {**of_record, "path": output_path}, {"path": output_path, "bytes": size}
        self.log.warning(
            "The answer is %d bytes that XCom does not take: only a summary goes there. Set output_path.", size
        )
        return summary(of_record, size=size), {"bytes": size}

    def _listed(
        self,
        context: Any,
        hook: TrutoHook,
        request: RecordRequest,
        problems: Iterable[Problem],
        care: Care,
        output_path: str | None,
    ) -> Any:
        """Read a list page by page: to XCom up to a limit, or as JSON Lines to a file."""
        from airflow_provider_truto.updates.way import list_way

        listing = hook.listing(list_way(request, earlier=list(problems), care=care))
        lines = self._lines(listing)
        stored: dict[str, Any] = {}
        value: Any
        if output_path is not None:
            size = write_whole(output_path, lines)
            stored = {"path": output_path, "bytes": size}
            value = {"count": listing.count, "path": output_path, "cursor": listing.cursor}
        else:
            value = listed_value(lines)
        state = {
            "count": listing.count,
            "cursor": listing.cursor,
            "is_partial_response": listing.is_partial_response,
            "ended_early": listing.ended_early,
        }
        self._push(context, {**state, **stored})
        self.log.info(
            "%s: %d records%s", request, listing.count, "" if listing.cursor is None else ", and more after that"
        )
        return value

    def _lines(self, listing: Listing) -> Iterator[bytes]:
        for page in listing.pages():
            for record in page.items:
                shown = xcom_value(record, None, without_remote_data=True) if self.ignore_remote_data else record
                yield json_bytes(shown) + b"\n"
            if self.max_records is not None and listing.count >= self.max_records:
                return

    def _tell(self, done: Done) -> None:
        if done.outcome is not None or done.preview is None:
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

    def _judge(self, done: Done, verification: Verification, doubts: str) -> None:
        if verification.changed:
            self.log.info("%s: the CRM took in its own form: %s", done.request, ", ".join(verification.changed))
        if verification.unverifiable:
            self.log.info("%s: the answer cannot confirm: %s", done.request, ", ".join(verification.unverifiable))
        if not doubts:
            return
        if self.verify == "fail":
            happened = "" if done.request.is_read or done.outcome is None else " The write HAS happened;"
            raise AirflowFailException(f"{doubts}{happened} verify='fail' fails the task for it.")
        self.log.warning(doubts)

    @staticmethod
    def _push(context: Mapping[str, Any], value: dict[str, Any]) -> None:
        if ti := context.get("ti"):
            ti.xcom_push(key=XCOM_KEY, value=value)


def schema_beside_dag(operator: Any, schema: SchemaSource) -> SchemaSource:
    """Look for a relative schema path beside the DAG file first: a worker's current folder means nothing."""
    is_path = isinstance(schema, (str, PathLike)) and schema not in {PACKAGED, LIVE}
    if is_path and operator.has_dag():
        beside = Path(operator.dag.folder) / str(schema)
        return beside if beside.exists() else schema
    return schema
