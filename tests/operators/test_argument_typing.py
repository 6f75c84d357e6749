"""Every argument of every operator: declared, templated, typed after rendering, refused by its name.

The table is made from the signatures, so that a new argument is in it by itself: it fails here until its kind is
declared, and a new kind until it has values that are right and wrong.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from datetime import datetime, timedelta, timezone
from functools import partial
from json import dumps
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from airflow.exceptions import AirflowProviderDeprecationWarning

from airflow_provider_truto import operators, sensors
from airflow_provider_truto._compat import NOTSET, AirflowFailException, object_storage_path
from airflow_provider_truto.bulk.brakes import ChangeRule, StopRule
from airflow_provider_truto.client.errors import TrutoSchemaError
from airflow_provider_truto.operators._argument import REQUIRED, Argument
from airflow_provider_truto.operators._operator import TrutoOperator
from airflow_provider_truto.operators._signature import collect_parameters
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator, TrutoUpdateAccountOperator
from airflow_provider_truto.records.render import Missing

pytestmark = pytest.mark.filterwarnings("ignore:query is deprecated")

for package in (operators, sensors):
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def kinds_of(cls):
    """A class and all that are made of it, without those of tests."""
    found = [cls] if cls.__module__.startswith("airflow_provider_truto.") else []
    return [*found, *(each for child in cls.__subclasses__() for each in kinds_of(child))]


#: The operators and sensors that a DAG file names, and what each needs at least.
NEEDED: dict[str, dict[str, Any]] = {
    "TrutoUpdateAccountOperator": {"account_id": "23423523", "body": {"name": "x"}},
    "TrutoUnifiedOperator": {"model": "crm", "resource": "accounts", "method": "get", "record_id": "23423523"},
    "TrutoProxyOperator": {"resource": "companies", "method": "get", "record_id": "23423523"},
    "TrutoBulkUpdateAccountsOperator": {"source": [], "max_failures": 0},
    "TrutoBulkUnifiedOperator": {"source": [], "max_failures": 0, "model": "crm", "resource": "accounts"},
    "TrutoBulkSummaryOperator": {"bulk_task_id": "bulk", "max_failures": 0},
    "TrutoLedgerToSqlOperator": {"bulk_task_id": "bulk", "sql_conn_id": "warehouse"},
    "TrutoLedgerToParquetOperator": {"bulk_task_id": "bulk", "tables_path": "tables"},
    "TrutoSyncJobRunOperator": {"sync_job_id": "31111111-0000-4000-8000-000000000001"},
    "TrutoIntegratedAccountSensor": {},
    "TrutoRecordSensor": {"model": "crm", "resource": "accounts", "record_id": "23423523"},
    "TrutoSyncJobRunSensor": {"sync_job_run_id": "41111111-0000-4000-8000-000000000001"},
}
OPERATORS = {
    cls.__name__: cls
    for cls in sorted(kinds_of(TrutoOperator), key=lambda cls: cls.__name__)
    if not cls.__module__.rpartition(".")[2].startswith("_")
}
#: Airflow's own, whose default is another here.
OF_AIRFLOW = {"trigger_rule"}


class Case(NamedTuple):
    operator: type[TrutoOperator]
    name: str

    @property
    def is_declared(self) -> bool:
        return self.name in self.operator.arguments

    @property
    def argument(self) -> Argument:
        return self.operator.arguments[self.name]


CASES = {
    f"{operator.__name__}-{name}": Case(operator, name)
    for operator in OPERATORS.values()
    for name in collect_parameters(operator)
    if name not in OF_AIRFLOW
}
every_operator = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)


def cases_of(operator: type[TrutoOperator], *, templated: bool = False) -> list[Case]:
    """The arguments of an operator; a body is typed by its schema, and a body file is read while it is rendered."""
    found = [case for case in CASES.values() if case.operator is operator]
    if templated:
        found = [case for case in found if case.is_declared and case.argument.is_templated]
        found = [case for case in found if case.name not in {"body", "body_file"}]
    return found


PATH = object_storage_path("file:///tmp/x")
#: By kind: what a template may give and what that means, and what is refused.
VALUES: dict[str, tuple[list[tuple[Any, Any]], list[Any]]] = {
    "flag": ([("false", False), ("True", True), (False, False)], ["no", "", 1, "1", 0.0, [], {}]),
    "count": ([("32", 32), (7, 7), (7.0, 7)], ["many", "", "0", -1, 0, 1.5, "1.5", True, "true", "1e999", [3]]),
    "rate": ([("2.5", 2.5), ("0", 0), (5, 5)], ["fast", "", -1, "-0.1", True, "NaN", float("inf"), {}]),
    "failures": ([("0.01", 0.01), ("100", 100), (0, 0)], ["1.0", 1.0, "some", "", -1, "-1", True, float("nan"), [0]]),
    "seconds": (
        [("3600", 3600), (0.5, 0.5), (timedelta(minutes=2), 120.0)],
        ["1 h", "", 0, "-5", timedelta(0), timedelta(-1), True, "01:00:00", float("inf"), ["1"]],
    ),
    "text": ([("x", "x"), ("", "")], [5, True, [], {"a": 1}, 1.5]),
    "name": ([("x", "x")], ["", " ", "\n", 5, True, ["x"], {}]),
    "id": ([("x", "x"), (5, "5")], ["", " ", 5.5, True, ["x"], {}]),
    "path": ([("/tmp/x", "/tmp/x"), (Path("/tmp/x"), "/tmp/x"), (PATH, PATH)], ["", " ", 5, True, ["x"], {}]),
    "output": (
        [
            *((given, given) for given in ("/tmp/x", "file:///tmp/x", "s3://conn@bucket/x", "gs://bucket")),
            (Path("/tmp/x"), "/tmp/x"),
            (PATH, PATH),
        ],
        ["x", "", " ", "./x", "~/x", "file://x", "local://x/y", "file:x", Path("x"), 5, True, ["x"], {}],
    ),
    "source": (
        [
            ("/tmp/x", "/tmp/x"),
            (Path("/tmp/x"), "/tmp/x"),
            ([PATH, "y"], [PATH, "y"]),
            ([{"id": "1"}], [{"id": "1"}]),
        ],
        ["", " ", ["x", ""], [Path("x"), " "]],
    ),
    "names": ([(["a"], ["a"]), ('["a"]', ["a"]), ((), [])], ["a", "", "a,b", 5, [5], [""], {"a": 1}, [None]]),
    "some names": ([(["a"], ["a"]), ('["a"]', ["a"])], ["a", "", [], "[]", 5, [5], [""], {"a": 1}, [None]]),
    "object": ([({"a": 1}, {"a": 1}), ('{"a": 1}', {"a": 1})], ["a=1", "", 5, [1], "[1]"]),
    "JSON object": ([({"a": 1}, {"a": 1}), ('{"a": 1}', {"a": 1})], ["a=1", "", 5, [1], "[1]"]),
    "parameters": ([({"a": 1}, {"a": 1}), ([1], [1]), ("[1]", [1])], ["a", "", 5, True]),
    "hook params": ([({"a": 1}, {"a": 1}), ('{"a": 1}', {"a": 1})], ["a", "", 5, [1], "[1]"]),
    "shard": (
        [
            ({"index": "1", "count": "3"}, {"index": 1, "count": 3, "by": "account"}),
            ([1, 3], {"index": 1, "count": 3, "by": "account"}),
        ],
        ["", "1/3", 5, [3, 3], [0], {"index": -1, "count": 3}, {"index": 0, "count": "x"}, ["a", "b"], {"by": "id"}],
    ),
    "match": (
        [("website", ("website",)), (["a.b", dumps], ("a.b", dumps)), ("my_package:read", ("my_package:read",))],
        ["", " ", [], ["a", ""], "a..b", 5, {}, [5]],
    ),
    "delimiter": ([(";", ";"), ("\t", "\t")], ["", ";;", '"', "\n", 5, True, [";"]]),
    "codes": ([(["not_found"], ["not_found"]), ('["conflict"]', ["conflict"]), ((), [])], ["not_found", 5, ["gone"]]),
    "obstacles": (
        [(["needs_reauth", "blocked"], ["needs_reauth", "blocked"]), ('["missing"]', ["missing"]), ((), [])],
        ["needs_reauth", ["needs_reath"], ["active"], 5],
    ),
    "probe": (
        [("crm/contacts", "crm/contacts"), ("companies", "companies"), ("true", True), (False, False)],
        ["", "/contacts", "crm/", "crm/accounts/1", 1, []],
    ),
    "fields": (
        [
            ({"tier": "gold"}, {"tier": "gold"}),
            ('{"/owner/id": "7"}', {"/owner/id": "7"}),
            ({"since": datetime(2026, 1, 1, tzinfo=timezone.utc)}, {"since": "2026-01-01T00:00:00.000Z"}),
        ],
        ["tier", {}, {"owner.id": "7"}, {"urls[0]": "x"}, {"": 1}, {"tier": Missing("nothing")}, [1], 5],
    ),
    "expression": (
        [("record.tier == 'gold'", "record.tier == 'gold'"), ("not record.owner", "not record.owner")],
        ["record.tier =", "", "{{ record.tier }}", "tier == 'gold'", "record.a }} {{ record.b", "record | gold", 5],
    ),
    "function": (
        [(dumps, "json.dumps"), ("my_package.is_ready", "my_package.is_ready")],
        [lambda _: True, "is_ready", "my package.x", partial(dumps), Path.exists, "", 5],
    ),
    "stop": (
        [("100", StopRule(100)), ([0.05, "200"], StopRule(0.05, 200)), ("[0.05, 200]", StopRule(0.05, 200))],
        ["many", "", 0, -1, 0.05, 1.5, True, [100], [5, 200], [0.05, 0], ["0.05"], {}],
    ),
    "changes": (
        [(0, ChangeRule(most=0)), ("0.1", ChangeRule(most=0.1)), ((1.5, 7), ChangeRule(factor=1.5, runs=7))],
        ["many", "", -1, 1.5, True, [1.5], [1, 7], [1.5, 0], {}],
    ),
    "hash of a plan": ([("p2-0123", "p2-0123")], ["p1-0123", "", " ", 5, True, ["p2-0123"], {}]),
    "choice": ([], ["maybe", "", 5, True, ["error"], {}]),
}
#: Read by what they are for, see `test_typed.py`, `test_bulk_mapping.py` and the schemas' tests.
AS_IS = {"body", "schema", "mapping"}


def a_task(case: Case, output: Path, **arguments: Any) -> TrutoOperator:
    given = {**NEEDED[case.operator.__name__], "task_id": "t", **arguments}
    if "output_path" in case.operator.template_fields and case.operator.arguments["output_path"].is_optional is False:
        given = {"output_path": str(output), **given}
    if case.name in {"sql", "query", "sql_conn_id", "query_parameters", "hook_params"} and "source" in given:
        asked = "query" if case.name == "query" else "sql"
        given = {**given, asked: "select 1", "sql_conn_id": "w", "source": None, **arguments}
    if case.name == "values":
        given = {**given, "condition": "record.ready"}
    if case.name in {"full_every", "state_path", "on_removed", "max_removed"}:
        given = {**given, "changed_only": True}
    if case.name == "max_removed":
        given = {**given, "on_removed": "report"}
    if case.name == "max_records":
        given = {**given, "method": "list"}
    if case.name in {"match_by", "on_missing", "on_ambiguous"} and "match_on" in collect_parameters(case.operator):
        given = {"match_on": "website", **given}
    if case.name == "integration":
        given = {**given, "tenant_id": "acme"}
    if case.name == "body_file":
        given = {**given, "body_file": "body.json", **arguments}
        given.pop("body", None)
    return case.operator(**given)


def test_every_operator_of_the_package_is_in_the_table():
    assert set(OPERATORS) == set(NEEDED)


@every_operator
def test_every_argument_is_declared_taken_and_templated_as_declared(operator, tmp_path):
    for case in cases_of(operator):
        assert case.is_declared, f"{case.name}: declare of what kind it is"
        assert case.name in a_task(case, tmp_path)._taken, f"{case.name}: take it with the others"
        assert (case.name in operator.template_fields) == case.argument.is_templated
        kind = case.argument.kind.name
        assert kind in VALUES or case.name in AS_IS, f"{kind}: say what is right and what is wrong"


@every_operator
def test_the_docstring_tells_every_argument_of_the_signature(operator):
    """In groups, in the order of the signature, and whether it is templated: what an IDE and `help()` show."""
    signature = inspect.signature(operator).parameters.values()
    own = [parameter for parameter in signature if parameter.kind is parameter.KEYWORD_ONLY]
    names = [parameter.name for parameter in own]
    assert names == list(collect_parameters(operator))
    assert all(parameter.annotation is not parameter.empty for parameter in signature)
    required = [name for name, parameter in collect_parameters(operator).items() if parameter.default is REQUIRED]
    assert [parameter.name for parameter in own if parameter.default is parameter.empty] == required
    *told, _ = re.findall(r"(?s):param (\w+): (.*?)(?=\n\n|\n *:param |$)", f"{operator.__doc__}\n\n:param x: ")
    assert [name for name, _ in told] == names
    templated = [name for name, text in told if text.endswith("(templated)")]
    assert templated == [name for name in names if name in operator.template_fields]
    groups = re.findall(r"^ *(Target|Payload|Safeguards): ", operator.__doc__, re.MULTILINE)
    assert groups == [
        "Target",
        *(["Payload"] if {"body", "source", "args", "fields", "with_bodies"} & {*names} else []),
        "Safeguards",
    ]


@every_operator
def test_what_is_not_set_is_left_out(operator, tmp_path):
    """A wrapper passes the default on by Airflow's `NOTSET`; what `default_args` say is one."""
    needed = {*NEEDED[operator.__name__], "body", "body_file", "source", "sql", "query", "sql_conn_id"}
    parameters = collect_parameters(operator)
    for case in cases_of(operator):
        if parameters[case.name].default is not REQUIRED and case.name not in needed:
            plain, task = a_task(case, tmp_path), a_task(case, tmp_path, **{case.name: NOTSET})
            assert (getattr(task, case.name), task._taken) == (getattr(plain, case.name), plain._taken), case.name
            is_read = case.argument.kind.is_fixed and not case.argument.is_templated  # while the file is parsed
            told = VALUES[case.argument.kind.name][0][0][0] if is_read else "{{ of_the_dag }}"
            task = a_task(case, tmp_path, **{case.name: NOTSET}, default_args={case.name: told})
            assert getattr(task, case.name) == told


def test_the_older_name_of_a_query_is_told_where_it_stands_and_means_the_same(tmp_path):
    given = {"sql_conn_id": "w", "output_path": str(tmp_path), "max_failures": 0}
    with pytest.warns(AirflowProviderDeprecationWarning, match="write sql='select …'") as told:
        task = TrutoBulkUpdateAccountsOperator(task_id="t", query="select {{ number }}", **given)
    assert told[0].filename == __file__
    task.render_template_fields({"number": 5})
    assert (task._read_arguments(), task.query) == ([], "select 5")


def test_what_means_nothing_for_an_operator_is_not_accepted_there():
    for name in ("model", "method", "record_id", "query", "max_records"):
        with pytest.raises(Exception, match=rf"(?s)Invalid arguments.*{name}"):
            TrutoUpdateAccountOperator(**NEEDED["TrutoUpdateAccountOperator"], task_id="t", **{name: "x"})
        with pytest.raises(TypeError, match=name):
            TrutoUpdateAccountOperator.partial(task_id="t", **{name: "x"})


def test_what_is_not_templated_is_what_the_design_keeps_from_rendering():
    fixed = {"schema", "mapping", "match_on", "deferrable", "condition", "function"}
    assert {case.name for case in DECLARED if not case.argument.is_templated} == fixed


DECLARED = [case for case in CASES.values() if case.is_declared]
READ = {case.argument.kind.name: case.argument for case in DECLARED if case.argument.kind.name in VALUES}


@pytest.mark.parametrize("kind", READ)
def test_a_kind_means_its_values_and_refuses_all_others(kind):
    right, wrong = VALUES[kind]
    for given, meant in right:
        value, problems = READ[kind].read(given, at="/name")
        assert (problems, value, type(value)) == ([], meant, type(meant))
        assert READ[kind].read(value, at="/name") == (value, []), "what has been read is read as the same"
    for given in wrong:
        value, problems = READ[kind].read(given, at="/name")
        assert value is None, given
        assert problems, given
        assert all(problem.pointer.startswith("/name") for problem in problems), given


@every_operator
def test_what_a_template_gives_becomes_what_it_means(operator, tmp_path):
    for case in cases_of(operator, templated=True):
        default = collect_parameters(operator)[case.name].default or "apac"  # of the choice that may be left out
        given, meant = next(iter(VALUES[case.argument.kind.name][0]), (default, default))
        task = a_task(case, tmp_path, **{case.name: "{{ value }}"})
        task.render_template_fields({"value": given})
        problems = [problem for problem in task._read_arguments() if problem.pointer.startswith(f"/{case.name}")]
        assert (problems, getattr(task, case.name)) == ([], meant), case.name


@pytest.fixture
def nothing_done(tmp_path, emulator, connection, monkeypatch):
    """After the test nothing was sent, and no file was written."""
    monkeypatch.chdir(tmp_path)
    connection(emulator.url, emulator.token, max_attempts=1)
    yield
    assert emulator.requests == []
    assert list(tmp_path.iterdir()) == []


@every_operator
@pytest.mark.usefixtures("nothing_done")
def test_what_a_template_gives_wrongly_is_refused_by_its_name(operator, tmp_path):
    for case in cases_of(operator, templated=True):
        for given in (VALUES[case.argument.kind.name][1][0], None):
            told = refusal(a_task(case, tmp_path / "ledgers", **{case.name: "{{ value }}"}), value=given)
            assert f"\n  /{case.name}" in told


@every_operator
@pytest.mark.usefixtures("nothing_done")
def test_all_that_templates_give_wrongly_is_told_at_once(operator):
    names = {case.name for case in cases_of(operator, templated=True)} - {"daemon_group_key", "values"}
    if "tenant_id" in names:  # a customer is named in one way
        names -= {"integrated_account_id"}
    if "sql" in names:  # the rows of a bulk come from a file or a query, which has an older name
        names -= {"source", "query", "delimiter"}
    needed = {name: value for name, value in NEEDED[operator.__name__].items() if name != "source"}
    task = operator(task_id="t", **{**needed, **dict.fromkeys(names, "{{ none }}")})
    told = refusal(task)
    assert {line.split(":")[0].strip() for line in told.splitlines()[1:]} >= {f"/{name}" for name in names}


def refusal(task: TrutoOperator, **context: Any) -> str:
    task.render_template_fields(context)
    names = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "max_tries": 0, "try_number": 1}
    ti = SimpleNamespace(**names, xcom_push=lambda **_: None)
    with pytest.raises(AirflowFailException) as caught:
        task.execute({"task": task, "ti": ti})
    assert isinstance(caught.value.__cause__, TrutoSchemaError)
    return str(caught.value)


@every_operator
def test_a_literal_that_can_never_be_right_breaks_the_dag_file(operator, tmp_path):
    for case in filter(lambda case: case.is_declared, cases_of(operator)):
        right, wrong = VALUES.get(case.argument.kind.name, ([], []))
        for given, _ in right[:1]:
            a_task(case, tmp_path, **{case.name: given})
        if case.argument.kind.is_fixed:
            with pytest.raises(ValueError, match=f"^{case.name}: "):
                a_task(case, tmp_path, **{case.name: wrong[0]})
