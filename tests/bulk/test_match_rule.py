"""By what rows and records are told to be one: spellings, paths, lists, functions. Tables, without a call."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_truto.bulk.matching.normalise import normalise_domain, normalise_email, normalise_text
from airflow_provider_truto.bulk.matching.rule import MatchRule
from airflow_provider_truto.records.render import Missing


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("acme.com", "acme.com"),
        (" HTTPS://WWW.Acme.COM/about?x=1#y ", "acme.com"),
        ("//acme.com", "acme.com"),
        ("https:acme.com", "acme.com"),
        ("acme.com.", "acme.com"),
        ("http://user:secret@acme.com:8080", "acme.com"),
        ("acme.com:443", "acme.com"),
        ("www.acme.co.uk", "acme.co.uk"),
        ("shop.acme.com", "shop.acme.com"),
        ("www.com", "www.com"),
        ("wwwacme.com", "wwwacme.com"),
        ("MÜNCHEN.de", "münchen.de"),
        ("xn--mnchen-3ya.de", "münchen.de"),
        ("mu\u0308nchen.de", "münchen.de"),
        ("ａｃｍｅ．com", "acme.com"),
        ("straße.de", "straße.de"),  # another domain than strasse.de
        ("10.0.0.1", "10.0.0.1"),
        ("https://www.facebook.com/Acme/", "facebook.com/acme"),
        ("linkedin.com/company/acme?trk=x", "linkedin.com/company/acme"),
        ("", None),
        ("n/a", None),
        ("localhost", None),
        ("acme com", None),
        ("two words.com", None),
        (".com", None),
        ("acme..com", None),
        ("xn--\u00fc.de", None),
    ],
)
def test_a_website_is_its_domain(text, domain):
    assert normalise_domain(text) == domain


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (" Ada@Example.COM ", "ada@example.com"),
        ("Ada Lovelace <mailto:Ada@example.com>", "ada@example.com"),
        ("a@xn--mnchen-3ya.de", "a@münchen.de"),
        ("a+b@example.com", "a+b@example.com"),
        ("www@www.example.com", "www@www.example.com"),
        ("ada", None),
        ("@example.com", None),
        ("a b@example.com", None),
        ("ada@localhost", None),
        ("", None),
    ],
)
def test_an_address_is_in_lower_case(text, address):
    assert normalise_email(text) == address


@pytest.mark.parametrize(
    ("text", "normal"),
    [("  ACME  Inc.\t", "acme inc."), ("STRASSE", "strasse"), ("Straße", "strasse"), ("e\u0301", "é"), (" ", None)],
)
def test_text_is_folded_and_trimmed(text, normal):
    assert normalise_text(text) == normal


EXTERNAL = "custom_fields.external_id"
EMAILS = "email_addresses"
ONE = {"name": "Acme", "website": "https://acme.com"}


@pytest.mark.parametrize(
    ("match_on", "row", "record"),
    [
        ("website", {"website": "www.acme.com"}, ONE),
        ("name", {"name": "ACME "}, ONE),
        (EXTERNAL, {"custom_fields": {"external_id": 42}}, {"custom_fields": {"external_id": "42"}}),
        (EXTERNAL, {"custom_fields": {"external_id": Decimal("42")}}, {"custom_fields": {"external_id": 42.0}}),
        ("/custom_fields/a.b", {"custom_fields": {"a.b": "X"}}, {"custom_fields": {"a.b": "x"}}),
        (EMAILS, {EMAILS: ["A@x.de", "b@x.de"]}, {EMAILS: [{"email_address": "B@x.de"}]}),
        (EMAILS, {EMAILS: "a@x.de"}, {EMAILS: [{"email": "b@x.de"}, {"email": "a@x.de"}]}),
        ("urls", {"urls": [{"url": "acme.com", "type": "x"}]}, {"urls": [{"url": "http://www.acme.com"}]}),
        ("tags.name", {"tags": [{"name": "VIP"}]}, {"tags": [{"id": "1", "name": "vip"}]}),
        (["website", "name"], {"name": "Acme"}, ONE),
        (["website", "name"], {"website": "n/a", "name": "Acme"}, ONE),
        (lambda record: record["name"][:2], {"name": "Acme"}, {"name": "Acorn"}),
        ("json:dumps", {"a": None}, {"a": None}),
        (lambda record: record["name"] or "none", {"name": Missing("NULL")}, {"name": "none"}),
    ],
)  # fmt: skip
def test_a_row_and_a_record_that_mean_one_have_a_key_in_common(match_on, row, record):
    rule = MatchRule(match_on)
    keys, problems = rule.read_row(row)
    assert problems == []
    assert len(keys) == len(rule.alternatives)
    assert {key for of_one in keys for key in of_one} & set(rule.read_record(record))


@pytest.mark.parametrize(
    ("match_on", "row", "record"),
    [
        ("website", {"website": "acme.com"}, {"website": "acme.co"}),
        ("name", {"name": "acme.com"}, {"website": "acme.com"}),
        (["website", "name"], {"name": "acme.com"}, {"website": "acme.com"}),
        (
            "custom_fields.external_id",
            {"custom_fields": {"external_id": True}},
            {"custom_fields": {"external_id": 1}},
        ),
        (lambda record: record["name"], {"name": "Acme"}, {"name": "ACME"}),  # as its author made it
        ("name", {"name": "x"}, {}),
        ("website", {"website": "acme.com"}, {"website": {"wrong": 1}}),
    ],
)
def test_others_have_none(match_on, row, record):
    rule = MatchRule(match_on)
    keys, problems = rule.read_row(row)
    assert problems == []
    assert not {key for of_one in keys for key in of_one} & set(rule.read_record(record))


def fail(_record):
    raise KeyError("a value that is nobody's business")


@pytest.mark.parametrize(
    ("match_on", "body", "why"),
    [
        ("website", {}, "has no website: nothing says which record the row means"),
        ("website", None, "has no website"),
        (["website", "name"], {"website": " ", "name": Missing("NULL")}, "has no website or name"),
        ("website", {"website": "n/a"}, "has website, which is not a website"),
        ("name", {"name": {"first": "x"}}, "has name, which is not text"),
        ("custom_fields.id", {"custom_fields": "text"}, "has no custom_fields.id"),
        (fail, {"name": "x"}, ":fail raised KeyError for this row"),
        (lambda _record: None, {"name": "x"}, "has no test_match_rule:<lambda>"),
    ],
)
def test_a_row_by_which_nothing_can_be_found_says_why(match_on, body, why):
    keys, [problem] = MatchRule(match_on).read_row(body)
    assert keys == ()
    assert problem.pointer == "/match_on"
    assert why in problem.message
    assert "nobody" not in problem.message


@pytest.mark.parametrize(
    ("match_on", "why"),
    [
        ([], "names nothing"),
        ("", "expects the name of a field"),
        (7, "expects the name of a field"),
        (["name", "name"], "something twice"),
        ("no_such_module:key", "cannot be imported"),
        ("json:no_such", "cannot be imported"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(match_on, why):
    with pytest.raises(ValueError, match=why):
        MatchRule(match_on)


def test_what_was_looked_for_is_told_unless_values_are_hidden():
    rule = MatchRule(["website", "name", "custom_fields.id"])
    body = {"website": "https://acme.com/x", "name": " Acme"}
    assert rule.describe(body, hide_values=False) == "website 'acme.com' or name 'acme'"
    assert rule.describe(body, hide_values=True) == "website or name"
