"""Airflow's rendering with types kept: the one place where the operators reach into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_truto._compat import AirflowFailException
from airflow_provider_truto.client.numbers import exact_json
from airflow_provider_truto.updates.rendered import as_data, rendered

if TYPE_CHECKING:
    import jinja2


class TypedRenderingMixin:
    """Renders ``{{ expression }}`` to its value and other strings to text, whatever the DAG's rendering mode.

    An operator that has ``body`` and ``body_file`` gets the file's JSON, or JSON text of the author's, parsed
    first and its strings rendered then: data never breaks the JSON.
    """

    body: Any
    body_file: Any

    def render_template(
        self,
        content: Any,
        context: Any,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render one value; collections come back here for each string in them."""
        if content is None:
            return None  # there is but one None, and Airflow may have marked it
        if seen_oids is not None and id(content) in seen_oids:
            return as_data(content, source="the mapped value")  # Airflow marks what came from upstream
        env = jinja_env or self.get_template_env()  # type: ignore[attr-defined]
        if isinstance(content, str):
            return rendered(content, context, env)
        value = super().render_template(content, context, env, seen_oids)  # type: ignore[misc]
        if hasattr(content, "resolve"):
            return as_data(value, source="the upstream task's XCom")
        return value

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: jinja2.Environment, seen_oids: Any
    ) -> None:
        # Airflow calls this on the operator itself, mapped or not, so that operators can render fields their way.
        if parent is self:
            seen_oids |= self._oids_from_upstream(context)
            self._parse_body(context, jinja_env, seen_oids)
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)  # type: ignore[misc]

    def _oids_from_upstream(self, context: Any) -> set[int]:
        """Find the values that ``expand_kwargs`` took from upstream.

        Airflow marks what ``expand`` took from there, but takes every dict, list and text that comes through
        ``expand_kwargs`` for the author's own, and would render templates that stand in data.
        """
        task: Any = self.dag.task_dict.get(self.task_id) if self.has_dag() else None  # type: ignore[attr-defined]
        expanded = getattr(getattr(task, "expand_input", None), "value", None)
        if isinstance(expanded, Mapping) or expanded is None:
            return set()  # of `expand`, or not mapped at all
        if isinstance(expanded, Sequence) and isinstance(expanded[context["ti"].map_index], Mapping):
            return set()  # written in the DAG file
        mapped = [name for name in self.template_fields if name not in task.partial_kwargs]  # type: ignore[attr-defined]
        return {id(getattr(self, name)) for name in mapped}

    def _parse_body(self, context: Any, env: jinja2.Environment, seen_oids: set[int]) -> None:
        if isinstance(self.body_file, str):
            self.body_file = self.render_template(self.body_file, context, env, seen_oids)
            seen_oids.add(id(self.body_file))  # rendered: Airflow must not take the outcome for a template
            self.body = _parsed_file(str(self.body_file), env)
        elif isinstance(self.body, str) and id(self.body) not in seen_oids:
            self.body = _parsed_if_object(self.body)


def _parsed_if_object(text: str) -> Any:
    """Parse JSON text that is an object as it stands; with bare expressions in it, it stays a template."""
    try:
        parsed = exact_json(text)
    except ValueError:
        return text
    return parsed if isinstance(parsed, dict) else text


def _parsed_file(name: str, env: jinja2.Environment) -> Any:
    """Find a file as Airflow finds templates (the DAG's folder, template_searchpath), and parse it."""
    from jinja2 import BaseLoader, TemplateNotFound

    loader = env.loader or BaseLoader()
    try:
        text, _, _ = loader.get_source(env, name)
    except TemplateNotFound:
        folders = ", ".join(getattr(loader, "searchpath", []))
        raise AirflowFailException(f"body_file {name!r} was not found in {folders or 'any folder'}") from None
    try:
        return exact_json(text)
    except ValueError as error:
        raise AirflowFailException(
            f'body_file {name!r} is not JSON ({error}); put templates inside strings, "{{{{ params.x }}}}":'
            " a lone expression keeps its type"
        ) from None
