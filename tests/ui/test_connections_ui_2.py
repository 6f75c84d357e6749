"""The connection form of Airflow 2.11, as people see it: its own web server in a real browser."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import pytest

from airflow_provider_truto._compat import IS_AIRFLOW_2
from airflow_provider_truto.connection_fields import EXTRA_FIELDS, PLACEHOLDERS
from airflow_provider_truto.emulator import ACME, TOKEN, UMBRELLA

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not IS_AIRFLOW_2, reason="the web server of Airflow 2"),
]

BY_NAME = {field.name: field for field in EXTRA_FIELDS}
#: What the form stores of the fields that nobody touched.
UNTOUCHED = {"max_attempts": None, "allow_http": False}


def stored(page, conn_id):
    """A connection as Airflow's API gives it, its extras as an object."""
    connection = page.request.get(f"/api/v1/connections/{conn_id}").json()
    return {**connection, "extra": json.loads(connection["extra"])}


class ConnectionForm:
    """Airflow 2.11's page for one connection."""

    def __init__(self, page):
        self.page = page

    @classmethod
    def new(cls, page, conn_id):
        page.goto("/connection/list/")  # where saving leads back to
        page.goto("/connection/add")
        page.locator("#test-connection").wait_for()  # the page's script makes it, when it has put all in order
        page.locator("#conn_id").fill(conn_id)
        page.locator("#conn_type").select_option("truto", force=True)
        page.locator("#extra__truto__timeout").wait_for()
        return cls(page)

    @classmethod
    def edit(cls, page, conn_id):
        page.goto("/connection/list/")
        page.locator("tr", has=page.get_by_text(conn_id, exact=True)).locator("a[href*='/connection/edit/']").click()
        page.locator("#test-connection").wait_for()
        return cls(page)

    def standard(self, name):
        return self.page.locator(f"#{name}")

    def extra(self, name):
        return self.page.locator(f"#extra__truto__{name}")

    def fill_endpoint(self, url, token):
        self.standard("host").fill(url)
        self.standard("password").fill(token)
        self.standard("port").fill(str(urlsplit(url).port))

    def pressed_test(self):
        """Press Test; give whether it passed, and what Airflow says below the menu, in a box of always one colour."""
        with self.page.expect_response("**/connections/test") as answer:
            self.page.locator("#test-connection").click()
        told = answer.value.json()
        self.page.get_by_text(told["message"], exact=True).wait_for()
        return told["status"], told["message"]

    def save(self):
        self.page.locator("#model_form button[type=submit]").click()
        self.page.wait_for_url("**/connection/list/**")


def test_the_form_has_every_field_with_its_label_and_help_and_none_that_means_nothing(page):
    form = ConnectionForm.new(page, "looked_at")
    for field in EXTRA_FIELDS:
        line = page.locator("tr", has=form.extra(field.name))
        assert field.label in line.inner_text(), field.name
        assert field.description in line.inner_text(), field.name
    labels = [page.locator(f"label[for={name}]").inner_text().strip() for name in ("host", "password")]
    assert labels == ["Base URL", "API token"]
    shown = {name: form.standard(name).get_attribute("placeholder") for name in PLACEHOLDERS}
    assert shown == PLACEHOLDERS
    assert not any(form.standard(name).is_visible() for name in ("login", "schema"))
    assert form.standard("password").get_attribute("type") == "password"


def test_what_is_filled_in_is_tested_saved_and_there_when_it_is_edited(page, airflow):
    form = ConnectionForm.new(page, "truto_acme")
    form.fill_endpoint(airflow.emulator_url, "revoked-last-week")
    form.extra("integrated_account_id").fill(ACME)
    form.extra("data_auth").fill("account")
    form.extra("timeout").fill("30")
    form.extra("max_attempts").fill("3")
    form.extra("verify_tls").fill("false")
    form.extra("allow_http").check()
    works, message = form.pressed_test()
    assert not works
    assert "Truto refused the API token (401). Fix: put a valid API token" in message
    assert "revoked-last-week" not in message

    form.standard("password").fill(TOKEN)
    works, message = form.pressed_test()
    assert works, message
    assert f"Integrated account {ACME}: hubspot, tenant acme, status active" in message
    assert "means nothing" not in message
    form.save()
    filled_in = {
        "integrated_account_id": ACME,
        "data_auth": "account",
        "timeout": "30",
        "max_attempts": 3,
        "verify_tls": "false",
        "allow_http": True,
    }
    before = stored(page, "truto_acme")
    assert before["extra"] == filled_in

    form = ConnectionForm.edit(page, "truto_acme")
    assert {name: form.extra(name).input_value() for name in filled_in if name != "allow_http"} == {
        name: str(value) for name, value in filled_in.items() if name != "allow_http"
    }
    assert form.extra("allow_http").is_checked()
    assert TOKEN not in page.content()
    works, message = form.pressed_test()  # the form does not know the token that is stored
    assert not works
    assert "type it once more to test" in message
    form.standard("description").fill("edited")
    form.save()
    assert stored(page, "truto_acme") == {**before, "description": "edited"}
    airflow.test_stored("truto_acme")


@pytest.mark.parametrize(
    ("host", "account", "said"),
    [
        ("http://127.0.0.1:9", "", "Connection refused.* Fix: check the connection's Base URL"),
        (None, UMBRELLA, "needs_reauth. Not ready for calls: the customer must"),
    ],
    ids=["an unreachable host", "a customer who must reconnect"],
)
def test_what_does_not_work_says_what_to_do(page, airflow, host, account, said):
    form = ConnectionForm.new(page, "broken")
    form.fill_endpoint(host or airflow.emulator_url, TOKEN)
    form.standard("port").fill("")
    form.extra("integrated_account_id").fill(account)
    works, message = form.pressed_test()
    assert not works
    assert re.search(said, message), message


def test_a_zero_and_a_false_that_the_form_cannot_show_outlive_an_edit(page, airflow):
    airflow.add("truto_json", {"verify_tls": False, "max_wait": 0, "requests_per_second": 0, "timeout": 2.5})
    form = ConnectionForm.edit(page, "truto_json")
    form.standard("description").fill("edited")
    form.save()
    assert stored(page, "truto_json")["extra"] == {
        **UNTOUCHED,
        "verify_tls": "false",
        "max_wait": "0",
        "requests_per_second": "0",
        "timeout": "2.5",
    }
    form = ConnectionForm.edit(page, "truto_json")
    assert [form.extra(name).input_value() for name in ("verify_tls", "max_wait", "timeout")] == ["false", "0", "2.5"]


@pytest.mark.parametrize(("name", "value"), [("max_attempts", "0"), ("data_auth", "apy"), ("verify_tls", "no")])
def test_a_value_that_can_never_be_right_is_not_saved(page, name, value):
    form = ConnectionForm.new(page, "mistaken")
    form.extra(name).fill(value)
    form.standard("conn_id").page.locator("#model_form button[type=submit]").click()
    page.locator("tr", has=form.extra(name)).locator(".alert").wait_for()
    assert page.request.get("/api/v1/connections/mistaken").status == 404
