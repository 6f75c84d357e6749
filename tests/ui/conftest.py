"""One Airflow beside the emulator and one browser for all tests in here; a failed test leaves a screenshot."""

from __future__ import annotations

import os
import shutil

import pytest
from ui import airflow_ui

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


@pytest.fixture(scope="module")
def airflow(browser):
    """Airflow as `make ui` runs it. The browser comes first: without one there is no need to wait for it."""
    with airflow_ui("--quiet") as running:
        yield running


@pytest.fixture
def page(airflow, browser, request, tmp_path):
    """A fresh browser window, logged in as Airflow lets in anybody."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=airflow.url, locale="en-US")
    context.set_default_timeout(PATIENCE)
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
