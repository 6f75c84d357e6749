"""`python -m airflow_provider_truto`: what each command says, as text and as JSON, and its exit code."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import airflow
import pytest
from packaging.version import Version
from test_docs import page_of

from airflow_provider_truto.command_line.commands import COMMANDS
from airflow_provider_truto.command_line.run import build_parser, main
from airflow_provider_truto.emulator import ACME, GLOBEX, UMBRELLA, default_seed
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator

ROOT = Path(__file__).parent.parent.parent
RECORD = "23423523"


@pytest.fixture
def run(capsys):
    """A function that runs a command: returns its exit code, its answer and stderr."""

    def run(*arguments):
        capsys.readouterr()
        answer = io.StringIO()
        code = main([str(one) for one in arguments], stdout=answer)
        return code, answer.getvalue(), capsys.readouterr().err

    return run


@pytest.fixture
def told(run):
    """A function that runs a command with `--json`: returns its exit code and what it has found."""

    def told(*arguments):
        code, out, _ = run(*arguments, "--json")
        return code, json.loads(out)

    return told


# ------------------------------------------------------------------------------------------------- under a connection


def test_check_tries_a_connection(truto, run, told, connection):
    assert told("check")[0] == 0
    connection(truto.url, truto.token, conn_id="umbrella", integrated_account_id=UMBRELLA)
    code, out, _ = run("check", "umbrella")
    assert code == 1
    assert "the customer must connect or reconnect it" in out
    connection(truto.url, "wrong-token", conn_id="wrong")
    code, found = told("check", "wrong")
    assert (code, found["works"]) == (1, False)
    assert "refused the API token" in found["message"]
    code, out, err = run("check", "nowhere")
    assert (code, out) == (3, "")
    assert "nowhere" in err


@pytest.mark.parametrize(
    ("filters", "tenants"),
    [
        ((), sorted(one["tenant_id"] for one in default_seed()["integrated_accounts"])),
        (("--integration", "hubspot"), ["acme", "stark", "wayne"]),
        (("--status", "needs_reauth"), ["umbrella"]),
        (("--tenant", "globex"), ["globex"]),
        (("--tenant", "nobody"), []),
    ],
)
def test_accounts_lists_the_customers(truto, run, told, filters, tenants):
    code, found = told("accounts", *filters)
    assert [account["tenant_id"] for account in found] == tenants
    assert code == (0 if tenants else 1)
    code, out, _ = run("accounts", *filters)
    assert all(tenant in out for tenant in tenants or ["no integrated account"])


def test_capabilities_lists_what_can_be_called(truto, run, told):
    code, out, _ = run("capabilities", ACME)
    assert code == 0
    (row,) = [line.split(maxsplit=2) for line in out.splitlines() if line.startswith("unified  crm/accounts ")]
    assert row[2] == "list, get, create, update, delete, assign-owner"
    assert told("capabilities", ACME)[1]["account"]["id"] == ACME
    assert told("capabilities", "acme") == told("capabilities", ACME)
    code, _, err = run("capabilities", "nobody")
    assert (code, "no integrated account has tenant_id 'nobody'" in err) == (3, True)
    assert told("capabilities", "--integration", "attio")[1]["integration"]["name"] == "attio"
    code, out, err = run("capabilities", "3a12e000-0000-4000-8000-000000000000")
    assert (code, out) == (3, "")
    assert "404" in err


# ------------------------------------------------------------------------------------------------------------- bodies


def test_schema_shows_the_fields_of_the_package_of_a_customer_and_of_a_crm(truto, run, told):
    code, out, _ = run("schema")
    assert code == 0
    assert ["addresses[].city", "string"] in [line.split() for line in out.splitlines()]
    assert "urls" in told("schema")[1]["properties"]
    assert truto.requests == []
    assert "urls" not in told("schema", "--account", GLOBEX)[1]["properties"]
    assert told("schema", "--account", "globex") == told("schema", "--account", GLOBEX)
    assert "industry" not in told("schema", "--integration", "attio")[1]["properties"]
    assert told("schema", "--operation", "crm.unknown.create") == (1, None)
    assert run("schema", "--operation", "accounts")[0] == 3


BODIES = {
    "right": ("body.json", '{"name": "Initrode", "number_of_employees": "120"}', (), 1, []),
    "misspelt": ("body.json", '{"nmae": "Initrode"}', (), 1, [["/body/nmae"]]),
    "named as extra": ("body.json", '{"nmae": "Initrode"}', ("--extra-field", "nmae"), 1, []),
    "no body": ("body.json", "[]", (), 1, [["/body"]]),
    "records": (
        "rows.jsonl",
        '{"id": "1", "body": {"name": "x"}}\n{"id": "", "body": {}}\n{"id": "1", "body": {"a": null, "owner": 5}}\n',
        (),
        3,
        [["/id"], ["/body/a", "/body/owner"]],
    ),
    "a CSV": (
        "rows.csv",
        f"integrated_account_id;id;number_of_employees\n{ACME};1;5\n{ACME};1;five\nacme;1;5\n",
        ("--delimiter", ";"),
        3,
        [["/body/number_of_employees"], ["/integrated_account_id"]],
    ),
    "unknown columns": ("rows.csv", "id,nmae\n1,x\n2,y\n", (), 1, [["/"]]),
    "no column that is needed": ("rows.csv", "name\nx\ny\n", (), 1, [["/"]]),
    "torn": ("body.json", '{"name": ', (), 1, [["/"]]),
    "empty": ("body.json", "\n", (), 1, [["/"]]),
    "new records": ("rows.jsonl", '{"body": {"name": "x"}}\n', ("--operation", "crm.accounts.create"), 1, []),
}


@pytest.mark.parametrize(("name", "text", "options", "checked", "pointers"), BODIES.values(), ids=BODIES)
def test_validate_tells_all_that_is_wrong_and_where(tmp_path, run, told, name, text, options, checked, pointers):
    (tmp_path / name).write_text(text)
    code, found = told("validate", tmp_path / name, *options)
    assert found["checked"] == checked
    assert [[problem["pointer"] for problem in row["problems"]] for row in found["rows"]] == pointers
    code_of_text, out, _ = run("validate", tmp_path / name, *options)
    assert code == code_of_text == (1 if pointers else 0)
    assert all(pointer in out for row in pointers for pointer in row)
    assert f"{checked} checked, {len(pointers)} with problems" in out


UNREADABLE = {
    "no file": (("validate", "nowhere.json"), 3, "/nowhere.json. Check the path"),
    "no rows' file": (("validate", "nowhere.csv"), 3, "/nowhere.csv. Check the path"),
    "an empty folder": (("validate", "folder.json"), 3, "/folder.json, but for hidden ones"),
    "not UTF-8": (("validate", "latin.json"), 1, "is not UTF-8 (invalid continuation byte at byte 12)"),
    "a byte order mark": (("validate", "marked.json"), 1, "begins with a byte order mark"),
    "a storage without its package": (("validate", "foo://b/x.csv"), 3, "most likely a package is missing"),
    "no schema": (
        ("validate", "latin.csv", "--schema", "nowhere.json"),
        3,
        "the schema 'nowhere.json' cannot be read",
    ),
    "a schema that is not UTF-8": (("validate", "latin.csv", "--schema", "latin.json"), 3, "latin.json is not UTF-8"),
    "a delimiter of two": (("validate", "latin.csv", "--delimiter", "||"), 3, "delimiter: expects one character"),
    "a row that is not UTF-8": (("validate", "latin.csv"), 1, "is not UTF-8: export the file"),
    "no ledger's folder": (("ledger", "nowhere"), 3, "there is no folder nowhere. Name the output_path"),
    "a file for a ledger": (("ledger", "latin.csv"), 3, "latin.csv is a file. Name the output_path"),
    "a ledger on a storage without its package": (("ledger", "foo://b/x"), 3, "most likely a package is missing"),
}


@pytest.mark.parametrize(("arguments", "code", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_told_with_what_to_do(tmp_path, monkeypatch, run, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    Path("folder.json").mkdir()
    Path("latin.json").write_bytes(b'{"name":"caf\xe9"}')
    Path("latin.csv").write_bytes(b"id,name\n1,caf\xe9\n")
    Path("marked.json").write_bytes(b'\xef\xbb\xbf{"name": "x"}')
    found, out, err = run(*arguments)
    assert found == code
    assert message in (out if code == 1 else err)
    assert "Error" not in err


def test_what_the_system_forbids_is_told_with_its_path(tmp_path, monkeypatch, run):
    def forbid(*_, **__):
        raise PermissionError(13, "Permission denied", str(tmp_path / "body.json"))

    (tmp_path / "body.json").write_text("{}")
    monkeypatch.setattr("airflow_provider_truto.command_line.bodies.read_json", forbid)
    code, _, err = run("validate", tmp_path / "body.json")
    assert (code, err) == (
        3,
        f"{tmp_path}/body.json cannot be read: Permission denied. Check the path, and who may read it\n",
    )


def test_validate_takes_the_author_s_schema_and_stops_at_a_hundred(tmp_path, told, run):
    rows, schema = tmp_path / "rows.jsonl", tmp_path / "schema.json"
    rows.write_text('{"id": "1", "body": {"color": "red"}}\n' * 150)
    code, found = told("validate", rows)
    assert (code, len(found["rows"]), found["is_whole"]) == (1, 100, False)
    assert "the rest was not checked" in run("validate", rows)[1]
    schema.write_text('{"type": "object", "properties": {"color": {"enum": ["red"]}}}')
    assert told("validate", rows, "--schema", schema) == (0, {"checked": 150, "is_whole": True, "rows": []})
    assert run("validate", tmp_path / "nowhere.csv")[0] == 3


# ------------------------------------------------------------------------------------------------------------ ledgers


@pytest.fixture
def ledgers(truto, tmp_path):
    """The output_path of a bulk that failed, and went on in another try: of three records one is wrong."""
    bodies = {RECORD: {"name": "Initrode"}, "23423524": {"nmae": "x"}, "23423525": {"name": "Initech"}}
    rows = [{"id": name, "body": body, "integrated_account_id": ACME} for name, body in bodies.items()]
    bulk = TrutoBulkUpdateAccountsOperator(
        task_id="bulk", source=rows, output_path=f"file://{tmp_path}", max_failures=0, retries=1
    )
    truto.fault(method="PATCH", path="23423525", status=500, times=5)
    for _ in range(2):
        with pytest.raises(Exception, match="failed"):
            truto.run(bulk)
    return tmp_path


def test_ledger_counts_and_lists_failures_without_their_bodies(ledgers, run, told):
    code, (found,) = told("ledger", ledgers)
    assert code == 1
    counts = {name: count for name, count in found["counts"].items() if count}
    assert counts == {"updated": 2, "failed": 1}
    assert (found["task_id"], found["run_id"], found["map_index"], found["last_try"]) == (
        "bulk",
        "manual__test",
        "-1",
        2,
    )
    (failure,) = found["failures"]
    assert (failure["id"], failure["error"]["error"], "body" in failure) == ("23423524", "schema", False)
    code, out, _ = run("ledger", next(ledgers.iterdir()))
    assert code == 1
    assert "updated 2, failed 1" in out
    assert "did you mean `name`?" in out
    assert "and 1 more: --failures 1" in run("ledger", ledgers, "--failures", "0")[1]


def test_ledger_counts_as_the_run_does_what_its_state_knew_as_unchanged(truto, run, told, tmp_path):
    rows = [{"id": RECORD, "body": {"name": "Initrode"}, "integrated_account_id": ACME}]
    for number in range(2):
        bulk = TrutoBulkUpdateAccountsOperator(
            task_id="bulk",
            source=rows,
            output_path=f"file://{tmp_path / str(number)}",
            state_path=f"file://{tmp_path}/state",
            max_failures=0,
            changed_only=True,
        )
        truto.run(bulk)
    code, (found,) = told("ledger", tmp_path / "1")
    counts = {name: count for name, count in found["counts"].items() if count}
    assert (code, counts, found["counts_unchanged"]) == (0, {"unchanged": 1}, True)
    assert (
        f"no record '{RECORD}', or changed_only found it unchanged"
        in run("ledger", tmp_path / "1", "--record", RECORD)[1]
    )
    (summary,) = (tmp_path / "1").rglob("summary-*")
    summary.unlink()
    assert told("ledger", tmp_path / "1")[1][0]["counts_unchanged"] is False
    assert "is counted when a try ends" in run("ledger", tmp_path / "1")[1]


def test_ledger_follows_a_record_over_its_tries(ledgers, run, told):
    code, history = told("ledger", ledgers, "--record", "23423525")
    assert code == 0
    assert [(one["try"], one["status"]) for one in history] == [(1, "failed"), (2, "updated")]
    assert len({one["idempotency_key"] for one in history}) == 1
    assert "500" in run("ledger", ledgers, "--record", "23423525")[1]
    assert told("ledger", ledgers, "--record", "23423524")[0] == 1
    assert told("ledger", ledgers, "--record", "0") == (1, [])


def test_ledger_tells_a_folder_without_one_from_one_that_is_torn(ledgers, run, tmp_path_factory):
    for path in (tmp_path_factory.mktemp("empty"), "/no/such/folder"):
        code, out, err = run("ledger", path)
        assert (code, out) == (3, "")
        assert "there is no" in err
    (header,) = sorted(ledgers.rglob("header-1-*"))
    header.write_text("{")
    assert "is torn" in run("ledger", ledgers)[2]


# ------------------------------------------------------------------------------------------------------ as a process


def start(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_needs_nothing_of_airflow_and_teaches_each_command():
    program = (
        "import sys; from airflow_provider_truto.command_line.run import main\n"
        "try: main(['--help'])\n"
        "finally: print([name for name in ('airflow', 'requests', 'starlette') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    assert all(f"    {command.name}" in done.stdout for command in COMMANDS)
    for command in COMMANDS:
        assert f"Example: {command.name}" in command.description
        assert all(options["help"] for _, options in command.arguments)


def test_wrong_arguments_end_in_2():
    assert start("airflow_provider_truto", "chek").returncode == 2
    assert start("airflow_provider_truto", "ledger", "/", "--failures=-1").returncode == 2
    assert start("airflow_provider_truto", "emulator", "--seed", "/no/such/file").returncode == 2


#: name: a command, and what it says of an option that is empty, or of two that contradict each other
MEANINGLESS = {
    "schema of no account": (["schema", "--account", ""], "/integrated_account_id: is missing"),
    "schema of no crm": (["schema", "--integration", ""], "cannot be an id or a name"),
    "schema of both": (
        ["schema", "--account", ACME, "--integration", "attio"],
        "give either integrated_account_id or",
    ),
    "capabilities of both": (
        ["capabilities", ACME, "--integration", "attio"],
        "give either integrated_account_id or",
    ),
    "capabilities of no account": (["capabilities", ""], "/integrated_account_id: is missing"),
    "accounts of no tenant": (["accounts", "--tenant", ""], "tenant_id was given and is ''"),
    "validate by no schema": (["validate", "BODY", "--schema", ""], "Is a directory"),
}


@pytest.mark.parametrize("name", MEANINGLESS)
def test_an_option_that_means_nothing_is_not_as_if_it_were_left_out(name, run, truto, tmp_path):
    arguments, message = MEANINGLESS[name]
    (tmp_path / "body.json").write_text('{"name": "Acme"}')
    before = len(truto.emulator.requests)
    code, out, err = run(*(tmp_path / "body.json" if one == "BODY" else one for one in arguments))
    assert (code, out, len(truto.emulator.requests)) == (3, "", before)
    assert message in err


@pytest.mark.slow
def test_stdout_has_the_answer_and_nothing_that_is_logged(truto):
    done = start("airflow_provider_truto", "accounts", "--tenant", "acme", "--json")
    assert [one["id"] for one in json.loads(done.stdout)] == [ACME]
    assert done.returncode == 0


def test_the_emulator_is_started_by_either_command():
    command = [sys.executable, "-m", "airflow_provider_truto", "emulator", "--port", "0", "--quiet"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as it:
        assert it.stdout.readline().startswith("listening on http://127.0.0.1:")
        it.terminate()
    assert it.returncode == 0


@pytest.mark.slow
@pytest.mark.airflow
@pytest.mark.skipif(
    Version(airflow.__version__) < Version("3.2"), reason="no commands of providers before Airflow 3.2"
)
def test_airflow_has_the_same_commands(truto, tmp_path):
    home = {"AIRFLOW_HOME": str(tmp_path)}
    done = start("airflow", "truto", "--help", **home)
    assert all(command.name in done.stdout for command in COMMANDS), done.stderr
    done = start("airflow", "truto", "accounts", "--tenant", "acme", "--json", **home)
    assert [one["id"] for one in json.loads(done.stdout)] == [ACME], done.stderr
    assert start("airflow", "truto", "check", "nowhere", **home).returncode == 3


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_example_is_one_that_the_command_takes(command):
    example = command.description.partition("Example: ")[2].split()
    parser = build_parser()
    assert parser.parse_args(example).command is command


@pytest.mark.slow
def test_the_commands_of_the_page_run(ledgers, tmp_path):
    (tmp_path / "ledgers").mkdir()
    (ledgers / "adhoc_airflow").rename(tmp_path / "ledgers" / "crm")
    (tmp_path / "changes.csv").write_text("id,name\n23423523,Initrode\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    check, rest = [block.text for block in page_of("command_line").blocks if block.language == "bash"]
    for script, code in ((check, 0), (rest, 1)):  # a record of the ledger has failed
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
    assert "1 checked, 0 with problems" in done.stdout
    assert "updated 2, failed 1" in done.stdout


def test_the_page_has_every_command_and_option():
    page = page_of("command_line")
    assert [row[0].strip("`").split()[0] for row in page.table("command")] == [command.name for command in COMMANDS]
    for command in COMMANDS[:-1]:
        for flags, _ in command.arguments:
            assert flags[0] in page.text or not flags[0].startswith("-"), (command.name, flags)
