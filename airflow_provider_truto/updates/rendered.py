"""Rendering that keeps types: a lone ``{{ expression }}`` is evaluated, every other string becomes text.

Airflow's text rendering makes ``"None"`` out of ``None`` and its native rendering makes numbers out of phone
numbers. Here neither happens, in both modes: what comes of nothing is a ``Missing``, which a later step turns
into a problem, an omission or a null. Only the DAG author's text is rendered, never data.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from copy import copy
from typing import Any, cast

from jinja2 import Environment, Template, Undefined, UndefinedError, nodes
from jinja2.runtime import Context


class Missing:
    """Stands where a value was expected and nothing came. Its ``repr`` is what Airflow shows as rendered."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"<missing: {self.reason}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Missing) and self.reason == other.reason

    def __hash__(self) -> int:
        return hash(self.reason)


def rendered(text: str, context: MutableMapping[str, Any], env: Environment) -> Any:
    """Render one string of the DAG author.

    Returns the value of a lone expression with its Python type, text for anything else, ``Missing`` where
    the outcome is ``None`` or undefined. Raises what the template's own code raises, and
    ``TemplateSyntaxError``.
    """
    expression = _lone_expression(text, env)
    try:
        if expression is not None:
            return as_data(_value(expression, context, env), source=text.strip())
        return _text(text, context, env)
    except UndefinedError as error:
        return Missing(f"{text.strip()} is undefined ({error})")


def as_data(value: Any, *, source: str) -> Any:
    """Mark every ``None`` in a value that came from outside the DAG file, and make lazy sequences lists.

    A ``None`` that the author wrote clears a field; one that arrived as data may be an accident, so the two
    must not look alike. ``source`` says in the marker where it came from.
    """
    if value is None:
        return Missing(f"{source} is None")
    if isinstance(value, Undefined):
        return Missing(f"{source} is undefined")
    if isinstance(value, str):
        return str(value)  # a Markup of `| tojson` is text like any other
    if isinstance(value, Mapping):
        return {key: as_data(item, source=f"{source} → {key}") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [as_data(item, source=f"{source} → {number}") for number, item in enumerate(value)]
    return value


def _lone_expression(text: str, env: Environment) -> nodes.Expr | None:
    """Give the expression of a text that is one ``{{ }}`` and white space around it."""
    body = env.parse(text.strip()).body
    if len(body) == 1 and isinstance(body[0], nodes.Output) and len(body[0].nodes) == 1:
        only = body[0].nodes[0]
        return None if isinstance(only, nodes.TemplateData) else only
    return None


def _value(expression: nodes.Expr, context: MutableMapping[str, Any], env: Environment) -> Any:
    assignment = nodes.Assign(nodes.Name("result", "store", lineno=1), expression, lineno=1)
    template = env.from_string(nodes.Template([assignment], lineno=1))
    scope = _scope(template, context)
    for _ in template.root_render_func(scope):
        pass
    return scope.vars["result"]


def _text(text: str, context: MutableMapping[str, Any], env: Environment) -> str:
    template = env.from_string(text)
    return "".join(map(str, template.root_render_func(_scope(template, context))))


def _scope(template: Template, context: MutableMapping[str, Any]) -> Context:
    """Make Jinja's context without reading Airflow's, in which some values are lazy and some warn when read."""
    names = copy(context)
    for name, value in template.globals.items():
        if name not in names:
            names[name] = value
    env = template.environment
    return env.context_class(env, cast("dict[str, Any]", names), template.name, template.blocks)
