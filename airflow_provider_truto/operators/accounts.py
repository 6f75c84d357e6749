"""Operators for the accounts (companies) of customers' CRMs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from airflow_provider_truto._compat import AirflowFailException, BaseOperator
from airflow_provider_truto.client.errors import Problem, TrutoError, TrutoSchemaError
from airflow_provider_truto.hooks.truto import TrutoHook, Updated
from airflow_provider_truto.operators._files import write_whole
from airflow_provider_truto.operators._rendering import TypedRenderingMixin
from airflow_provider_truto.operators._task import airflow_error, codes_of_errors, task_identity, task_suffixes
from airflow_provider_truto.updates.checked import PACKAGED, AccountUpdate, SchemaSource, body_schema
from airflow_provider_truto.updates.typed import OnNone, Typed, typed
from airflow_provider_truto.updates.verified import Verification, verified
from airflow_provider_truto.updates.xcom import XCOM_LIMIT, json_size, summary, xcom_value

Verify = Literal["warn", "fail"] | None
#: The key under which everything but the response goes to XCom.
XCOM_KEY = "truto"

#: How rendered arguments are typed: ids become text, what is JSON text becomes an object or a list.
_ARGUMENTS: dict[str, Any] = {
    "properties": {
        "truto_conn_id": {"type": "string"},
        "account_id": {"type": "string"},
        "integrated_account_id": {"type": "string"},
        "response_format": {"type": "string"},
        "idempotency_key": {"type": "string"},
        "output_path": {"type": "string"},
        "exclude_fields": {"type": "array", "items": {"type": "string"}},
        "extra_fields": {"type": "array", "items": {"type": "string"}},
    }
}


class _NotGiven:
    """Tells an argument that was left out from one that was given as ``None``."""

    def __repr__(self) -> str:
        return "<not given>"


_NOT_GIVEN: Any = _NotGiven()


class TrutoUpdateAccountOperator(TypedRenderingMixin, BaseOperator):
    """Update one account of one customer's CRM: ``PATCH /unified/crm/accounts/{account_id}``.

    The body is rendered with its types kept, typed, checked before anything is sent, sent once however often
    the task is retried, and compared with the answer. A cleared task writes again.

    :param account_id: the account's id in the customer's CRM. (templated)
    :param body: the fields to change, as a dict, JSON text or the output of another task. (templated)
    :param body_file: instead of ``body``, a JSON file found like a template; its strings are rendered.
    :param integrated_account_id: the customer's integrated account (a UUID); left out, the connection's default.
        One that is given and renders to nothing is an error. (templated)
    :param truto_conn_id: the Airflow connection. (templated)
    :param response_format: ``unified``, ``raw``, ``normalized`` or ``stream``; the last needs ``output_path``.
        (templated)
    :param ignore_remote_data: leave the CRM's own record out of the answer.
    :param exclude_fields: fields to leave out of the answer. (templated)
    :param remote_query: parameters that go to the CRM as they are. (templated)
    :param schema: a JSON Schema (draft 2020-12) or the path of one, absolute or beside the DAG file, instead of
        this package's; ``None`` checks no body. Never rendered.
    :param extra_fields: names or JSON pointers of fields that the schema does not know and that are meant.
        (templated)
    :param on_none: what a template that gives ``None`` means: ``"error"``, ``"omit"`` the field, or send
        ``"null"``. A ``None`` that is written in the DAG file is always sent as null, which clears the field.
    :param allow_empty: let ``[]`` and ``{}`` through; they may wipe a list in the CRM.
    :param verify: what to do with fields that the answer does not confirm: ``"warn"``, ``"fail"`` (the write has
        happened then), or ``None``.
    :param skip_on: names of errors that skip the task instead of failing it, such as ``("not_found",)``.
    :param idempotency_key: a key of your own. Truto executes a key once an account and path, also after a
        clear. (templated)
    :param output_path: an ``ObjectStoragePath`` for a streamed answer, or one too large for XCom. (templated)

    XCom: ``return_value`` is the response, always with ``id``; status, attempts, verification and paths are
    under ``truto``.
    """

    template_fields: Sequence[str] = (
        "truto_conn_id",
        "account_id",
        "integrated_account_id",
        "body",
        "body_file",
        "response_format",
        "exclude_fields",
        "remote_query",
        "extra_fields",
        "idempotency_key",
        "output_path",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"body": "json", "remote_query": "json"}
    ui_color = "#e3f2ee"

    def __init__(
        self,
        *,
        account_id: str,
        body: Mapping[str, Any] | str = _NOT_GIVEN,
        body_file: str | None = None,
        integrated_account_id: str = _NOT_GIVEN,
        truto_conn_id: str = TrutoHook.default_conn_name,
        response_format: str = "unified",
        ignore_remote_data: bool = True,
        exclude_fields: Sequence[str] | None = None,
        remote_query: Mapping[str, Any] | None = None,
        schema: SchemaSource = PACKAGED,
        extra_fields: Sequence[str] | None = None,
        on_none: OnNone = "error",
        allow_empty: bool = False,
        verify: Verify = "warn",
        skip_on: Sequence[str] = (),
        idempotency_key: str | None = None,
        output_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (body is _NOT_GIVEN) == (body_file is None):
            raise ValueError("give either body or body_file")
        if on_none not in get_args(OnNone):
            raise ValueError(f"on_none: expects one of {', '.join(get_args(OnNone))}, got {on_none!r}")
        if verify not in {"warn", "fail", None}:
            raise ValueError(f"verify: expects 'warn', 'fail' or None, got {verify!r}")
        if isinstance(skip_on, str) or (unknown := set(skip_on) - set(codes_of_errors())):
            given = skip_on if isinstance(skip_on, str) else ", ".join(sorted(unknown))
            raise ValueError(f"skip_on: expects a list out of {', '.join(sorted(codes_of_errors()))}, got {given}")
        self.account_id = account_id
        self.body = None if body is _NOT_GIVEN else body
        self.body_file = body_file
        self.integrated_account_id = None if integrated_account_id is _NOT_GIVEN else integrated_account_id
        self._uses_default_account = integrated_account_id is _NOT_GIVEN
        self.truto_conn_id = truto_conn_id
        self.response_format = response_format
        self.ignore_remote_data = ignore_remote_data
        self.exclude_fields = exclude_fields
        self.remote_query = remote_query
        self.schema = schema
        self.extra_fields = extra_fields
        self.on_none = on_none
        self.allow_empty = allow_empty
        self.verify = verify
        self.skip_on = skip_on
        self.idempotency_key = idempotency_key
        self.output_path = output_path

    def execute(self, context: Any) -> dict[str, Any]:
        """Walk one record's way: typed, checked, called, answered, verified, XCom."""
        try:
            return self._updated(context)
        except TrutoError as error:
            has_policy = getattr(self, "retry_policy", None) is not None
            failure = airflow_error(error, skip_on=self.skip_on, has_retry_policy=has_policy)
            if failure is error:
                raise
            raise failure from error

    def _updated(self, context: Any) -> dict[str, Any]:
        arguments = typed({name: getattr(self, name) for name in _ARGUMENTS["properties"]}, _ARGUMENTS)
        conn_id = arguments.value.get("truto_conn_id")
        if not (conn_id and isinstance(conn_id, str)):
            nameless = Problem("/truto_conn_id", f"expects the name of a connection, got {conn_id!r}")
            raise TrutoSchemaError.of(f"task {self.task_id!r} names no connection", arguments.problems or [nameless])
        hook = TrutoHook(conn_id)
        update, problems = self._typed_update(arguments, hide_values=hook.connection.settings.hide_values)
        done = hook.run_update(update, earlier=problems, task=task_identity(context), suffixes=task_suffixes(context))
        verification = verified(done.update, done.response)
        value, stored = self._stored(done, arguments.value.get("output_path"))
        self._push(
            context,
            {
                "status": done.outcome.answer.status,
                "attempts": done.outcome.attempts,
                "waited_seconds": round(done.outcome.waited, 3),
                "idempotency_key": done.outcome.call.idempotency_key,
                "integrated_account_id": done.update.integrated_account_id,
                "verification": verification.as_dict(),
                **stored,
            },
        )
        if self.verify is not None:
            self._judge(update.account_id, verification)
        return value

    def _typed_update(self, arguments: Typed, *, hide_values: bool) -> tuple[AccountUpdate, list[Problem]]:
        given = arguments.value
        problems = list(arguments.problems)
        schema = body_schema(self._schema_source())
        body = typed(
            self.body,
            schema.source if schema else {"type": "object"},
            on_none=self.on_none,
            hint="; set on_none='omit' to leave such fields out, on_none='null' to clear them",
            hide_values=hide_values,
        )
        query = typed(self.remote_query, {"type": "object"}, on_none=self.on_none, hide_values=hide_values)
        problems += [Problem(f"/body{pointer}".rstrip("/"), message) for pointer, message in body.problems]
        problems += [Problem(f"/remote_query{pointer}".rstrip("/"), message) for pointer, message in query.problems]
        account = given.get("integrated_account_id")
        if account is None and not self._uses_default_account:
            account = ""  # given, and nothing came of it: the connection's default must not step in
        if given.get("response_format") == "stream" and not given.get("output_path"):
            problems.append(Problem("/output_path", "is needed for response_format 'stream'"))
        update = AccountUpdate(
            account_id=given.get("account_id", ""),
            body=body.value,
            integrated_account_id=account,
            response_format=given.get("response_format", ""),
            ignore_remote_data=self.ignore_remote_data,
            exclude_fields=given.get("exclude_fields"),
            remote_query=query.value,
            schema=self._schema_source(),
            extra_fields=given.get("extra_fields"),
            allow_null=body.nulls,
            allow_empty=self.allow_empty,
            idempotency_key=given.get("idempotency_key"),
        )
        return update, problems

    def _schema_source(self) -> SchemaSource:
        """Look for a relative schema path beside the DAG file first: a worker's current folder means nothing."""
        if isinstance(self.schema, (str, PathLike)) and self.schema != PACKAGED and self.has_dag():
            beside = Path(self.dag.folder) / self.schema
            return beside if beside.exists() else self.schema
        return self.schema

    def _stored(self, done: Updated, output_path: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give what goes to XCom as the response, and where a file holds it instead."""
        account_id = done.update.account_id
        if output_path is not None and done.outcome.answer.stream is not None:
            size = write_whole(output_path, done.outcome.answer.stream)
            return {"id": account_id, "path": output_path}, {"path": output_path, "bytes": size}
        value = xcom_value(done.response, account_id, without_remote_data=self.ignore_remote_data)
        size = json_size(value)
        if size <= XCOM_LIMIT:
            return value, {}
        if output_path is not None:
            write_whole(output_path, [json.dumps(value, ensure_ascii=False).encode()])
            return {"id": value["id"], "path": output_path}, {"path": output_path, "bytes": size}
        self.log.warning(
            "The answer has %d bytes, more than the %d that go to XCom: only a summary does. Set output_path, or"
            " name fields to leave out in exclude_fields.",
            size,
            XCOM_LIMIT,
        )
        return summary(value, size=size), {"bytes": size}

    def _judge(self, account_id: str, verification: Verification) -> None:
        if verification.changed:
            self.log.info("Account %s: the CRM took in its own form: %s", account_id, ", ".join(verification.changed))
        if verification.unverifiable:
            self.log.info(
                "Account %s: the answer cannot confirm: %s", account_id, ", ".join(verification.unverifiable)
            )
        if verification.not_confirmed:
            message = (
                f"Account {account_id}: the write was answered with success, but the answer does not confirm"
                f" {', '.join(verification.not_confirmed)}. The integration may not map these fields, or the CRM"
                " kept its own values: look at the record, and at the fields that this CRM supports."
            )
            if self.verify == "fail":
                raise AirflowFailException(f"{message} The write HAS happened; verify='fail' fails the task for it.")
            self.log.warning(message)

    @staticmethod
    def _push(context: Mapping[str, Any], value: dict[str, Any]) -> None:
        if ti := context.get("ti"):
            ti.xcom_push(key=XCOM_KEY, value=value)
