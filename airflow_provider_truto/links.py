"""Links from a task to Truto, and to its ledger, as the browser shows them beside a task.

Each URL is pushed to XCom before the task calls anything, so that a task that runs, has failed or is mapped has it.
Airflow 3 reads it there itself, Airflow 2 through ``get_link``. Where no page is known there is no link: no URL is
guessed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from airflow_provider_truto._compat import BaseOperatorLink, conf, read_xcom

_APP = "https://app.truto.one"
_REFERENCE = "https://truto.one/docs/api-reference"
#: The pages of the API reference that were seen, by model and resource; "" is that of the resource itself.
_PAGES: Mapping[tuple[str, str], frozenset[str]] = {
    ("crm", "accounts"): frozenset({"", "list", "create", "update", "delete"}),
    ("crm", "contacts"): frozenset({"list", "update", "delete"}),
    ("crm", "fields"): frozenset({"", "list"}),
    ("crm", "opportunities"): frozenset({"", "create", "update", "delete"}),
}


class TrutoLink(BaseOperatorLink):
    """A link whose URL is built from the rendered arguments of an operator, when its task begins."""

    @property
    def xcom_key(self) -> str:
        """The key of the XCom that holds the URL."""
        return f"_link_{type(self).__name__}"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002
        """Return the URL that the task has pushed, ``""`` where it has pushed none."""
        found = read_xcom(ti_key, self.xcom_key)
        return found if isinstance(found, str) else ""

    @abstractmethod
    def build_url(self, operator: Any, context: Mapping[str, Any]) -> str | None:
        """Return the URL, or ``None`` where no page is known."""


class TrutoIntegratedAccountsLink(TrutoLink):
    """The list of integrated accounts in Truto's app, or the account's own page.

    The address of one account's page is not documented; the list shows the account's id and tenant id
    (https://truto.one/docs/guides/integrated-accounts/connecting-an-account). ``[truto] app_url`` is its base, and
    ``[truto] account_url`` the address of one account's page, where the company has found it.
    """

    name = "Truto: integrated accounts"

    def build_url(self, operator: Any, context: Mapping[str, Any]) -> str | None:  # noqa: ARG002
        """Return the URL of the account that the task names, where ``account_url`` is set; else that of the list."""
        own_page = _fill_in("account_url", integrated_account_id=getattr(operator, "integrated_account_id", None))
        return own_page or f"{conf.get('truto', 'app_url', fallback=_APP).rstrip('/')}/integrated-accounts"


class TrutoReferenceLink(TrutoLink):
    """The page of Truto's API reference about the call: its method's, else its resource's."""

    name = "Truto: API reference"

    def build_url(self, operator: Any, context: Mapping[str, Any]) -> str | None:  # noqa: ARG002
        """Return the URL of the page, ``None`` for a resource whose page is not known."""
        model, resource = operator.model, operator.resource
        if not (isinstance(model, str) and isinstance(resource, str)):
            return None
        known = _PAGES.get((model, resource), frozenset())
        found = [page for page in (operator.method, "") if page in known]
        return "/".join([_REFERENCE, f"unified-{model}-api", resource, *found[:1]]).rstrip("/") if found else None


class TrutoSyncJobRunReferenceLink(TrutoLink):
    """The page of Truto's API reference about sync job runs. Where the app shows one run is not documented."""

    name = "Truto: API reference"

    def build_url(self, operator: Any, context: Mapping[str, Any]) -> str | None:  # noqa: ARG002
        """Return the URL of the page."""
        return f"{_REFERENCE}/admin/sync-job-runs/create"


class TrutoSyncJobRunLink(TrutoLink):
    """The page of one sync job run, where ``[truto] sync_job_run_url`` says its address: it is not documented."""

    name = "Truto: sync job run"

    def build_url(self, operator: Any, context: Mapping[str, Any]) -> str | None:  # noqa: ARG002
        """Return ``sync_job_run_url`` with the run's id in it, ``None`` while it is empty or no run is known."""
        return _fill_in("sync_job_run_url", sync_job_run_id=getattr(operator, "sync_job_run_id", None))


class TrutoLedgerLink(TrutoLink):
    """The folder of a bulk's ledger, where ``[truto] ledger_url`` says how a browser reaches the storage."""

    name = "Ledger"

    def build_url(self, operator: Any, context: Mapping[str, Any]) -> str | None:
        """Return ``ledger_url`` with ``{bucket}`` and ``{key}`` of the folder in it, ``None`` while it is empty."""
        if not conf.get("truto", "ledger_url", fallback="") or not operator.output_path:
            return None
        from airflow_provider_truto._compat import object_storage_path
        from airflow_provider_truto.bulk.ledger_files import locate_task_folder

        ti = context["ti"]
        folder = object_storage_path(operator.output_path)
        place = urlsplit(str(locate_task_folder(folder, ti.dag_id, ti.run_id, ti.task_id, ti.map_index)))
        bucket = place.netloc.rpartition("@")[2]  # before it stands the id of a connection
        return _fill_in("ledger_url", bucket=bucket, key=place.path.lstrip("/"))


def _fill_in(option: str, **parts: Any) -> str | None:
    """Return the URL of a config option with each ``{name}`` replaced, ``None`` where it or one of these is empty."""
    url: str = conf.get("truto", option, fallback="")
    if not url or not all(isinstance(part, str) for part in parts.values()):
        return None
    for name, part in parts.items():
        url = url.replace(f"{{{name}}}", quote(part))
    return url


class LinkingMixin:
    """Pushes the URLs of an operator's links before it is executed."""

    def pre_execute(self, context: Any) -> None:
        """Push the URLs, unless ``do_xcom_push`` is off; called by Airflow after rendering."""
        super().pre_execute(context)  # type: ignore[misc]
        push_links(self, context)


def push_links(operator: Any, context: Mapping[str, Any]) -> None:
    """Push the URL of each link of an operator to XCom, of those whose page is known."""
    for link in operator.operator_extra_links:
        if isinstance(link, TrutoLink):
            push_link(link, operator, context)


def push_link(link: TrutoLink, operator: Any, context: Mapping[str, Any]) -> None:
    """Push the URL of one link to XCom, ``""`` where its page is not known.

    Airflow logs an error for a link that was never pushed; for an empty one it shows none.
    """
    ti = context.get("ti")
    if ti is not None and operator.do_xcom_push:
        ti.xcom_push(key=link.xcom_key, value=link.build_url(operator, context) or "")
