"""What the bulk operators share: their arguments, and what contradicts itself among them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from airflow_provider_truto._compat import warn_deprecated
from airflow_provider_truto.airflow_errors import translate_errors
from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.links import TrutoIntegratedAccountsLink, TrutoLedgerLink, TrutoReferenceLink
from airflow_provider_truto.operators._argument import is_known_at_parse
from airflow_provider_truto.operators._arguments import BULK_ARGUMENTS
from airflow_provider_truto.operators._deferral import DeferringOperator
from airflow_provider_truto.operators._rendering import is_from_upstream, is_reference

OnSourceChange = Literal["error", "restart"]
OnClear = Literal["resume", "restart"]
OnRemoved = Literal["ignore", "report", "clear_fields", "delete"]
MatchBy = Literal["auto", "list", "filter"]
OnMissing = Literal["create", "skip", "fail"]
OnAmbiguous = Literal["fail", "skip"]
#: What to find records by: the name of a field, a function or its name, or several of them in order.
MatchOn = str | Callable[[Mapping[str, Any]], Any] | Sequence[str | Callable[[Mapping[str, Any]], Any]]


class TrutoBulkOperator(DeferringOperator):
    """Many writes in one task, kept in flight for many customers at once; every record is accounted for."""

    arguments = BULK_ARGUMENTS
    operator_extra_links = (TrutoIntegratedAccountsLink(), TrutoReferenceLink(), TrutoLedgerLink())
    query: Any
    changed_only: Any
    match_on: Any
    is_stopped = False
    #: ``default_args`` name a customer by what a bulk does not take: rows that name none must not go to another one.
    has_no_default = False
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "query": "sql"}

    def _take(self, given: Mapping[str, Any]) -> None:
        super()._take(given)
        default_args = given["kwargs"].get("default_args") or {}
        names_tenant = default_args.get("tenant_id") is not None or default_args.get("integration") is not None
        self.has_no_default = names_tenant and not self.is_given("integrated_account_id")
        if self.query is not None:
            warn_deprecated("query is deprecated: write sql='select …', which means the same", stacklevel=4)

    def _find_contradictions(self, given: Mapping[str, Any], present: Collection[str]) -> Iterator[Problem]:
        yield from super()._find_contradictions(given, present)
        if {"sql", "query"} <= set(present):
            yield Problem("/query", "is the deprecated name of sql: give only sql")
        has_sql = not {"sql", "query"}.isdisjoint(present)
        if ("source" in present) == has_sql or (has_sql and "sql_conn_id" not in present):
            yield Problem("/source", "give either source, or sql with sql_conn_id")
        elif has_sql:
            yield from self._find_meaningless(["delimiter"], "means nothing with sql: it is of a CSV")
        else:
            of_sql = ("sql_conn_id", "query_parameters", "hook_params")
            yield from self._find_meaningless(of_sql, "means nothing without sql")
        if given.get("preview") and "expect" in present:
            yield Problem("/preview", "sends nothing; expect goes to a later task")
        if {"mapping", "null_marker"} <= set(present):
            yield Problem(
                "/null_marker",
                "means nothing beside mapping, which sees what is in the cells: leave one of the two out",
            )
        yield from self._find_contradictions_of_state(given)
        yield from self._find_contradictions_of_match(given)

    def _find_contradictions_of_match(self, given: Mapping[str, Any]) -> Iterator[Problem]:
        if self.match_on is None:
            defaults = {"match_by": "auto", "on_missing": "fail", "on_ambiguous": "fail"}
            changed = [name for name, default in defaults.items() if given.get(name, default) != default]
            yield from self._find_meaningless(changed, "means nothing without match_on")
            return
        method = given.get("method", self.method)
        if method != "update" and is_known_at_parse(method):
            advice = "; use update with on_missing='create'" if method == "create" else ""
            yield Problem("/match_on", f"is for update, not for {method}{advice}")
        if given.get("on_removed") in {"clear_fields", "delete"}:
            yield Problem(
                "/on_removed",
                "is 'ignore' or 'report' with match_on: a row that is found by a different value than before would"
                " look as if its record had left the source",
            )
        shard = given.get("shard")
        if isinstance(shard, Mapping) and shard.get("by") == "id":
            yield Problem("/shard", "is by account with match_on: two shards of a customer would create one record")

    def _find_contradictions_of_state(self, given: Mapping[str, Any]) -> Iterator[Problem]:
        changed_only = given.get("changed_only", self.changed_only)
        on_removed = given.get("on_removed")
        if on_removed == "ignore":
            yield from self._find_meaningless(
                ["max_removed"], "means nothing with on_removed='ignore', which counts no record that has left"
            )
        if changed_only is False:
            of_state = ["full_every", "state_path", *([] if on_removed in {"ignore", None} else ["on_removed"])]
            yield from self._find_meaningless(of_state, "means nothing without changed_only=True")
        method = given.get("method", self.method)
        if changed_only is True and method != "update" and is_known_at_parse(method):
            yield Problem("/changed_only", "is for updates: of other methods no record is known to be as it was")

    @property
    def needs_id(self) -> bool:
        """Whether a record means nothing without an id."""
        return self.method in {"update", "delete"}

    @property
    def needs_body(self) -> bool:
        """Whether a record means nothing without a body."""
        return self.method in {"create", "update"}

    def render_template(
        self, content: Any, context: Any, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render a value; rows of another task's stay as lazy as they come, since there may be many."""
        if content is self.source and is_reference(content) and is_from_upstream(content, context):
            return content.resolve(context)
        return super().render_template(content, context, jinja_env, seen_oids)

    def _mark_as_data(self, name: str, value: Any) -> Any:
        return value if name == "source" else super()._mark_as_data(name, value)

    def execute(self, context: Any) -> dict[str, Any]:
        """Do what is not done yet, and account for every record. Deferred for a long wait, it is called again."""
        from airflow_provider_truto.operators._bulk_job import run_bulk

        if self.has_no_default:
            self.log.warning(
                "default_args name a tenant, which a bulk does not take: rows that name no customer are refused. Give"
                " integrated_account_id, or tenant_id in each row"
            )
        with translate_errors(self):
            self.check_arguments()
            return run_bulk(self, context, self._take_deferrals())

    def on_kill(self) -> None:
        """Start no more records; what is in flight still gets its answer, and its line."""
        self.is_stopped = True
