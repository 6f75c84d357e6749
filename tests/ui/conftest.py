"""One Airflow beside the emulator and one browser for the tests of a file; a failed test leaves a screenshot.

Not for all files: while a browser is driven, its event loop runs in this thread, and no other test may have one.
"""

from __future__ import annotations

import os
import shutil

import pytest
from airflow_2 import airflow_2_ui, log_in
from airflow_home import EXAMPLES
from ui import airflow_ui

from airflow_provider_truto._compat import IS_AIRFLOW_2

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: Milliseconds for any one step: two slow cores run Airflow, the browser and perhaps something else besides.
PATIENCE = 60_000
_page_key = pytest.StashKey()


def find_chromium():
    """The executable of chromium, or ``None``."""
    debian = "/usr/bin/chromium"
    return debian if os.access(debian, os.X_OK) else shutil.which("chromium") or os.environ.get("CHROMIUM")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="NOTHING WAS TESTED IN A BROWSER: playwright is missing; pip install playwright"
    )
    executable = find_chromium()
    if not executable:
        pytest.skip(
            "NOTHING WAS TESTED IN A BROWSER: chromium is missing; apt-get install --no-install-recommends chromium,"
            " or set CHROMIUM to its executable"
        )
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


#: A bulk, whose ledger has a link where Airflow's configuration says how a browser reaches it.
BULK = """
from datetime import datetime, timezone

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow.models.dag import DAG

from airflow_provider_truto.emulator import ACME
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator

with DAG(dag_id="bulk_with_ledger", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None):
    TrutoBulkUpdateAccountsOperator(
        task_id="bulk",
        source=[{"id": "23423525", "integrated_account_id": ACME, "body": {"industry": "Retail"}}],
        output_path="{output_path}",
        max_failures=0,
    )
"""


@pytest.fixture(scope="module")
def airflow(browser, tmp_path_factory):
    """Airflow as `make ui` runs it. The browser comes first: without one there is no need to wait for it."""
    folder = tmp_path_factory.mktemp("dags")
    shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    ledgers = tmp_path_factory.mktemp("ledgers")
    (folder / "bulk_with_ledger.py").write_text(BULK.replace("{output_path}", str(ledgers)))
    given = {"dags_folder": folder, "settings": {"AIRFLOW__TRUTO__LEDGER_URL": "https://files.test/browse/{key}"}}
    with airflow_2_ui(**given) if IS_AIRFLOW_2 else airflow_ui("--quiet", **given) as running:
        yield running


@pytest.fixture(scope="module")
def login(airflow, browser):
    """The cookies of somebody who is logged in; Airflow 3 lets in anybody."""
    context = browser.new_context(base_url=airflow.url)
    if IS_AIRFLOW_2:
        log_in(context, PATIENCE)
    yield context.cookies()
    context.close()


@pytest.fixture
def page(airflow, browser, login, request, tmp_path):
    """A fresh browser window, logged in."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=airflow.url, locale="en-US")
    context.set_default_timeout(PATIENCE)
    context.add_cookies(login)
    page = context.new_page()
    request.node.stash[_page_key] = (page, tmp_path / "screenshot.png", airflow)
    yield page
    context.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Add to the report of a failed test what the browser showed and what Airflow logged."""
    report = yield
    if report.when == "call" and report.failed and _page_key in item.stash:
        page, path, airflow = item.stash[_page_key]
        report.sections.append(("Airflow's log", airflow.log_tail()))
        try:
            page.screenshot(path=path, full_page=True, timeout=10_000)
            report.sections.append(("screenshot", f"{page.url}\n{path}"))
        except Exception as error:
            report.sections.append(("screenshot", f"none: {error}"))
    return report
