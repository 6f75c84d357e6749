"""Rendering that keeps types: a lone ``{{ expression }}`` is evaluated, every other string becomes text.

Airflow's text rendering makes ``"None"`` out of ``None`` and its native rendering makes numbers out of phone
numbers. Here neither happens, in both modes: what comes of nothing is a ``Missing``, which a later step turns
into a problem, an omission or a null. Only the DAG author's text is rendered, never data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from copy import copy
from functools import partial
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
    return compiled(text, env)(context)


def compiled(text: str, env: Environment) -> Callable[[MutableMapping[str, Any]], Any]:
    """Prepare the rendering of one string for many contexts. Raises ``TemplateSyntaxError``."""
    source = text.strip()
    expression = _lone_expression(text, env)
    if expression is None:
        template = env.from_string(text)
        render: Callable[..., Any] = _text
    else:
        assignment = nodes.Assign(nodes.Name("result", "store", lineno=1), expression, lineno=1)
        template = env.from_string(nodes.Template([assignment], lineno=1))
        render = partial(_value, source=source)

    def render_in(context: MutableMapping[str, Any]) -> Any:
        try:
            return render(template, context)
        except UndefinedError as error:
            return Missing(f"{source} is undefined ({error})")

    return render_in


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


def _value(template: Template, context: MutableMapping[str, Any], *, source: str) -> Any:
    scope = _scope(template, context)
    for _ in template.root_render_func(scope):
        pass
    return as_data(scope.vars["result"], source=source)


def _text(template: Template, context: MutableMapping[str, Any]) -> str:
    return "".join(map(str, template.root_render_func(_scope(template, context))))


def _scope(template: Template, context: MutableMapping[str, Any]) -> Context:
    """Make Jinja's context without reading Airflow's, in which some values are lazy and some warn when read."""
    names = copy(context)
    for name, value in template.globals.items():
        if name not in names:
            names[name] = value
    env = template.environment
    return env.context_class(env, cast("dict[str, Any]", names), template.name, template.blocks)
