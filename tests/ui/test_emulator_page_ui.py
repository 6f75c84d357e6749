"""The emulator's page in a browser: a DAG author sees the update land."""

from __future__ import annotations

import pytest

from airflow_provider_truto.emulator import ACME, Emulator
from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RECORD = "23423523"


@pytest.fixture
def opened(browser, truto):
    """The page of the emulator, and the errors of its script."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(truto.url)
    page.get_by_text("live", exact=True).wait_for()
    yield page
    page.close()
    assert errors == []


def unfold(page):
    for name in (ACME, f"{ACME}/crm/accounts", f"{ACME}/crm/accounts/{RECORD}"):
        page.locator(f'details[data-id="{name}"] > summary').click()
    return page.locator(f'details[data-id="{ACME}/crm/accounts/{RECORD}"]')


def test_an_update_lands_while_somebody_looks(opened, truto):
    record = unfold(opened)
    assert '"number_of_employees": 120' in record.inner_text()
    truto.fault(method="PATCH", status=503)
    opened.locator("#faults", has_text='"status":503').wait_for()
    task = TrutoUpdateAccountOperator(
        task_id="update", account_id=RECORD, integrated_account_id=ACME, body={"number_of_employees": 150}
    )
    truto.run(task)
    record.locator(".now", has_text='"number_of_employees": 150').wait_for()
    assert "PATCH 200" in record.inner_text()
    opened.locator("#faults", has_text="none").wait_for()
    calls = opened.locator(".call").all_inner_texts()
    assert ["200" in calls[0], "503" in calls[-1]] == [True, True]


def test_what_a_record_holds_stays_text(opened, truto):
    record = unfold(opened)
    name = "<img src=x onerror=document.title='gone'>"
    task = TrutoUpdateAccountOperator(
        task_id="update", account_id=RECORD, integrated_account_id=ACME, body={"name": name}
    )
    truto.run(task)
    record.locator("summary", has_text=name).wait_for()
    assert opened.locator("img").count() == 0
    assert opened.title() == "Truto emulator"


def test_a_page_whose_emulator_is_gone_says_so(browser):
    with Emulator() as emulator:
        page = browser.new_page()
        page.goto(emulator.url)
        page.get_by_text("live", exact=True).wait_for()
    page.get_by_text("the emulator does not answer").wait_for()
    page.close()
