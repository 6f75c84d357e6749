"""Rendering that keeps types: a lone ``{{ expression }}`` is evaluated, every other string becomes text.

Airflow's text rendering makes ``"None"`` out of ``None`` and its native rendering makes numbers out of phone
numbers. Here neither happens, in both modes: what comes of nothing is a ``Missing``, which a later step turns
into a problem, an omission or a null; what names something that does not exist is an ``Unknown``, always a problem.
Only the DAG author's text is rendered, never data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from copy import copy
from difflib import get_close_matches
from functools import partial, wraps
from typing import Any, cast

from jinja2 import Environment, StrictUndefined, Template, Undefined, UndefinedError, nodes
from jinja2.nativetypes import NativeEnvironment
from jinja2.runtime import Context
from jinja2.utils import missing

from airflow_provider_truto.records.scalars import NO_VALUE, is_nothing, to_plain_text, to_writable, unwrap_proxy

#: Names that Airflow's context has only in a run with a logical date; Airflow 3 has runs without one.
_OF_LOGICAL_DATE = frozenset(
    {
        "data_interval_end",
        "data_interval_start",
        "ds",
        "ds_nodash",
        "logical_date",
        "prev_data_interval_end_success",
        "prev_data_interval_start_success",
        "task_instance_key_str",
        "ts",
        "ts_nodash",
        "ts_nodash_with_tz",
    }
)
_NO_LOGICAL_DATE = (
    "a run without a logical date has none, such as one that was triggered by hand or by an asset; every run has"
    " run_id, dag_run.start_date and, in Airflow 3, dag_run.run_after"
)
_MAY_BE_ABSENT = "Where a value may be absent, write .get('name') of what should hold it, or {{ … | default(none) }}"
#: What a part of a text goes through, as a filter of Jinja's.
_PART = "written_as_a_part"


class Missing:
    """Stands where a value was expected and nothing came. Its ``repr`` is what Airflow shows as rendered."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()}: {self.reason}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Missing) and (type(self), self.reason) == (type(other), other.reason)

    def __hash__(self) -> int:
        return hash(self.reason)


class Unknown(Missing):
    """Stands where a template names something that does not exist: a mistake of its author, whatever ``on_none``."""

    __slots__ = ()


class _UnknownName(StrictUndefined):
    """Jinja's object for a name that does not exist; says which one, and which one may have been meant."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        name, holder = self._undefined_name, self._undefined_obj
        if self._undefined_hint:
            return self._undefined_hint
        if holder is missing and name in _OF_LOGICAL_DATE:
            return f"{name!r} is unknown: {_NO_LOGICAL_DATE}"
        if holder is None:
            return f"{name!r} is asked of None"
        names = [key for key in holder if isinstance(key, str)] if isinstance(holder, Mapping) else []
        near = get_close_matches(str(name), names, n=1)
        return f"{name!r} is unknown" + (f": did you mean {near[0]!r}?" if near else "")


class _NothingInTextError(Exception):
    """A part of a text is ``None``, or what numpy and pandas write for nothing: Jinja would write the word."""


def render(text: str, context: MutableMapping[str, Any], env: Environment) -> Any:
    """Render one string of the DAG author.

    Returns the value of a lone expression with its Python type, text for anything else, ``Missing`` where
    the outcome, or a part of the text, is ``None``, ``Unknown`` where a name does not exist, also where the DAG's
    ``template_undefined`` is lenient. Raises what the template's own code raises, and ``TemplateSyntaxError``.
    """
    return compile_template(text, env)(context)


def compile_template(text: str, env: Environment) -> Callable[[MutableMapping[str, Any]], Any]:
    """Prepare the rendering of one string for many contexts. Raises ``TemplateSyntaxError``."""
    text = to_plain_text(text)
    source = text.strip()
    env = _make_strict_environment(env)
    expression = _find_lone_expression(text, env)
    if expression is None:
        template = env.from_string(_parse(text, env))
        render: Callable[..., Any] = _render_text
    else:
        assignment = nodes.Assign(nodes.Name("result", "store", lineno=1), expression, lineno=1)
        template = env.from_string(nodes.Template([assignment], lineno=1))
        render = partial(_render_value, source=source)

    def render_in(context: MutableMapping[str, Any]) -> Any:
        try:
            return render(template, context)
        except _NothingInTextError as error:
            return Missing(f"{source}: a part of it is {error}")
        except UndefinedError as error:
            return _make_unknown(source, str(error))

    return render_in


def mark_missing(value: Any, *, source: str) -> Any:
    """Mark every ``None`` and NaN in a value that came from outside the DAG file, and make lazy sequences lists.

    A ``None`` that the author wrote clears a field; one that arrived as data may be an accident, so the two
    must not look alike. ``source`` says in the marker where it came from.
    """
    value = unwrap_proxy(value)
    if value is None:
        return Missing(f"{source} is None")
    if isinstance(value, _UnknownName):
        return _make_unknown(source, value._undefined_message)
    if isinstance(value, Undefined):  # of `{{ x if condition }}`, which has no else
        return Missing(f"{source} gives nothing, since its condition does not hold")
    if isinstance(value, str):
        return to_plain_text(value)  # a Markup of `| tojson` is text like any other
    if isinstance(value, Mapping):
        return {
            to_plain_text(key) if isinstance(key, str) else key: mark_missing(item, source=f"{source} → {key}")
            for key, item in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [mark_missing(item, source=f"{source} → {number}") for number, item in enumerate(value)]
    # Airflow 3 cannot store a rendered NaN, and would fail the task for it without naming the field.
    return Missing(f"{source} {NO_VALUE}") if is_nothing(value) else value


def _make_unknown(source: str, message: str) -> Unknown:
    sentence = message if message.endswith("?") else f"{message.rstrip('.')}."
    return Unknown(f"{source}: {sentence} {_MAY_BE_ABSENT}")


def _make_strict_environment(env: Environment) -> Environment:
    """Make an environment like the DAG's in which unknown names are errors, and which writes text.

    A native one would make numbers of the text inside a template: of ``{% set %}`` blocks, macros and filters.
    """
    # Bytecode that somebody caches was compiled for the DAG's own environment.
    env = env.overlay(undefined=_UnknownName, finalize=_make_finalizer(env.finalize), bytecode_cache=None)
    env.filters = {**env.filters, _PART: _write_part}
    if isinstance(env, NativeEnvironment):
        for name in ("code_generator_class", "concat", "template_class"):
            setattr(env, name, getattr(Environment, name))
    return env


def _make_finalizer(of_the_dag: Callable[..., Any] | None) -> Callable[..., Any]:
    """Refuse nothing as a part of a text, where the DAG itself has nothing to make of it."""
    if of_the_dag is None:
        return _write_part

    @wraps(of_the_dag)  # Jinja reads off the function whether it takes the context
    def finalize_both(*arguments: Any) -> Any:
        return _write_part(of_the_dag(*arguments))

    return finalize_both


def _write_part(value: Any) -> Any:
    """Return what a part of a text is written of. Raises ``_NothingInTextError``."""
    value = unwrap_proxy(value)
    if value is None:
        raise _NothingInTextError("None")
    if is_nothing(value):
        raise _NothingInTextError("NaN, NaT or NA")
    return to_writable(value)


def _parse(text: str, env: Environment) -> nodes.Template:
    """Parse a template in which ``~`` writes its parts as they are written beside text."""
    tree = env.parse(text)
    for joined in tree.find_all(nodes.Concat):
        joined.nodes = [nodes.Filter(part, _PART, [], [], None, None, lineno=part.lineno) for part in joined.nodes]
    return tree


def _find_lone_expression(text: str, env: Environment) -> nodes.Expr | None:
    """Return the expression of a text that is one ``{{ }}`` and white space around it."""
    body = _parse(text.strip(), env).body
    if len(body) == 1 and isinstance(body[0], nodes.Output) and len(body[0].nodes) == 1:
        only = body[0].nodes[0]
        return None if isinstance(only, nodes.TemplateData) else only
    return None


def _render_value(template: Template, context: MutableMapping[str, Any], *, source: str) -> Any:
    scope = _make_context(template, context)
    for _ in template.root_render_func(scope):
        pass
    value = mark_missing(scope.vars["result"], source=source)
    if type(value) is Missing and not _OF_LOGICAL_DATE.isdisjoint(re.findall(r"\w+", source)):
        return Missing(f"{value.reason} ({_NO_LOGICAL_DATE})")
    return value


def _render_text(template: Template, context: MutableMapping[str, Any]) -> str:
    return "".join(map(str, template.root_render_func(_make_context(template, context))))


def _make_context(template: Template, context: MutableMapping[str, Any]) -> Context:
    """Make Jinja's context without reading Airflow's, in which some values are lazy and some warn when read."""
    names = copy(context)
    for name, value in template.globals.items():
        if name not in names:
            names[name] = value
    env = template.environment
    return env.context_class(env, cast("dict[str, Any]", names), template.name, template.blocks)
