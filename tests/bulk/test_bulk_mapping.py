"""Rows of any shape made into records, by templates or by a function of the DAG author."""

from __future__ import annotations

import sys
from datetime import date
from decimal import Decimal
from enum import Enum

import jinja2
import pytest
from bulk_world import account_number, read_ledger
from jinja2.nativetypes import NativeEnvironment
from jinja2.sandbox import SandboxedEnvironment

from airflow_provider_truto.bulk.mapping import FunctionMapping, TemplateMapping
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.sources.files import FileSource
from airflow_provider_truto.bulk.sources.lists import ListSource
from airflow_provider_truto.records.coerce import coerce
from airflow_provider_truto.records.functions import import_function
from airflow_provider_truto.records.render import Missing, Unknown

ENVIRONMENTS = {
    "Airflow's": lambda: SandboxedEnvironment(undefined=jinja2.StrictUndefined),
    "native": lambda: NativeEnvironment(undefined=jinja2.StrictUndefined),
    "lenient": lambda: SandboxedEnvironment(undefined=jinja2.Undefined),
}
each_environment = pytest.mark.parametrize("env", [make() for make in ENVIRONMENTS.values()], ids=ENVIRONMENTS)
ENV = ENVIRONMENTS["Airflow's"]()


def templates(mapping, *, env=ENV, context=None, **options):
    return TemplateMapping(mapping, env=env, context=context or {}, **options)


def body_of(template, row, *, env=ENV, **context):
    """What one template makes of a row, as it would stand in the body."""
    record = templates({"id": "1", "body": {"x": template}}, env=env, context=context).parse(row, 0)
    assert record.problems == ()
    return record.body["x"]


def problems(record):
    return [(problem.pointer, problem.message) for problem in record.problems]


# ---------------------------------------------------------------------------------------------------------- templates


@each_environment
def test_templates_make_a_record_of_a_row(env):
    mapping = templates(
        {
            "id": "{{ row.crm_id }}",
            "integrated_account_id": "{{ row.customer }}",
            "body": {
                "name": "{{ row.first }} {{ row['last'] }}",
                "owner": {"id": "{{ row.owner }}"},
                "tags": ["{{ row.tag }}", "fixed"],
                "number_of_employees": "{{ row.size }}",
                "is_customer": True,
            },
        },
        env=env,
    )
    row = {"crm_id": 17, "customer": "c", "first": "Ada", "last": "L.", "owner": "7", "tag": "{{ 1 }}", "size": 5}
    record = mapping.parse(row, 3)
    assert (record.ordinal, record.id, record.integrated_account_id, record.problems) == (3, "17", "c", ())
    assert record.body == {
        "name": "Ada L.",
        "owner": {"id": "7"},
        "tags": ["{{ 1 }}", "fixed"],
        "number_of_employees": 5,
        "is_customer": True,
    }


@each_environment
@pytest.mark.parametrize(
    "value", [5, 1.5, Decimal("12.50"), True, "5", "+15550100", date(2026, 1, 31), [1], {"a": 1}]
)
def test_a_lone_expression_keeps_its_type(env, value):
    made = body_of("{{ row.x }}", {"x": value}, env=env)
    assert (type(made), made) == (type(value), value)


@each_environment
@pytest.mark.parametrize("template", ["{{ row.x }}", "{{ row.x }}!", "hello {{ row.x }}", "{{ row['x'] }}"])
def test_what_comes_of_none_is_missing_and_never_the_text_none(env, template):
    assert isinstance(body_of(template, {"x": None}, env=env), Missing)


@pytest.mark.parametrize("template", ["{{ row.x }}", "{{ row.x }}!", "hello {{ row.x }}", "{{ row['x'] }}"])
def test_what_is_not_in_the_row_is_a_problem_whatever_on_none_says(template):
    assert isinstance(body_of(template, {}), Unknown)
    for on_none in ("error", "omit", "null"):
        (problem,) = coerce({"deep": [body_of(template, {"y": 1})]}, {}, on_none=on_none).problems
        assert problem.pointer == "/deep/0"
        assert "'x' is unknown" in problem.message
        assert ".get('name')" in problem.message


@pytest.mark.parametrize("template", ["{{ row.get('x') }}", "{{ row.x | default(none) }}"])
def test_a_key_that_only_some_rows_have_can_be_written_as_such(template):
    assert type(body_of(template, {})) is Missing
    assert body_of(template, {"x": 5}) == 5


class Tier(str, Enum):
    GOLD = "gold"


@each_environment
def test_text_of_an_enum_is_its_value_in_the_row_and_in_the_mapping(env):
    mapping = templates(
        {"id": "{{ row.x }}", "body": {"a": "{{ row.x }}", "b": "{{ row.x }}!", Tier.GOLD: [Tier.GOLD]}}, env=env
    )
    record = mapping.parse({"x": Tier.GOLD}, 0)
    assert (record.id, record.body) == ("gold", {"a": "gold", "b": "gold!", "gold": ["gold"]})
    assert {type(item) for item in (record.id, *record.body, record.body["a"])} == {str}


@each_environment
def test_what_is_written_inside_a_template_is_text(env):
    assert body_of("{% set n %}{{ row.x }}{% endset %}{{ n }}", {"x": "1e5"}, env=env) == "1e5"


def test_the_author_s_own_none_clears_a_field_and_that_of_the_row_does_not():
    record = templates({"id": "1", "body": {"a": None, "b": "{{ row.b }}"}}).parse({"b": None}, 0)
    assert record.nulls_are_meant
    assert record.body["a"] is None
    assert record.body["b"] == Missing("{{ row.b }} is None")


def test_the_context_of_the_task_is_there_as_well():
    assert body_of("{{ params.prefix }}-{{ row.x }}", {"x": 1}, params={"prefix": "p"}) == "p-1"


def test_a_row_leaves_nothing_behind_for_the_next():
    mapping = templates({"id": "1", "body": {"x": "{% set y = row.x %}{{ y | default('none') }}"}})
    assert [mapping.parse({"x": n}, 0).body["x"] for n in (1, 2)] == ["1", "2"]


def test_rows_that_are_not_objects_can_be_mapped():
    assert body_of("{{ row[1] }}", ["a", "b"]) == "b"


@pytest.mark.parametrize("key", ["id", "integrated_account_id"])
@pytest.mark.parametrize("row", [{"x": None}, {"x": ""}, {}])
def test_an_id_that_renders_to_nothing_is_a_problem_and_no_default(key, row):
    mapping = templates({"id": "1", "integrated_account_id": "c", "body": {"x": 1}, key: "{{ row.x }}"})
    assert [pointer for pointer, _ in problems(mapping.parse(row, 0))] == [f"/{key}"]


def test_a_whole_body_can_come_from_one_expression():
    record = templates({"id": "1", "body": "{{ row.payload }}"}).parse({"payload": {"name": "x", "phone": None}}, 0)
    assert record.body == {"name": "x", "phone": Missing("{{ row.payload }} → phone is None")}
    assert problems(templates({"id": "1", "body": "{{ row.payload }}"}).parse({"payload": None}, 0)) == [
        ("/body", "{{ row.payload }} is None")
    ]


def test_a_template_that_raises_is_a_problem_at_its_place():
    mapping = templates({"id": "{{ row.a }}", "body": {"x": "{{ 1 / row.n }}", "y": ["{{ [] + row.l }}"]}})
    assert problems(mapping.parse({"a": "1", "n": 0, "l": 1}, 0)) == [
        ("/body/x", "the mapping raised ZeroDivisionError: division by zero"),
        ("/body/y/0", 'the mapping raised TypeError: can only concatenate list (not "int") to list'),
    ]
    assert problems(mapping.parse({"a": "1", "n": 2, "l": []}, 0)) == []


def test_values_stay_out_of_messages_where_they_must():
    def fails(row):
        raise ValueError(f"secret {row['x']}")

    assert problems(FunctionMapping(fails, hide_values=True).parse({"x": "planted"}, 0)) == [
        ("/", "the mapping raised ValueError")
    ]
    mapping = templates({"id": "1", "body": {"x": "{{ row.x + 1 }}"}}, hide_values=True)
    assert problems(mapping.parse({"x": "planted"}, 0)) == [("/body/x", "the mapping raised TypeError")]


@pytest.mark.parametrize(("mapping", "message"), [
    ({"body": {}}, "mapping: names no id: a record has id, body, integrated_account_id"),
    ({"id": "1"}, "mapping: names no body: a record has id, body, integrated_account_id"),
    ({"id": "1", "body": {}, "account": "x"}, "mapping: account means nothing: a record has id, body, "),
    ({"id": "1", "body": {"a": [{"b": "{{ row. }}"}]}}, "mapping: /body/a/0/b: "),
])  # fmt: skip
def test_a_mapping_that_can_make_no_record_is_told_at_once(mapping, message):
    with pytest.raises(ValueError) as told:
        templates(mapping)
    assert str(told.value).startswith(message)


def test_a_mapping_for_creates_needs_no_id_and_one_for_deletes_no_body():
    assert templates({"body": {"x": 1}}, needs_id=False).parse({}, 0).problems == ()
    assert templates({"id": "1"}, needs_body=False).parse({}, 0).problems == ()


# ------------------------------------------------------------------------------------------------------------ columns


def test_a_template_that_names_a_column_which_is_not_there_is_told_before_anything_is_read(tmp_path):
    (tmp_path / "rows.csv").write_text("crm_id,name\n1,x\n")
    mapping = templates({"id": "{{ row.crm_id }}", "body": {"name": "{{ row.nmae }} {{ row['size'] | upper }}"}})
    with pytest.raises(ValueError, match=r"^rows.csv: the mapping names nmae, size; the columns are crm_id, name$"):
        FileSource(tmp_path / "rows.csv", parser=RecordParser(mapping=mapping))


@pytest.mark.parametrize(
    "template",
    [
        "{{ row.x | default('none') }}",
        "{{ row.get('x') }}",
        "{% if row['x'] is defined %}yes{% endif %}",
        "{{ other.x | default(1) }}",
    ],
)
def test_a_template_that_expects_a_column_to_be_away_is_not_told(tmp_path, template):
    (tmp_path / "rows.csv").write_text("crm_id\n1\n")
    mapping = templates({"id": "{{ row.crm_id }}", "body": {"name": template}})
    FileSource(tmp_path / "rows.csv", parser=RecordParser(mapping=mapping))


def test_cells_go_to_the_mapping_as_they_stand_and_empty_ones_as_none(tmp_path):
    (tmp_path / "rows.csv").write_text("crm_id,Full Name,x.y\n1,Ada,\n")
    seen = []
    mapping = FunctionMapping(lambda row: seen.append(row) or {"id": "1", "body": {"name": "x"}})
    list(FileSource(tmp_path / "rows.csv", parser=RecordParser(mapping=mapping)).records())
    assert seen == [{"crm_id": "1", "Full Name": "Ada", "x.y": None}]


# ---------------------------------------------------------------------------------------------------------- functions


def test_a_function_makes_records_and_leaves_rows_out(truto, output):
    def to_record(row):
        if row["n"] == 1:
            return None
        return {
            "id": f"r{row['n']}",
            "integrated_account_id": account_number(0),
            "body": {"description": row["text"]},
        }

    rows = [{"n": number, "text": f"t{number}"} for number in range(3)]
    source = ListSource(rows, RecordParser(mapping=FunctionMapping(to_record)))
    summary = truto.run(source, output)
    assert (summary["updated"], summary["unchanged"], summary["failed"]) == (2, 1, 0)
    assert read_ledger(output).rows[1] == {
        "ordinal": 1,
        "integrated_account_id": "",
        "status": "unchanged",
        "attempts": 0,
        "message": "left out by the mapping",
    }
    assert [truto.text_of(account_number(0), f"r{number}") for number in (0, 2)] == ["t0", "t2"]
    again = truto.run(source, output, try_number=2)
    assert (again["records"], again["resumed"], len(truto.writes())) == (3, 3, 2)


def test_a_row_that_a_mapping_fails_on_is_a_failed_record_and_the_others_go_on(truto, output):
    def to_record(row):
        return {"id": f"r{10 // row['n']}", "integrated_account_id": account_number(0), "body": {"description": "x"}}

    source = ListSource([{"n": n} for n in (5, 0, 2)] + [{}], RecordParser(mapping=FunctionMapping(to_record)))
    summary = truto.run(source, output)
    assert (summary["updated"], summary["failed"], summary["transient_failures"]) == (2, 2, 0)
    rows = read_ledger(output).rows
    assert "the mapping raised ZeroDivisionError: " in rows[1]["message"]
    assert "the mapping raised KeyError: 'n'" in rows[3]["message"]


def test_a_function_cannot_change_the_row_that_the_next_try_reads():
    rows = [{"n": 1}]

    def to_record(row):
        return {"id": str(row.pop("n")), "body": {"name": "x"}}

    source = ListSource(rows, RecordParser(mapping=FunctionMapping(to_record)))
    assert [[record.id for record in source.records()] for _ in range(2)] == [["1"], ["1"]]


@pytest.mark.parametrize("made", [5, "text", [], {"id": "1", "body": {}, "name": "x"}, {"id": "1"}])
def test_what_a_function_gives_that_is_not_a_record_is_a_problem(made):
    assert FunctionMapping(lambda _row: made).parse({}, 0).problems


def test_none_in_a_function_s_body_came_as_data():
    record = FunctionMapping(lambda row: {"id": "1", "body": {"name": row["x"]}}).parse({"x": None}, 0)
    assert not record.nulls_are_meant


@pytest.mark.parametrize("path", ["truto_author.maps.to_record", "truto_author.maps:to_record"])
def test_a_function_can_be_named(tmp_path, monkeypatch, path):
    (tmp_path / "truto_author").mkdir()
    (tmp_path / "truto_author" / "maps.py").write_text("def to_record(row):\n    return row['x']\nNUMBER = 5\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert import_function(path, argument="mapping")({"x": 5}) == 5
    with pytest.raises(ValueError, match="is not a function"):
        import_function("truto_author.maps.NUMBER", argument="mapping")
    for name in ("truto_author.maps.nothing", "truto_author.nothing.to_record", "to_record", ""):
        with pytest.raises(ValueError, match="cannot be imported"):
            import_function(name, argument="mapping")
    for module in ("truto_author.maps", "truto_author"):
        sys.modules.pop(module, None)
