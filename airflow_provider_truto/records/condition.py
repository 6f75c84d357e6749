"""Whether a record is what a DAG author waits for: field equalities, an expression, a function.

All of it is the author's. What runs as code stands in the DAG file or in a module; data is compared, or handed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.client.names import find_nearest
from airflow_provider_truto.client.redaction import quote_line
from airflow_provider_truto.client.times import read_time
from airflow_provider_truto.records.diff import iterate_differences
from airflow_provider_truto.records.functions import import_function
from airflow_provider_truto.records.render import Missing, compile_template
from airflow_provider_truto.schemas.pointers import extend_pointer, resolve_pointer

#: What an expression may name.
NAMES = frozenset({"record", "values"})


class ConditionError(TrutoError):
    """A condition that cannot be judged, now or later: its function cannot be imported, or it raises."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """All that is given must hold; where nothing is, every record does. Raises ``ConditionError``.

    ``fields`` are values by the names of top-level fields, or by JSON pointers; an object is compared by the keys
    that it has here, and ``records.diff`` says what means the same. ``expression`` is one of Jinja's over ``record``
    and ``values``. ``function`` is the dotted name of one that takes the record, and ``values`` as keyword arguments.
    """

    fields: Mapping[str, Any] | None = None
    expression: str | None = None
    function: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            if self.expression is not None:
                compile_expression(self.expression)
            if self.function is not None:
                import_function(self.function, argument="function")
        except ValueError as error:
            raise ConditionError(str(error)) from error

    def explain_unmet(self, record: Mapping[str, Any]) -> str:
        """Return in words what does not hold yet, ``""`` where all does. Values of the record are not shown."""
        differing = list(self._list_differing(record))
        if differing:
            return f"the record differs at {', '.join(differing)}"
        if self.expression is not None and (unmet := self._explain_expression(self.expression, record)):
            return unmet
        if self.function is not None and not self._call(self.function, record):
            return f"{self.function} returned False"
        return ""

    def _list_differing(self, record: Mapping[str, Any]) -> Iterator[str]:
        for name, value in (self.fields or {}).items():
            at = name if name.startswith("/") else extend_pointer("", name)
            for difference in iterate_differences(value, resolve_pointer(record, at), at):
                top = at.split("/")[1]
                near = None if top in record else find_nearest(top, record)
                yield f"{difference.pointer} (did you mean {near}?)" if near else difference.pointer

    def _explain_expression(self, expression: str, record: Mapping[str, Any]) -> str:
        try:
            result = compile_expression(expression)({"record": record, "values": self.values})
        except TypeError as error:  # null where a number is compared, most likely
            return f"condition: {expression!r} cannot be told of this record: {error}"
        except Exception as error:
            raise ConditionError(f"condition: {expression!r} raised {_describe(error)}") from error
        if isinstance(result, Missing):
            return f"condition: {result.reason}"
        if not isinstance(result, bool):
            raise ConditionError(
                f"condition: {expression!r} must be true or false, and is of type {type(result).__name__}: compare it"
            )
        return "" if result else f"the condition {expression!r} is false"

    def _call(self, name: str, record: Mapping[str, Any]) -> bool:
        function = import_function(name, argument="function")
        try:
            result = function(record, **self.values)
        except Exception as error:  # the author's code, on data of any kind
            raise ConditionError(f"function: {name} raised {_describe(error)}") from error
        if not isinstance(result, bool):
            raise ConditionError(f"function: {name} must return True or False, and returned {type(result).__name__}")
        return result


@lru_cache(maxsize=64)  # it is asked again and again
def compile_expression(text: str) -> Callable[[dict[str, Any]], Any]:
    """Compile an expression of the author's, for contexts of ``NAMES``. Raises ``ValueError`` where it is not one.

    It runs in Jinja's sandbox, which changes nothing, and knows neither Airflow's context nor Jinja's globals.
    """
    if text.lstrip().startswith("{{"):
        raise ValueError("condition: is an expression by itself, without braces: record.name == 'Acme'")
    environment = ImmutableSandboxedEnvironment()
    environment.globals.clear()
    environment.filters["as_datetime"] = _read_time
    source = f"{{{{ {text} }}}}"
    try:
        tree = environment.parse(source)
        if not _is_expression(tree):
            raise ValueError("condition: expects one expression, such as record.name == 'Acme'")
        if unknown := sorted(meta.find_undeclared_variables(tree) - NAMES):
            raise ValueError(f"condition: knows record and values, and not {', '.join(unknown)}")
        return compile_template(source, environment)
    except TemplateSyntaxError as error:  # also of a filter that does not exist
        raise ValueError(f"condition: {error}") from None


def _is_expression(tree: nodes.Template) -> bool:
    parts = [part for output in tree.body for part in (output.nodes if isinstance(output, nodes.Output) else [None])]
    return len(parts) == 1 and isinstance(parts[0], nodes.Expr) and not isinstance(parts[0], nodes.TemplateData)


def _read_time(value: Any) -> datetime:
    """Read a time as Truto and CRMs write it; one without a zone is UTC. A filter of expressions."""
    found = read_time(value)
    if found is None:
        raise TypeError(f"as_datetime expects a time, got {type(value).__name__}")
    return found


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {quote_line(str(error), most=300)}"
