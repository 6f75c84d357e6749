"""Rows without an id find their records: by a list or a filter, none, several, created, remembered, over tries."""

from __future__ import annotations

from collections import Counter

import pytest
from bulk_operator import connect, context_of, run
from bulk_world import account_number, read_ledger

from airflow_provider_truto._compat import AirflowException, AirflowFailException
from airflow_provider_truto.operators.unified import TrutoBulkUnifiedOperator

ACCOUNT = account_number(0)
OTHER = account_number(1)


@pytest.fixture
def sites(one):
    """Each customer's record ``r3`` has the website ``r3.example``, and so on."""
    for account in one.accounts:
        for record_id, stored in one.state.records[account]["crm/accounts"].items():
            stored["properties"]["website"] = f"https://www.{record_id}.example/"
    return one


@pytest.fixture
def match(task):
    """A function that makes a task which finds accounts by their websites."""

    def make(rows, **arguments):
        return task(rows, **{"match_on": "website", **arguments})

    return make


def row(site, text="new", account=ACCOUNT, **body):
    return {"body": {"website": site, "description": text, **body}, "integrated_account_id": account}


def calls(truto, method=None, kind="accounts"):
    return [
        request
        for request in truto.emulator.requests
        if request["path"][:3] == ["unified", "crm", kind] and method in (None, request["method"])
    ]


def stored(truto, account=ACCOUNT, kind="crm/accounts"):
    return truto.state.records[account][kind]


def told(output):
    return [line for _, line in sorted(read_ledger(output).rows.items())]


@pytest.mark.parametrize(
    ("arguments", "requests"), [({"max_changes": 4}, 12), ({"validate_first": True, "preflight": True}, 20)]
)
def test_calls_before_the_first_write_are_counted_as_well(sites, match, arguments, requests):
    counts = run(match([row("r1.example", account=account) for account in sites.accounts], **arguments))
    assert counts["updated"] == 4
    assert counts["requests"] == len(sites.emulator.requests) == requests


# ----------------------------------------------------------------------------------------------------------- one list


def test_rows_find_their_records_by_one_list_of_each_customer(sites, match, output):
    rows = [row(f"R{number}.EXAMPLE", f"new {number}", account) for account in sites.accounts for number in range(10)]
    counts = run(match(rows))
    assert (counts["updated"], counts["created"], counts["requests"]) == (40, 0, 44)
    assert Counter(call["method"] for call in calls(sites)) == {"PATCH": 40, "GET": 4}
    for account in sites.accounts:
        assert [sites.text_of(account, f"r{number}") for number in range(10)] == [f"new {n}" for n in range(10)]
    assert [line["id"] for line in told(output)] == [f"r{number}" for number in range(10)] * 4
    assert {len(line["match"]) for line in told(output)} == {1}


def test_a_row_with_an_id_needs_no_list(sites, match):
    assert run(match([{**row("r1.example"), "id": "r2"}]))["updated"] == 1
    assert sites.text_of(ACCOUNT, "r2") == "new"
    assert calls(sites, "GET") == []


def test_an_empty_id_counts_as_missing(sites, match, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(f"id,integrated_account_id,website,description\n,{ACCOUNT},r1.example,csv\n")
    assert run(match(str(path)))["updated"] == 1
    other = match([{**row("r2.example", "json"), "id": ""}], output_path=f"file://{tmp_path}/other")
    assert run(other)["updated"] == 1
    assert [sites.text_of(ACCOUNT, record) for record in ("r1", "r2")] == ["csv", "json"]


def test_every_page_of_a_list_is_read(one, match):
    for number in range(250):
        one.state.records[ACCOUNT]["crm/accounts"][f"n{number}"] = {
            "id": f"n{number}",
            "properties": {"name": "x", "website": f"n{number}.example"},
        }
    assert run(match([row("n249.example")], match_by="list"))["updated"] == 1
    assert [dict(call["query"])["limit"] for call in calls(one, "GET")] == ["100"] * 3
    assert one.text_of(ACCOUNT, "n249") == "new"


@pytest.mark.parametrize(
    ("match_on", "body", "found"),
    [
        ("name", {"name": " company  R4 "}, "r4"),
        ("custom_fields.external_id", {"custom_fields": {"external_id": 5}}, "r5"),
        (["custom_fields.external_id", "website"], {"website": "r6.example"}, "r6"),
        (["custom_fields.external_id", "name"], {"name": "Company r7", "custom_fields": {"external_id": 5}}, "r5"),
        (["custom_fields.external_id", "name"], {"name": "Company r7", "custom_fields": {"external_id": 6}}, "r7"),
        ("match_functions:read_last", {"name": "anything r8"}, "r8"),
    ],
)
def test_what_a_record_is_found_by(sites, task, match_on, body, found, tmp_path, monkeypatch):
    (tmp_path / "match_functions.py").write_text("def read_last(record):\n    return record['name'].split()[-1]\n")
    monkeypatch.syspath_prepend(tmp_path)
    stored(sites)["r5"]["properties"]["customProperties"] = {"external_id": "5"}
    run(task([{"body": {**body, "description": "found"}, "integrated_account_id": ACCOUNT}], match_on=match_on))
    assert [record for record in stored(sites) if sites.text_of(ACCOUNT, record) == "found"] == [found]


def test_contacts_are_found_by_any_of_their_addresses(one, output):
    one.state.records[ACCOUNT]["crm/contacts"] = {}
    for number in range(3):
        addresses = [{"email": f"c{number}@x.example"}, {"email": f"C{number}@Y.example"}]
        properties = {"lastName": "x", "emails": addresses}
        stored(one, kind="crm/contacts")[f"c{number}"] = {"id": f"c{number}", "properties": properties}
    body = {"email_addresses": [{"email": "nobody@x.example"}, {"email": "c2@y.example"}], "title": "found"}
    task = TrutoBulkUnifiedOperator(
        task_id="bulk",
        model="crm",
        resource="contacts",
        match_on="email_addresses",
        source=[{"body": body, "integrated_account_id": ACCOUNT}],
        output_path=f"file://{output}",
        max_failures=0,
    )
    assert run(task)["updated"] == 1
    assert stored(one, kind="crm/contacts")["c2"]["properties"]["jobTitle"] == "found"


# -------------------------------------------------------------------------------------------------- none, and several


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        ({}, "failed", "no_match"),
        ({"on_missing": "skip"}, "skipped", "no_match"),
        ({"on_missing": "create"}, "created", None),
    ],
)
def test_what_becomes_of_a_row_whose_record_there_is_not(sites, match, output, arguments, status, error):
    task = match([row("https://other.example/x", name="Other"), row("r1.example")], **arguments)
    if status == "failed":
        with pytest.raises(AirflowFailException, match="none of this customer's 10 accounts has website 'other"):
            run(task)
    else:
        run(task)
    missing, found = told(output)
    assert (missing["status"], missing.get("error"), found["status"]) == (status, error, "updated")
    assert missing.get("tolerated", False) is (status == "skipped")
    assert len(stored(sites)) == 10 + (status == "created")
    if status == "created":
        assert stored(sites)[missing["id"]]["properties"]["name"] == "Other"


@pytest.mark.parametrize(("on_ambiguous", "status"), [("fail", "failed"), ("skip", "skipped")])
def test_a_row_that_several_records_fit_names_them(sites, match, output, on_ambiguous, status):
    stored(sites)["r7"]["properties"]["website"] = "http://r1.example"
    run(match([row("r1.example")], on_ambiguous=on_ambiguous, on_missing="create", max_failures=None))
    [line] = told(output)
    assert (line["status"], line["error"]) == (status, "ambiguous_match")
    assert "2 accounts of this customer have website 'r1.example': r1, r7." in line["message"]
    assert len(calls(sites)) == len(calls(sites, "GET"))


def test_a_row_that_says_nothing_of_its_record_is_a_problem_of_its_own(sites, match, output):
    rows = [row("n/a"), {**row("r1.example"), "body": {"description": "x"}}, row("r2.example")]
    with pytest.raises(AirflowFailException, match="2 of 3 records failed"):
        run(match(rows))
    first, second, third = told(output)
    assert "/match_on: has website, which is not a website" in first["message"]
    assert "/match_on: has no website" in second["message"]
    assert third["status"] == "updated"


def test_values_are_not_told_where_they_are_hidden(sites, match, output, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TRUTO__HIDE_VALUES", "true")
    with pytest.raises(AirflowFailException) as raised:
        run(match([row("secret.example")]))
    assert "has website. Nothing" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_rows_for_one_record_are_sent_in_their_order_and_told(sites, match, output, logged):
    rows = [row("r1.example", f"{number}") for number in range(5)] + [{**row("x", "last"), "id": "r1"}]
    assert run(match(rows))["updated"] == 6
    assert sites.text_of(ACCOUNT, "r1") == "last"
    sent = [call["body"]["description"] for call in calls(sites, "PATCH")]
    assert sent == ["0", "1", "2", "3", "4", "last"]
    assert [line.get("message") for line in told(output)] == [
        None,
        *["row 0 was about the same record, r1: both were sent, in their order"] * 4,
        None,
    ]
    assert "4 rows of this try were about a record that an earlier row was about" in logged()


def test_a_row_that_finds_a_record_waits_for_an_earlier_one_that_names_it(sites, match):
    sites.emulator.fault(method="PATCH", delay_before=0.5)
    assert run(match([{**row("r1.example", "first"), "id": "r1"}, row("r1.example", "second")]))["updated"] == 2
    assert sites.text_of(ACCOUNT, "r1") == "second"


# ------------------------------------------------------------------------------------------------------------ creates


def test_what_a_run_creates_is_found_by_its_next_rows(sites, match, output):
    rows = [
        row("new.example", "one", name="New"),
        row("r1.example"),
        row("www.NEW.example", "two"),
        {"body": {"name": "new", "description": "three"}, "integrated_account_id": ACCOUNT},
        row("new.example", "elsewhere", OTHER, name="New"),
    ]
    counts = run(match(rows, match_on=["website", "name"], on_missing="create"))
    assert (counts["created"], counts["updated"]) == (2, 3)
    lines = told(output)
    assert len({lines[0]["id"], lines[2]["id"], lines[3]["id"]}) == 1
    assert sites.text_of(ACCOUNT, lines[0]["id"]) == "three"
    assert (len(stored(sites)), len(stored(sites, OTHER))) == (11, 11)


def test_what_is_created_is_checked_and_typed_as_an_update_is(sites, match, output):
    rows = [
        row("new.example", name="New", number_of_employees="12"),
        row("wrong.example", name="Wrong", number_of_employees="many"),
    ]
    with pytest.raises(AirflowFailException, match="/body/number_of_employees"):
        run(match(rows, on_missing="create"))
    created, wrong = told(output)
    assert stored(sites)[created["id"]]["properties"]["employeeCount"] == 12
    assert (wrong["status"], len(stored(sites))) == ("failed", 11)


def test_rows_are_checked_before_the_first_write_without_a_list(sites, match):
    rows = [row("n/a"), row("new.example"), row("r1.example", number_of_employees="many")]
    with pytest.raises(AirflowFailException, match="2 rows of the source are not valid"):
        run(match(rows, validate_first=True, on_missing="create", skip_unchanged=True))
    assert calls(sites) == []


@pytest.mark.parametrize("schema", ["packaged", "live", None])
def test_rows_that_are_checked_first_are_updated_or_created_then(sites, match, schema):
    rows = [row("r1.example"), row("new.example", name="New")]
    counts = run(match(rows, validate_first=True, on_missing="create", schema=schema))
    assert (counts["updated"], counts["created"]) == (1, 1)


def test_what_is_created_is_not_compared_with_what_there_was(sites, match):
    rows = [row("new.example", name="New"), row("https://www.r1.example/", None)]
    del rows[1]["body"]["description"]
    counts = run(match(rows, on_missing="create", skip_unchanged=True))
    assert (counts["created"], counts["unchanged"]) == (1, 1)


def test_a_create_that_is_not_confirmed_is_found_all_the_same(sites, match, output):
    sites.emulator.fault(method="POST", headers={}, apply=True, body={"id": "n1", "name": "Another"})
    stored(sites)["n1"] = {"id": "n1", "properties": {"name": "Another", "website": "else.example"}}
    rows = [row("new.example", name="New"), row("new.example", "two")]
    with pytest.raises(AirflowFailException, match="The write HAS happened"):
        run(match(rows, on_missing="create", verify="fail"))
    assert [line["status"] for line in told(output)] == ["failed", "updated"]
    assert [line["id"] for line in told(output)] == ["n1", "n1"]


@pytest.mark.parametrize("is_shown", [True, False])
def test_a_create_whose_answer_was_lost_is_not_repeated_whether_a_list_shows_it_or_not(
    sites, match, output, is_shown
):
    sites.emulator.fault(method="POST", reset="after")
    rows = [row("new.example", name="New"), row("new.example", "two")]
    with pytest.raises(AirflowException):
        run(match(rows, on_missing="create"))
    assert [line["status"] for line in told(output)] == ["failed", "skipped"]
    assert len(stored(sites)) == 11
    if not is_shown:
        sites.emulator.fault(method="GET", path="accounts$", body={"result": []})
    counts = run(match(rows, on_missing="create"), try_number=2)
    assert (counts["created"], counts["updated"]) == ((0, 2) if is_shown else (1, 1))
    assert len(stored(sites)) == 11


def test_a_later_try_finds_what_an_earlier_one_has_created_without_a_list(sites, match, output):
    rows = [row("new.example", name="New"), row("new.example", "two")]
    sites.emulator.fault(method="PATCH", status=500)
    with pytest.raises(AirflowException):
        run(match(rows, on_missing="create"))
    before = len(calls(sites))
    assert run(match(rows, on_missing="create"), try_number=2)["updated"] == 1
    assert [call["method"] for call in calls(sites)[before:]] == ["PATCH"]
    assert len(stored(sites)) == 11


def test_a_create_that_is_refused_leaves_the_next_row_its_turn(sites, match, output):
    sites.emulator.fault(method="POST", status=422)
    with pytest.raises(AirflowFailException, match="1 of 2 records failed"):
        run(match([row("new.example", name="One"), row("new.example", name="Two")], on_missing="create"))
    assert [line["status"] for line in told(output)] == ["failed", "created"]


def test_a_create_whose_answer_names_no_id_is_not_made_twice(sites, match, output):
    sites.emulator.fault(method="POST", apply=True, body={"name": "New"})
    with pytest.raises(AirflowFailException, match="the CRM's answer named no id"):
        run(match([row("new.example", name="New"), row("new.example", "two")], on_missing="create"))
    assert len(stored(sites)) == 11


# ------------------------------------------------------------------------------------------------- a list that is bad


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"result": [], "is_partial_response": True}, "Truto says that the list is not whole"),
        ({"result": [], "next_cursor": "again"}, "Truto says that the list is not whole"),
    ],
)
def test_of_a_list_that_is_not_whole_nothing_is_told_to_be_missing(sites, match, output, answer, message):
    sites.emulator.fault(method="GET", path="accounts$", body=answer, times=None)
    with pytest.raises(AirflowFailException, match=message):
        run(match([row("new.example", name="New")], on_missing="create", match_by="list"))
    assert len(calls(sites)) == len(calls(sites, "GET"))


def test_where_a_customer_cannot_be_listed_their_rows_wait_for_the_next_try_and_others_go_on(sites, match, output):
    sites.emulator.fault(method="GET", account=ACCOUNT, status=502)
    rows = [row("r1.example"), row("r2.example"), {**row("x"), "id": "r3"}, row("r1.example", account=OTHER)]
    with pytest.raises(AirflowException):
        run(match(rows))
    lines = told(output)
    assert [line["status"] for line in lines] == ["skipped", "skipped", "updated", "updated"]
    assert f"the records of customer {ACCOUNT} could not be read" in lines[0]["message"]
    assert run(match(rows), try_number=2)["updated"] == 4


def test_a_customer_who_has_to_reconnect_costs_one_call(sites, match, output):
    sites.state.accounts[ACCOUNT].require_reauth("gone")
    with pytest.raises(AirflowException):
        run(match([row("r1.example"), row("r2.example"), row("r1.example", account=OTHER)]))
    assert [line["status"] for line in told(output)] == ["skipped", "skipped", "updated"]
    assert len([call for call in calls(sites) if ["integrated_account_id", ACCOUNT] in map(list, call["query"])]) == 1


def fail_for_r5(record):
    if record.get("id") == "r5":
        raise KeyError("name")
    return record["website"]


def test_a_function_that_fails_on_a_record_stops_its_customer_rather_than_create(sites, match, output):
    rows = [row("new.example", name="New")]
    with pytest.raises(AirflowFailException, match="match_on raised KeyError for the record r5"):
        run(match(rows, match_on=fail_for_r5, on_missing="create"))
    assert len(calls(sites)) == len(calls(sites, "GET"))


def test_while_one_customer_is_listed_others_go_on(sites, match, monkeypatch):
    sites.emulator.fault(method="GET", account=ACCOUNT, delay_before=0.5)
    run(match([row("r1.example"), *(row(f"r{n}.example", account=OTHER) for n in range(10))]))
    order = [dict(call["query"])["integrated_account_id"] for call in calls(sites, "PATCH")]
    assert order == [*[OTHER] * 10, ACCOUNT]


# ------------------------------------------------------------------------------------------------------------ filters


def fill(truto, count):
    for number in range(count):
        truto.state.records[ACCOUNT]["crm/accounts"][f"n{number}"] = {
            "id": f"n{number}",
            "properties": {"name": f"N {number}", "website": f"n{number}.example"},
        }


def names_of(calls):
    return [next((name for name, _ in call["query"] if name in {"website", "name"}), "list") for call in calls]


def test_a_filter_is_asked_for_each_row(one, match):
    fill(one, 300)
    assert run(match([row("n250.example"), row("n9.example")], match_by="filter"))["updated"] == 2
    asked = calls(one, "GET")
    assert names_of(call for call in asked if call["path"][-1] == "accounts") == ["website"] * 2
    assert [one.text_of(ACCOUNT, record) for record in ("n250", "n9")] == ["new", "new"]


def test_the_answer_of_a_filter_is_compared_as_well(one, match, output):
    fill(one, 3)
    answer = {"result": [{"id": "n1", "website": "no.example"}]}
    one.emulator.fault(method="GET", path="accounts$", times=None, body=answer)
    with pytest.raises(AirflowFailException, match="none of the filtered accounts has website 'n2"):
        run(match([row("n2.example")], match_by="filter"))


def test_a_filter_that_is_ignored_is_told(one, match, monkeypatch):
    fill(one, 500)
    monkeypatch.setattr("airflow_provider_truto.emulator.http.filters._build_conditions", lambda _wanted: [])
    with pytest.raises(AirflowFailException, match="answers the filter 'website' with more than 3 pages"):
        run(match([row("n2.example")], match_by="filter"))


@pytest.mark.parametrize(("match_by", "pages"), [("auto", 10), ("filter", 0)])
def test_where_truto_documents_no_filter_none_is_used(one, match, match_by, pages):
    fill(one, 950)
    stored(one)["n900"]["properties"]["customProperties"] = {"key": "a"}
    rows = [{"body": {"custom_fields": {"key": "A"}}, "integrated_account_id": ACCOUNT}]
    task = match(rows, match_on="custom_fields.key", match_by=match_by)
    if match_by == "filter":
        with pytest.raises(AirflowFailException, match="Truto documents no filter by custom_fields"):
            run(task)
    else:
        assert run(task)["updated"] == 1
    assert len([call for call in calls(one, "GET") if call["path"][-1] == "accounts"]) == pages


@pytest.mark.parametrize(
    ("records", "rows", "expected"),
    [
        (50, 1, ["list"]),
        (950, 1, ["list", "website"]),
        (950, 3, ["list"] * 3 + ["website"] * 3),
        (950, 20, ["list"] * 10),
    ],
)
def test_auto_reads_no_more_pages_than_rows_wait(one, match, records, rows, expected):
    fill(one, records)
    assert run(match([row(f"n{records - 1 - number}.example") for number in range(rows)]))["updated"] == rows
    asked = [call for call in calls(one, "GET") if call["path"][-1] == "accounts"]
    assert names_of(asked) == expected


def test_a_record_on_a_page_that_was_read_may_not_be_the_only_one(one, match, output):
    fill(one, 950)
    stored(one)["n900"]["properties"]["website"] = "n0.example"
    with pytest.raises(AirflowFailException, match="2 accounts of this customer have website 'n0"):
        run(match([row("n0.example")]))


def test_auto_does_not_trust_a_filter_that_finds_nothing(one, match, output):
    fill(one, 950)
    stored(one)["n900"]["properties"]["website"] = "HTTPS://WWW.N900.example"  # a filter compares letter by letter
    assert run(match([row("n900.example")], on_missing="create"))["updated"] == 1
    assert told(output)[0]["id"] == "n900"


# -------------------------------------------------------------------------------------- with a plan, and with a state


def test_a_preview_tells_what_would_be_created_changed_missing_and_ambiguous(sites, match, output):
    stored(sites)["r7"]["properties"]["website"] = "http://r1.example"
    rows = [row("r2.example"), row("new.example", name="New"), row("r1.example"), row("n/a")]
    shown = run(match(rows, on_missing="create", preview=True, max_failures=None))
    assert {name: shown[name] for name in ("changed", "created", "ambiguous", "wrong")} == {
        "changed": 1,
        "created": 1,
        "ambiguous": 1,
        "wrong": 1,
    }
    assert calls(sites, "POST") == calls(sites, "PATCH") == []
    shown = run(match(rows[:2], preview=True, max_failures=None, output_path=f"file://{output}-2"))
    assert (shown["changed"], shown["missing"]) == (1, 1)


def nightly(match, run_id, rows, **arguments):
    task = match(rows, changed_only=True, on_missing="create", **arguments)
    context = context_of(task)
    context["ti"].run_id = run_id
    return task.execute(context)


def test_with_a_state_the_next_run_lists_nothing_and_sends_what_changed(sites, match):
    rows = [row("r1.example"), row("new.example", name="New")]
    first = nightly(match, "first", rows)
    assert (first["updated"], first["created"]) == (1, 1)
    before = len(calls(sites))
    second = nightly(match, "second", rows)
    assert (second["unchanged"], len(calls(sites))) == (2, before)
    third = nightly(match, "third", [row("https://r1.example", "newer"), row("NEW.example", "newer", name="New")])
    assert third["updated"] == 2
    assert [call["method"] for call in calls(sites)[before:]] == ["PATCH", "PATCH"]
    assert len(stored(sites)) == 11


@pytest.mark.parametrize("by", ["list", "filter"])
@pytest.mark.parametrize("resumes", [False, True])
def test_a_later_row_of_a_record_wins_over_a_new_one_that_finds_it_though_it_is_unchanged(sites, match, resumes, by):
    stored(sites)["r1"]["properties"]["website"] = "r1.example"  # a filter compares letter by letter
    by_id = {"id": "r1", "integrated_account_id": ACCOUNT, "body": {"description": "by id"}}
    other = {**by_id, "id": "r2"}
    nightly(match, "first", [by_id, other])
    rows = [row("r1.example", "found"), by_id, other]
    shown = nightly(match, "look", rows, match_by=by, preview=True)
    assert (shown["changed"], shown["unchanged"]) == (2, 1)
    if resumes:
        sites.emulator.fault(method="PATCH", skip=1, status=500)
        with pytest.raises(AirflowException, match="1 of 3 records failed"):
            nightly(match, "second", rows, match_by=by)
    counts = nightly(match, "second", rows, match_by=by)
    assert (counts["updated"], counts["unchanged"]) == (2, 1)
    assert sites.text_of(ACCOUNT, "r1") == "by id"
    before = len(calls(sites))
    nightly(match, "third", [by_id, other])
    assert len(calls(sites)) == before


def test_an_unchanged_row_stays_unsent_where_a_new_one_before_it_was_not_written(sites, match):
    by_id = {"id": "r1", "integrated_account_id": ACCOUNT, "body": {"description": "by id"}}
    nightly(match, "first", [by_id])
    sites.emulator.fault(method="PATCH", status=422)
    counts = nightly(match, "second", [row("r1.example", "found"), by_id], max_failures=1)
    assert (counts["failed"], counts["unchanged"]) == (1, 1)


@pytest.mark.parametrize("is_elsewhere", [True, False])
def test_a_remembered_record_that_is_gone_is_matched_again_once(sites, match, is_elsewhere):
    nightly(match, "first", [row("r1.example")])
    del stored(sites)["r1"]
    if is_elsewhere:  # people have merged the two
        stored(sites)["r2"]["properties"]["website"] = "r1.example"
    before = len(calls(sites))
    counts = nightly(match, "second", [row("r1.example", "newer", name="One")])
    assert (counts["updated"], counts["created"]) == ((1, 0) if is_elsewhere else (0, 1))
    sent = [call["method"] for call in calls(sites)[before:]]
    assert sent == ["PATCH", "GET", "PATCH" if is_elsewhere else "POST"]
    if is_elsewhere:
        assert sites.text_of(ACCOUNT, "r2") == "newer"


def test_a_record_that_is_listed_and_cannot_be_written_fails_and_is_not_created(sites, match, output):
    sites.emulator.fault(method="PATCH", status=404, body={"truto_is_remote_error": True}, times=None)
    with pytest.raises(AirflowFailException):
        run(match([row("r1.example", name="One")], on_missing="create"))
    assert ([line["error"] for line in told(output)], len(stored(sites))) == (["not_found"], 10)


# --------------------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"on_missing": "create"}, "on_missing: means nothing without match_on"),
        ({"on_ambiguous": "skip"}, "on_ambiguous: means nothing without match_on"),
        ({"match_by": "list"}, "match_by: means nothing without match_on"),
        ({"match_on": "name", "method": "create"}, "match_on: is for update, not for create; use update with"),
        ({"match_on": "name", "method": "delete"}, "match_on: is for update, not for delete"),
        ({"match_on": "name", "method": "archive"}, "match_on: is for update, not for archive"),
        ({"match_on": "name", "changed_only": True, "on_removed": "delete"}, "on_removed: is 'ignore' or 'report'"),
        ({"match_on": "name", "shard": {"index": 0, "count": 2, "by": "id"}}, "shard: is by account with match_on"),
        ({"match_on": ""}, "match_on: expects the name of a field, or a function, got the text ''"),
    ],
)
def test_arguments_that_contradict_each_other_break_the_dag_file(output, arguments, why):
    given = {"model": "crm", "resource": "accounts", "source": [], "output_path": f"file://{output}", **arguments}
    with pytest.raises(ValueError, match=why):
        TrutoBulkUnifiedOperator(task_id="bulk", max_failures=0, **given)


def test_a_function_that_there_is_not_fails_the_task_before_anything_is_sent(sites, match):
    with pytest.raises(AirflowFailException, match="/match_on: match_on: 'no_such:key' cannot be imported"):
        run(match([row("r1.example")], match_on="no_such:key"))
    assert calls(sites) == []


# --------------------------------------------------------------------------------------- whose records may be listed

#: name: what the connection says, what the task says, the customer of a row, and why none of its records is asked for
NOT_ASKED = {
    "not allowed": (
        {"allowed_integrated_accounts": OTHER}, {}, ACCOUNT,
        "is not among the connection's allowed_integrated_accounts",
    ),
    "not an account": ({}, {}, "acme", "is not the UUID of an integrated account"),
    "nobody": ({}, {}, None, "is missing: name the customer's integrated account"),
    "another tenant's": ({}, {"expected_tenant_id": "tenant-1"}, ACCOUNT, "belongs to tenant 'tenant-0'"),
}  # fmt: skip


@pytest.mark.parametrize("is_planned", [False, True], ids=["sent", "planned"])
@pytest.mark.parametrize("name", NOT_ASKED)
def test_no_record_is_listed_of_a_customer_whom_the_task_may_not_write_to(name, is_planned, sites, match, output):
    extra, given, account, reason = NOT_ASKED[name]
    connect(sites, **extra)
    unmeant = [{**row(site), "integrated_account_id": account} for site in ("r1.example", "r2.example")]
    if account is None:
        unmeant = [{"body": one["body"]} for one in unmeant]
    rows = [*unmeant, row("r1.example", account=OTHER)]
    plan = {"max_changes": 3} if is_planned else {}
    assert run(match(rows, max_failures=2, on_missing="create", **given, **plan))["updated"] == 1
    assert {dict(call["query"])["integrated_account_id"] for call in calls(sites)} == {OTHER}
    assert [line["status"] for line in told(output)] == ["skipped", "skipped", "updated"]
    assert all(reason in line["message"] for line in told(output)[:2])
