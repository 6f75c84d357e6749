"""A run from the form to the CRM, and a red task, as people see them on the web servers of Airflow 3.3 and 2.11."""

from __future__ import annotations

import json
import re

import pytest
from pictures import take_picture
from task_pages import TaskPages2, TaskPages3

from airflow_provider_truto._compat import IS_AIRFLOW_2
from airflow_provider_truto.emulator import ACME, UMBRELLA

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FORM = "truto_account_form"
TASK = "update_account"
RECORD = "23423524"
#: Where Airflow 3.3 shows the form.
DIALOG = {"x": 192, "y": 0, "width": 896, "height": 900}
WINDOW = {"x": 0, "y": 0, "width": 1280}
LINKS = {
    "Truto: API reference": "https://truto.one/docs/api-reference/unified-crm-api/accounts/update",
    "Truto: integrated accounts": "https://app.truto.one/integrated-accounts",
}


@pytest.fixture
def pages(page):
    page.goto("/")
    return TaskPages2(page) if IS_AIRFLOW_2 else TaskPages3(page)


@pytest.fixture(scope="module")
def runs():
    """The ids of the runs of this module, by name: each is made by the first test that looks at it."""
    return {}


@pytest.fixture
def updated(pages, runs):
    """A run that somebody has triggered by filling in the form."""
    if "updated" not in runs:
        pages.open_form(FORM)
        pages.fill("account_id", RECORD)
        pages.fill("name", "Northwind Traders")
        pages.fill("number_of_employees", "321")
        pages.page.locator("[name=element_number_of_employees]").evaluate("field => field.scrollIntoView(false)")
        take_picture(pages.page, "trigger-form.png", clip=DIALOG)
        pages.fill_json("tags", '[{"name": "vip"}]')
        runs["updated"] = pages.submit()
        assert pages.wait_for_end(FORM, runs["updated"]) == "success"
    return FORM, runs["updated"], TASK


@pytest.fixture
def refused(pages, runs):
    """A run for a customer who has to reconnect."""
    if "refused" not in runs:
        pages.open_form(FORM)
        pages.fill("integrated_account_id", UMBRELLA)
        pages.fill("account_id", "9001")
        pages.fill("name", "Umbrella")
        runs["refused"] = pages.submit()
        assert pages.wait_for_end(FORM, runs["refused"]) == "failed"
    return FORM, runs["refused"], TASK


def compact(text):
    """What a page shows of JSON, without the spaces that it is laid out with."""
    return re.sub(r"\s+", "", text.replace("\xa0", " "))


def test_the_record_has_what_was_filled_in_and_the_emulator_s_page_shows_it(pages, updated, airflow):
    page = pages.page
    page.goto(airflow.emulator_url)
    for name in (ACME, f"{ACME}/crm/accounts", f"{ACME}/crm/accounts/{RECORD}"):
        page.locator(f'details[data-id="{name}"] > summary').click()
    record = page.locator(f'details[data-id="{ACME}/crm/accounts/{RECORD}"]')
    record.get_by_text("PATCH 200").first.wait_for()
    for field in ('"name": "Northwind Traders"', '"number_of_employees": 321', '"vip"'):
        assert field in record.inner_text()
    take_picture(page, "emulator-page.png")


def test_the_rendered_body_is_shown_as_the_json_of_what_was_filled_in(pages, updated):
    assert json.loads(pages.read_rendered(*updated, "body")) == {
        "name": "Northwind Traders",
        "number_of_employees": 321,
        "tags": [{"name": "vip"}],
    }


def test_xcom_shows_the_account_as_it_is_now_and_what_the_call_cost(pages, updated):
    account = compact(pages.read_xcom("return_value", *updated))
    take_picture(pages.page, "run-xcom.png")
    for field in (f'"id":"{RECORD}"', '"name":"NorthwindTraders"', '"number_of_employees":321'):
        assert field in account
    assert '"attempts":1' in compact(pages.read_xcom("truto", *updated))


def test_the_log_has_one_line_of_the_call(pages, updated):
    log = pages.open_log(*updated)
    assert pages.shows(f"PATCH /unified/crm/accounts/{RECORD}")
    assert re.search(rf"PATCH /unified/crm/accounts/{RECORD} .*status=200 attempts=1", log)


def test_the_links_of_a_task_lead_where_they_say(pages, updated):
    assert pages.read_links(*updated) == LINKS
    take_picture(pages.page, "task-links.png", clip={**WINDOW, "height": 560})


def test_the_first_screen_of_a_red_task_s_log_says_what_is_wrong_and_what_to_do(pages, refused):
    pages.open_log(*refused)
    for line in (
        "PATCH /unified/crm/accounts/9001 for integrated account",
        "the customer's CRM answered 401",
        "Cause: the customer's connection to the CRM.",
        "Fix: the customer must reconnect the account; retries cannot help.",
    ):
        assert pages.shows(line), line
    # Without the traceback, whose paths are those of this machine.
    last = pages.page.get_by_text("Task failed with exception").first.bounding_box()
    take_picture(pages.page, "red-task-log.png", clip={**WINDOW, "height": last["y"] + last["height"]})


def test_a_red_task_has_its_links(pages, refused):
    assert pages.read_links(*refused) == LINKS


def test_a_form_that_nobody_filled_in_fails_with_the_reason_on_the_first_screen(pages):
    pages.open_form(FORM)
    run = pages.submit()
    assert pages.wait_for_end(FORM, run) == "failed"
    pages.open_log(FORM, run, TASK)
    assert pages.shows("/body: is empty: there is nothing in it to send")


def test_the_form_refuses_what_the_schema_refuses(pages):
    pages.open_form(FORM)
    pages.fill_json("owner", '{"id": 5}')
    assert "5 is not of type 'string'" in pages.read_refusal()


def test_a_mapped_task_has_its_links(pages):
    dag_id = "truto_update_account_per_customer"
    run = pages.trigger(dag_id)
    assert pages.wait_for_end(dag_id, run) == "success"
    assert pages.read_links(dag_id, run, TASK, 1) == LINKS


def test_a_bulk_links_to_its_ledger(pages):
    run = pages.trigger("bulk_with_ledger")
    assert pages.wait_for_end("bulk_with_ledger", run) == "success"
    ledger = pages.read_links("bulk_with_ledger", run, "bulk").pop("Ledger")
    assert ledger.startswith("https://files.test/browse/")
    assert "/bulk_with_ledger/" in ledger
