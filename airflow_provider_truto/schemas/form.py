"""A packaged schema as Airflow's form: the params that draw it, and the body of what was filled in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: What Airflow's forms send for a field that nobody filled in, or that somebody emptied.
_NOT_GIVEN = "[none, '', [], {}]"
#: Types that Airflow's forms draw as an editor of JSON.
_AS_JSON = ("array", "object")


def params(operation: str, *, prefix: str = "") -> dict[str, Any]:
    """Return a ``Param`` for each field of a body, for the ``params`` of a DAG: Airflow draws its form of them.

    A field that the schema does not require is ``None`` until somebody fills it in. Lists of objects, and objects,
    are JSON in the form, and come last. ``operation`` has a packaged schema, such as ``"crm.accounts.update"``.
    Raises ``ValueError`` for any other. ``prefix`` begins the name of each param, as ``"parent_"``, so that one form
    may have the fields of two records; in the form, ``Parent:`` stands before them.
    """
    from airflow_provider_truto._compat import make_param
    from airflow_provider_truto.schemas.packaged import load_packaged_schema

    schema = load_packaged_schema(operation, "request")
    if schema is None:
        raise ValueError(f"{operation!r} has no packaged schema, as 'crm.accounts.update' has")
    required = schema.source.get("required", ())
    fields = schema.source["properties"]
    return {
        f"{prefix}{name}": make_param(
            _build_field(name, field, is_required=name in required, prefix=prefix),
            description=_describe(field),
            has_default=name not in required,
        )
        for name, field in sorted(fields.items(), key=lambda item: item[1]["type"] in _AS_JSON)
    }


def body_from_params(names: Iterable[str], *, prefix: str = "") -> str:
    """Return the template of a body that has the params of these names, without those that were not filled in.

    An empty field of the form changes nothing in the CRM: neither null nor ``""`` is sent for it. ``names`` are those
    of ``params()``, or some of them; one that is not a param of the DAG fails the task. ``prefix`` is that of
    ``params()``: the fields of the body are called without it. Raises ``ValueError`` for text, for no
    names at all, and for a name that does not begin with ``prefix``.
    """
    listed = [] if isinstance(names, str) else list(names)
    if not listed:
        raise ValueError(f"names: expects some, such as ['name', 'website'], got {names!r}")
    if others := [name for name in listed if not name.startswith(prefix)]:
        raise ValueError(f"names: expects names that begin with the prefix {prefix!r}, got {others[0]!r}")
    named = ", ".join(f"({name.removeprefix(prefix)!r}, params[{name!r}])" for name in listed)
    return f"{{{{ dict([{named}] | rejectattr('1', 'in', {_NOT_GIVEN})) }}}}"


def _build_field(name: str, schema: Mapping[str, Any], *, is_required: bool, prefix: str) -> dict[str, Any]:
    """Return the schema of a param: the field's own, with a title, and with null where it may stay empty."""
    from airflow_provider_truto._compat import IS_AIRFLOW_2

    field = {"title": _make_title(name), **_relax(schema)}
    if prefix:
        field["title"] = f"{_make_title(prefix)}: {field['title']}"
    if is_required:
        return field
    field["type"] = [schema["type"], "null"]
    choices = [*field.pop("enum", []), None]
    if choices != [None] and IS_AIRFLOW_2:
        # Its dropdown sends the text "None" for null: suggestions instead.
        field |= {"anyOf": [{"enum": choices}], "examples": choices[:-1]}
    elif choices != [None]:
        field["enum"] = choices
    return field


def _make_title(name: str) -> str:
    return name.replace("_", " ").strip().capitalize()


def _relax(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without what is only a warning in it, since Airflow would refuse a value for it."""
    left_out = {"description", "x-advisory", *schema.get("x-advisory", ())}
    relaxed = {keyword: value for keyword, value in schema.items() if keyword not in left_out}
    if "items" in schema:
        relaxed["items"] = _relax(schema["items"])
    if "properties" in schema:
        relaxed["properties"] = {name: _relax(member) for name, member in schema["properties"].items()}
    return relaxed


def _describe(schema: Mapping[str, Any]) -> str:
    """Return the help below a field: what the schema says of it, and how to fill in what is not plain text."""
    items = schema.get("items", {})
    members = ", ".join(items.get("properties", schema.get("properties", ())))
    how = {"array": "JSON: a list of objects", "object": "JSON: an object"}.get(schema["type"], "")
    if schema["type"] == "array" and items.get("type") == "string":
        how = "One per line"
    told = f"{how} with {members}" if members else how
    return " ".join(filter(None, [schema.get("description"), told and f"{told}."]))
