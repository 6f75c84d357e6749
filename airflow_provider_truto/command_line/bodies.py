"""Commands about bodies: which fields there are, and whether a file would be sent as it is."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from airflow_provider_truto.client.errors import Problem, TrutoSchemaError
from airflow_provider_truto.command_line.files import list_given_files, read_json
from airflow_provider_truto.command_line.output import Output, draw_table
from airflow_provider_truto.records.coerce import CoercionOptions
from airflow_provider_truto.records.pipeline import coerce_body
from airflow_provider_truto.records.request import PACKAGED, RecordRequest
from airflow_provider_truto.records.validate import explain_unknown_field, load_body_schema, validate
from airflow_provider_truto.schemas.packaged import load_packaged_schema
from airflow_provider_truto.schemas.truto_schema import convert_schema

#: Rows with problems that are told.
_MOST_ROWS = 100
#: Stands for the customer and the record where a file names none: they come from the task then.
_SOME_ACCOUNT = "00000000-0000-4000-8000-000000000000"
_SOME_RECORD = "1"


def show_schema(given: Namespace) -> Output:
    """Show the fields of a body."""
    model, resource, method = _split_operation(given.operation)
    if given.account is not None or given.integration is not None:
        from airflow_provider_truto.command_line.connections import find_account, open_hook

        hook = open_hook(given.conn_id)
        customer = {
            "integration": given.integration,
            "integrated_account_id": find_account(hook, given.account),
        }
        meta = hook.method_schema(model, resource, method, **customer)
        told = meta.get("request_body_schema")
        schema = dict(convert_schema(told).schema) if isinstance(told, Mapping) else None
    else:
        packaged = load_packaged_schema(given.operation, "request")
        schema = dict(packaged.source) if packaged else None
    if schema is None:
        return Output(value=None, lines=[f"there is no schema for the body of {given.operation}"], is_good=False)
    fields = list(_iterate_fields(schema))
    return Output(value=schema, lines=draw_table(fields, ("field", "type", "about")))


def _split_operation(operation: str) -> tuple[str, str, str]:
    model, _, rest = operation.partition(".")
    resource, _, method = rest.rpartition(".")
    if not (model and resource and method):
        raise TrutoSchemaError(f"--operation: expects MODEL.RESOURCE.METHOD, got {operation!r}", [])
    return model, resource, method


def _iterate_fields(schema: Mapping[str, Any], prefix: str = "") -> Iterator[dict[str, Any]]:
    for name, field in (schema.get("properties") or {}).items():
        if not isinstance(field, Mapping):
            continue
        items = field.get("items")
        inner: Mapping[str, Any] = items if isinstance(items, Mapping) else field
        kind = field.get("type", "any")
        yield {
            "field": f"{prefix}{name}",
            "type": " or ".join(kind) if isinstance(kind, list) else kind,
            "about": " ".join(filter(None, [field.get("format"), field.get("description")])),
        }
        step = "[]." if inner is not field else "."
        yield from _iterate_fields(inner, f"{prefix}{name}{step}")


def validate_file(given: Namespace) -> Output:
    """Check a body or the records of a bulk."""
    checked = 0
    wrong: list[dict[str, Any]] = []
    for row, problems in _check_rows(given):
        checked += 1
        if problems:
            told = [{"pointer": problem.pointer, "message": problem.message} for problem in problems]
            wrong.append({"row": row, "problems": told})
            if len(wrong) == _MOST_ROWS:
                break
    lines = [
        f"{one['row']}\n" + "\n".join(f"  {problem['pointer']}: {problem['message']}" for problem in one["problems"])
        for one in wrong
    ]
    if len(wrong) == _MOST_ROWS:
        lines.append(f"{_MOST_ROWS} with problems among the first {checked}: the rest was not checked")
    else:
        lines.append(f"{checked} checked, {len(wrong)} with problems")
    value = {"checked": checked, "is_whole": len(wrong) < _MOST_ROWS, "rows": wrong}
    return Output(value=value, lines=lines, is_good=not wrong)


def _check_rows(given: Namespace) -> Iterator[tuple[str, list[Problem]]]:
    from airflow_provider_truto.bulk.record_parser import RecordParser
    from airflow_provider_truto.bulk.sources.files import FileSource

    model, resource, method = _split_operation(given.operation)
    request = RecordRequest(
        model=model,
        resource=resource,
        method=method,
        schema=PACKAGED if given.schema is None else Path(given.schema),
        extra_fields=given.extra_field,
        integrated_account_id=_SOME_ACCOUNT,
        record_id=None if method == "create" else _SOME_RECORD,
        needs_id=method != "create",
    )
    load_body_schema(request)  # one that cannot be read is not the file's fault
    FileSource(delimiter=given.delimiter)  # nor is this argument
    files = list_given_files(given.file)
    try:
        if len(files) == 1 and files[0].name.lower().endswith(".json"):
            body = read_json(files[0])
            yield str(given.file), _find_problems(request.replace(body=body))
            return
        parser = RecordParser(
            needs_id=method != "create",
            extra_fields=given.extra_field,
            explain_unknown=partial(explain_unknown_field, request),
        )
        source = FileSource(*files, parser=parser, delimiter=given.delimiter)
    except ValueError as error:  # such as a header: no row can be read
        yield str(given.file), [Problem("/", str(error).removeprefix(f"{files[0].name}: "))]
        return
    for record in source.records():
        if not record.is_sent:
            yield record.label, list(record.problems)
            continue
        named = {
            name: value
            for name, value in (("record_id", record.id), ("integrated_account_id", record.integrated_account_id))
            if value
        }
        data_of = None if record.nulls_are_meant else "the record"
        yield record.label, _find_problems(request.replace(body=record.body, **named), data_of=data_of)


def _find_problems(request: RecordRequest, *, data_of: str | None = None) -> list[Problem]:
    """Type a body as an operator does, and check it."""
    request, untyped = coerce_body(request, CoercionOptions(data_of=data_of), hide_values=False)
    try:
        validate(request, earlier=untyped, is_typed=True)
    except TrutoSchemaError as error:
        return list(error.problems)
    return []
