"""Turning source rows of any shape into records, as the DAG author says: by templates, or by a function of theirs.

A row must become the same record each time it is read: the record's idempotency key depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from copy import copy
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes

from airflow_provider_truto.bulk.record import (
    RECORD_KEYS,
    Record,
    make_left_out,
    make_unreadable,
    parse_mapped_record,
    parse_record,
)
from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.client.names import CUSTOMER_ARGUMENTS, find_customer_name
from airflow_provider_truto.records.render import compile_template
from airflow_provider_truto.records.scalars import to_plain_text

#: What a row is called in templates.
ROW = "row"
LEFT_OUT = "left out by the mapping"
_UNUSED = (
    "names a customer, and the mapping does not use it: every row would go to the default customer. Have it name an"
    " integrated_account_id or a tenant_id, or leave the column out"
)
#: Filters and tests that say what to do where there is no such column.
_FORGIVING = frozenset({"default", "d", "defined", "undefined"})

#: Makes a value for a row's context; what goes wrong is appended to the problems.
_Render = Callable[[MutableMapping[str, Any], list[Problem]], Any]


class TemplateMapping:
    """``{"id", "integrated_account_id"?, "body"}``, whose texts are templates of ``row``; ``body`` may be nested.

    ``env`` and ``context`` are Airflow's, so that ``params`` and macros are there as well. A lone expression keeps
    its type. What a template makes of nothing is decided by ``on_none``; a ``None`` that is written here clears a
    field. A name that does not exist, as of a key that a row does not have, is a problem of that row.
    Raises ``ValueError`` where the templates cannot make a record.
    """

    def __init__(
        self,
        templates: Mapping[str, Any],
        *,
        env: Environment,
        context: MutableMapping[str, Any],
        needs_id: bool = True,
        needs_body: bool = True,
        hide_values: bool = False,
    ) -> None:
        if unknown := sorted(set(templates) - set(RECORD_KEYS)):
            raise ValueError(f"mapping: {', '.join(unknown)} means nothing: a record has {', '.join(RECORD_KEYS)}")
        for key, is_needed in (("id", needs_id), ("body", needs_body)):
            if is_needed and key not in templates:
                raise ValueError(f"mapping: names no {key}: a record has {', '.join(RECORD_KEYS)}")
        self._context = context
        self._needs = {"needs_id": needs_id, "needs_body": needs_body}
        self._columns: set[str] = set()
        self._names_customer = not templates.keys().isdisjoint(CUSTOMER_ARGUMENTS)
        self._hide_values = hide_values
        self._render = self._prepare(dict(templates), env, "")

    def parse(self, row: Any, ordinal: int) -> Record:
        """Make the record of a row; a template that raises is a problem of this row."""
        if isinstance(row, Mapping) and (unused := self._find_unused_customer(row)):
            return make_unreadable(ordinal, Problem(f"/{unused}", _UNUSED))
        problems: list[Problem] = []
        context = copy(self._context)
        context[ROW] = row
        made = self._render(context, problems)
        if problems:
            return make_unreadable(ordinal, *problems)
        return parse_mapped_record(made, ordinal, **self._needs)

    def check_columns(self, names: Sequence[str]) -> None:
        """Raise ``ValueError`` where a template names another column: with ``on_none="omit"`` nobody would notice.

        Also where a column names the customer, and no template.
        """
        if unknown := sorted(self._columns - set(names)):
            raise ValueError(f"the mapping names {', '.join(unknown)}; the columns are {', '.join(names)}")
        if unused := self._find_unused_customer(names):
            raise ValueError(f"the column {unused!r} {_UNUSED}")

    def _find_unused_customer(self, names: Iterable[Any]) -> str | None:
        """Return a column that chooses a customer, where the mapping chooses none and does not read it."""
        found = None if self._names_customer else _find_customer_column(names)
        return None if found in self._columns else found

    def _prepare(self, content: Any, env: Environment, at: str) -> _Render:
        if isinstance(content, str):
            return self._prepare_text(content, env, at)
        if isinstance(content, Mapping):
            named = {to_plain_text(key) if isinstance(key, str) else key: item for key, item in content.items()}
            members = {key: self._prepare(item, env, f"{at}/{key}") for key, item in named.items()}
            return lambda context, problems: {key: make(context, problems) for key, make in members.items()}
        if isinstance(content, (list, tuple)):
            items = [self._prepare(item, env, f"{at}/{number}") for number, item in enumerate(content)]
            return lambda context, problems: [make(context, problems) for make in items]
        return lambda _context, _problems: content

    def _prepare_text(self, text: str, env: Environment, at: str) -> _Render:
        try:
            self._columns.update(_find_columns(env.parse(text)))
            render = compile_template(text, env)
        except TemplateSyntaxError as error:
            raise ValueError(f"mapping: {at}: {error}") from None

        def make(context: MutableMapping[str, Any], problems: list[Problem]) -> Any:
            try:
                return render(context)
            except Exception as error:  # the author's code, on data of any kind
                problems.append(Problem(at, _describe(error, hide_values=self._hide_values)))
                return None

        return make


class FunctionMapping:
    """A function of the DAG author: it takes a row and returns ``{"id", "integrated_account_id"?, "body"}``.

    Where it returns ``None``, the row asks for nothing. ``None`` inside the body came from data as far as one can
    know: ``on_none`` decides.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        needs_id: bool = True,
        needs_body: bool = True,
        hide_values: bool = False,
    ) -> None:
        self._function = function
        self._needs = {"needs_id": needs_id, "needs_body": needs_body}
        self._hide_values = hide_values

    def parse(self, row: Any, ordinal: int) -> Record:
        """Make the record of a row; a function that raises is a problem of this row."""
        try:
            made = self._function(dict(row) if isinstance(row, Mapping) else row)
        except Exception as error:  # the author's code, on data of any kind
            return make_unreadable(ordinal, Problem("/", _describe(error, hide_values=self._hide_values)))
        if made is None:
            return make_left_out(ordinal, LEFT_OUT)
        names_none = isinstance(made, Mapping) and made.keys().isdisjoint(CUSTOMER_ARGUMENTS)
        if names_none and isinstance(row, Mapping) and (unused := _find_customer_column(row)):
            return make_unreadable(ordinal, Problem(f"/{unused}", _UNUSED))
        return parse_record(made, ordinal, **self._needs)

    def check_columns(self, names: Sequence[str]) -> None:
        """Know nothing of what the function reads."""


def _find_customer_column(names: Iterable[Any]) -> str | None:
    return next((name for name in names if isinstance(name, str) and find_customer_name(name)), None)


def _describe(error: Exception, *, hide_values: bool) -> str:
    return f"the mapping raised {type(error).__name__}{'' if hide_values else f': {error}'}"


def _find_columns(template: nodes.Template) -> Iterator[str]:
    """Find ``row.name`` and ``row["name"]``, but for those that are asked for with a default."""
    asked: list[Any] = [*template.find_all(nodes.Filter), *template.find_all(nodes.Test)]
    forgiven = {id(node.node) for node in asked if node.name in _FORGIVING}
    read: list[Any] = [*template.find_all(nodes.Getattr), *template.find_all(nodes.Getitem)]
    for node in read:
        if id(node) in forgiven or not (isinstance(node.node, nodes.Name) and node.node.name == ROW):
            continue
        if isinstance(node, nodes.Getattr) and not hasattr(dict, node.attr):
            yield node.attr
        elif (
            isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str)
        ):
            yield node.arg.value
