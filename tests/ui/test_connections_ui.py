"""The connection form and its test, as people see them: Airflow's UI in a real browser."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import pytest
from pictures import only_for_a_picture, take_picture

from airflow_provider_truto._compat import IS_AIRFLOW_2
from airflow_provider_truto.connection_fields import EXTRA_FIELDS, PLACEHOLDERS
from airflow_provider_truto.emulator import ACME, TOKEN, UMBRELLA

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(IS_AIRFLOW_2, reason="the web server of Airflow 3"),
]

BY_NAME = {field.name: field for field in EXTRA_FIELDS}


# ------------------------------------------------------------------------------------------------ Airflow's UI


class ConnectionForm:
    """Airflow's dialog for one connection."""

    def __init__(self, page):
        self.page = page
        self.dialog = page.get_by_role("dialog")

    @classmethod
    def new(cls, page, conn_id):
        """Open an empty form and choose the type from the dropdown, as somebody who types its first letters."""
        page.goto("/connections")
        page.get_by_role("button", name="Add Connection").click()
        form = cls(page)
        form.dialog.get_by_label("Connection ID").fill(conn_id)
        form.dialog.get_by_role("combobox").click()  # waits for the types, typing would not
        form.dialog.get_by_role("combobox").press_sequentially("tru")
        page.get_by_role("option", name="Truto", exact=True).click()
        form.standard("password").wait_for()
        return form

    @classmethod
    def edit(cls, page, conn_id):
        row(page, conn_id).get_by_role("button", name="Edit Connection").click()
        form = cls(page)
        form.standard("password").wait_for()
        return form

    def standard(self, name):
        return self.dialog.locator(f"[name={name}]")

    def extra(self, name):
        return self.dialog.locator(f"[name=element_{name}]")

    def choose(self, name, option):
        """Take an option of an extra's dropdown."""
        group = self.dialog.get_by_role("group").filter(has=self.page.locator(f"[name=element_{name}]")).first
        group.get_by_role("combobox").click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def section(self, title):
        """The open section of a title: a click opens it and closes the others."""
        trigger = self.dialog.get_by_role("button", name=title, exact=True)
        if trigger.get_attribute("aria-expanded") != "true":
            trigger.click()
        return self.dialog.locator(f'[id="{trigger.get_attribute("aria-controls")}"]')

    def fill_endpoint(self, url, token):
        section = self.section("Standard Fields")
        section.get_by_label("Base URL").fill(url)
        section.get_by_role("textbox", name="API token").fill(token)
        section.get_by_label("Port").fill(str(urlsplit(url).port))

    def save(self):
        self.dialog.get_by_role("button", name="Save").click()
        self.dialog.wait_for(state="hidden")


def row(page, conn_id):
    """A connection's line in the list."""
    return page.get_by_role("row").filter(has=page.get_by_role("cell", name=conn_id, exact=True))


def pressed_test(page, conn_id):
    """Press Test in the list; give the kind (``success``: green, ``error``: red) and the text of what pops up."""
    row(page, conn_id).get_by_role("button", name="Test Connection").click()
    toast = page.locator("[data-scope=toast][data-part=root]").filter(has_text="Test Connection")
    # It is gone after two seconds, so everything is read in one go.
    kind, text = toast.first.evaluate("toast => [toast.dataset.type, toast.innerText]")
    toast.first.wait_for(state="detached")
    return kind, text


def stored(page, conn_id):
    """A connection as Airflow's API gives it, its extras as an object."""
    connection = page.request.get(f"/api/v2/connections/{conn_id}").json()
    return {**connection, "extra": json.loads(connection["extra"])}


# -------------------------------------------------------------------------------------------------- the form


def test_the_form_asks_for_a_description_the_url_the_token_and_the_port(page):
    form = ConnectionForm.new(page, "looked_at")
    section = form.section("Standard Fields")
    assert section.locator("label").all_inner_texts() == ["Description", "Base URL", "API token", "Port"]
    placeholders = {
        name: form.standard(name).get_attribute("placeholder") for name in ("description", "host", "password", "port")
    }
    assert placeholders == {"description": "", **PLACEHOLDERS}
    assert form.standard("password").get_attribute("type") == "password"


def test_the_form_has_no_field_that_means_nothing_to_truto(page):
    form = ConnectionForm.new(page, "looked_at")
    names = form.dialog.locator("[name]").evaluate_all("fields => fields.map(field => field.name)")
    extras = [f"element_{field.name}" for field in EXTRA_FIELDS]
    assert names == ["connection_id", "description", "host", "password", "port", *extras]
    # Airflow itself adds the last section to every connection's form.
    sections = form.dialog.locator("button[aria-controls*=accordion]").all_inner_texts()
    assert [title.strip() for title in sections] == ["Standard Fields", "Extra Fields", "Extra Fields JSON"]


def test_the_form_shows_every_extra_with_its_label_and_help_and_its_default(page):
    form = ConnectionForm.new(page, "looked_at")
    section = form.section("Extra Fields")
    for field in EXTRA_FIELDS:
        control = form.extra(field.name)
        group = section.get_by_role("group").filter(has=page.locator(f"[name=element_{field.name}]")).first
        group.scroll_into_view_if_needed()
        label, help_text = group.locator("[data-part=label]").first, group.locator("[data-part=helper-text]")
        assert label.is_visible(), field.name
        assert help_text.is_visible(), field.name
        assert (label.inner_text().strip(), help_text.inner_text().strip()) == (field.label, field.description)
        if field.type == "boolean":
            assert control.get_attribute("type") == "checkbox", field.name
            assert control.is_checked() == field.default, field.name
        elif field.choices:
            assert group.get_by_role("combobox").is_visible(), field.name
            assert control.input_value() == "__null__", field.name
            assert "api (default)" in group.inner_text()
            assert "null" not in group.inner_text()
        else:
            assert control.input_value() == "", field.name
            is_number = field.type in {"integer", "number"}
            assert control.get_attribute("role") == ("spinbutton" if is_number else None), field.name


def test_the_form_requires_nothing_but_the_id_and_the_type(page):
    form = ConnectionForm.new(page, "with_nothing_filled_in")
    required = form.dialog.locator("label[data-required]").all_inner_texts()
    assert [" ".join(label.split()) for label in required] == ["Connection ID *", "Connection Type *"]
    form.save()
    connection = stored(page, "with_nothing_filled_in")
    assert connection["conn_type"] == "truto"
    assert [connection[name] for name in ("host", "login", "password", "port", "schema")] == [None] * 5


def test_a_number_below_its_least_value_cannot_be_entered(page):
    form = ConnectionForm.new(page, "looked_at")
    form.section("Extra Fields")
    attempts = form.extra("max_attempts")
    attempts.fill("0")
    attempts.blur()
    assert attempts.input_value() == str(BY_NAME["max_attempts"].minimum)


@only_for_a_picture
def test_the_picture_of_the_form_is_taken(page):
    form = ConnectionForm.new(page, "truto_default")
    form.standard("password").fill("not a token of anybody")
    form.standard("port").fill("443")
    form.standard("description").fill("Truto, production")
    form.dialog.get_by_role("heading").click()
    take_picture(page, "connection-form.png", form.dialog)


# --------------------------------------------------------------------------------------- saving and testing


def test_what_is_filled_in_is_saved_and_works_and_a_wrong_token_is_told_with_what_to_do(page, airflow):
    form = ConnectionForm.new(page, "truto_acme")
    form.fill_endpoint(airflow.emulator_url, TOKEN)
    form.section("Extra Fields")
    form.extra("integrated_account_id").fill(ACME)
    form.extra("timeout").fill("30")
    form.extra("timeout").blur()
    form.choose("data_auth", "account")
    form.save()

    connection = stored(page, "truto_acme")
    assert (connection["conn_type"], connection["host"]) == ("truto", airflow.emulator_url)
    assert connection["port"] == urlsplit(airflow.emulator_url).port
    assert (connection["login"], connection["schema"]) == (None, None)
    # Airflow's form stores what is not filled in as null.
    untouched = {field.name: field.default for field in EXTRA_FIELDS}
    assert connection["extra"] == {
        **untouched,
        "integrated_account_id": ACME,
        "timeout": 30,
        "data_auth": "account",
    }

    kind, message = pressed_test(page, "truto_acme")
    assert kind == "success", message
    assert "Test Connection Successful" in message
    assert f"Integrated account {ACME}: hubspot, tenant acme, status active" in message
    assert "a token minted for the account" in message

    form = ConnectionForm.edit(page, "truto_acme")
    form.section("Standard Fields").get_by_role("textbox", name="API token").fill("revoked-last-week")
    form.save()
    kind, message = pressed_test(page, "truto_acme")
    assert kind == "error", message
    assert "Test Connection Failed" in message
    assert "401" in message
    assert re.search(r"Fix: .*API token \(Truto's dashboard, API tokens\)", message), message
    assert "revoked-last-week" not in message
    assert TOKEN not in message


def test_the_connection_that_make_ui_stores_works(page):
    page.goto("/connections")
    kind, message = pressed_test(page, "truto_default")
    assert (kind, "The API token works" in message) == ("success", True), message


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"host": "http://127.0.0.1:9", "port": 9}, "Connection refused.* Fix: check the connection's Base URL"),
        (
            {"extra": {"integrated_account_id": UMBRELLA}},
            "needs_reauth. Not ready for calls: the customer must",
        ),
    ],
    ids=["an unreachable host", "a customer who must reconnect"],
)
def test_what_does_not_work_is_red_and_says_what_to_do(page, airflow, wrong, said):
    page.goto("/connections")
    port = urlsplit(airflow.emulator_url).port
    connection = {"host": airflow.emulator_url, "port": port, "password": TOKEN, **wrong}
    named = {"connection_id": "truto_broken", "conn_type": "truto", **connection}
    given = {**named, "extra": json.dumps(wrong.get("extra", {}))}
    page.request.delete("/api/v2/connections/truto_broken")
    assert page.request.post("/api/v2/connections", data=given).ok
    page.reload()
    kind, message = pressed_test(page, "truto_broken")
    assert kind == "error", message
    assert re.search(said, message), message


def test_editing_a_connection_shows_what_is_stored_but_the_token_and_keeps_it(page, airflow):
    form = ConnectionForm.new(page, "truto_edited")
    form.fill_endpoint(airflow.emulator_url, TOKEN)
    form.section("Extra Fields")
    form.dialog.locator("label", has=page.locator("[name=element_verify_tls]")).click()
    form.extra("max_wait").fill("2.5")
    form.extra("max_wait").blur()
    form.save()
    before = stored(page, "truto_edited")["extra"]
    assert (before["verify_tls"], before["max_wait"]) == (False, 2.5)

    form = ConnectionForm.edit(page, "truto_edited")
    assert not form.extra("verify_tls").is_checked()
    assert form.extra("max_wait").input_value() == "2.5"
    section = form.section("Standard Fields")
    assert section.get_by_label("Base URL").input_value() == airflow.emulator_url
    assert section.get_by_role("textbox", name="API token").input_value() in {"", "***"}
    assert TOKEN not in page.content()
    form.standard("description").fill("edited")
    form.save()
    after = stored(page, "truto_edited")
    assert (after["description"], after["extra"]) == ("edited", before)
    kind, message = pressed_test(page, "truto_edited")
    assert kind == "success", message
