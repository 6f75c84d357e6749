"""What every operator of one record, or of one list of them, shares: its arguments' meaning, and its run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal

from airflow_provider_truto.airflow_errors import translate_errors
from airflow_provider_truto.client.errors import Problem
from airflow_provider_truto.links import TrutoIntegratedAccountsLink, TrutoLink, TrutoReferenceLink
from airflow_provider_truto.operators._argument import is_known_at_parse
from airflow_provider_truto.operators._deferral import DeferringOperator
from airflow_provider_truto.records.request import SchemaSource

Verify = Literal["warn", "fail"] | None


class TrutoRecordOperator(DeferringOperator):
    """One call for one customer: rendered with types kept, converted, checked, sent once over all retries, verified.

    What a public operator does not take as an argument has the value here.
    """

    operator_extra_links: Collection[TrutoLink] = (TrutoIntegratedAccountsLink(), TrutoReferenceLink())
    #: What the operator calls the record's id.
    id_name: ClassVar[str] = "record_id"
    needs_id: ClassVar[bool] = False
    #: ``None`` for the proxy API.
    model: Any = None
    method: Any
    query: Any = None
    max_records: Any = None
    # What only the unified API has.
    response_format: Any = "unified"
    ignore_remote_data: Any = False
    exclude_fields: Any = None
    remote_query: Any = None
    schema: SchemaSource = None
    extra_fields: Any = None
    allow_empty: Any = True
    check_custom_fields: Any = False

    def _find_contradictions(self, given: Mapping[str, Any], present: Collection[str]) -> Iterator[Problem]:
        yield from super()._find_contradictions(given, present)
        if self.is_given("body") and "body_file" in present:
            yield Problem("/body", "give either body or body_file")
        if given.get("preview") and ("expect" in present or given.get("skip_unchanged")):
            yield Problem("/preview", "sends nothing; expect and skip_unchanged go to a later task")
        method = given.get("method", self.method)
        if method not in {"list", None} and is_known_at_parse(method):
            yield from self._find_meaningless(["max_records"], f"is for list, not for {method}")

    def execute(self, context: Any) -> Any:
        """Make the call: typed, checked, sent, verified, XCom. Deferred for a long wait, it is called again."""
        from airflow_provider_truto.operators._record_call import RecordCall

        problems = self._read_arguments()
        call = RecordCall(self, context, self._take_deferrals())
        with translate_errors(self, skip_on=self.skip_on or (), on_failure=call.push_failure):
            return call.execute(problems)

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: Any, seen_oids: Any
    ) -> None:
        try:
            super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        except Exception as error:
            if parent is self:
                from airflow_provider_truto.operators._record_call import RecordCall

                RecordCall(self, context).push_failure(error, is_skip=False)
            raise
