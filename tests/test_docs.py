"""The pages say what is there: links lead somewhere, code runs, tables and examples are those of the package.

Also how a page is taken apart, for the other tests that read one: ``test_guides.py`` and ``test_example_dags.py``.
"""

from __future__ import annotations

import gzip
import inspect
import json
import re
import subprocess
import sys
import textwrap
from dataclasses import fields
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, get_args
from uuid import UUID

import jinja2.sandbox
import pytest

from airflow_provider_truto._compat import IS_AIRFLOW_2, ArgNotSet, object_storage_path
from airflow_provider_truto.bulk import (
    circuit,
    columns,
    ledger,
    problems,
    progress,
    read_ahead,
    result_row,
    slots,
    spool,
    validation,
)
from airflow_provider_truto.bulk.ledger_files import locate_task_folder
from airflow_provider_truto.bulk.mapping import TemplateMapping
from airflow_provider_truto.bulk.messages import describe_duration, describe_progress, describe_start
from airflow_provider_truto.bulk.preview import KINDS
from airflow_provider_truto.bulk.progress import Progress
from airflow_provider_truto.bulk.readers.rows import LONGEST_LINE
from airflow_provider_truto.bulk.record import parse_record
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.result_row import FailedBody, ResultRow, Status, encode_failure
from airflow_provider_truto.bulk.row_codec import decode_cells, encode_cells
from airflow_provider_truto.bulk.sources import snapshot
from airflow_provider_truto.bulk.sources.files import FileSource
from airflow_provider_truto.client.account_state import OBSTACLES
from airflow_provider_truto.client.rate_limiter import ACCOUNT_RATE, TIER_SECONDS, TOKEN_RATE
from airflow_provider_truto.emulator import ACME, Emulator
from airflow_provider_truto.get_provider_info import get_provider_info
from airflow_provider_truto.operators import _bulk_job
from airflow_provider_truto.operators._argument import REQUIRED
from airflow_provider_truto.operators.accounts import TrutoBulkUpdateAccountsOperator, TrutoUpdateAccountOperator
from airflow_provider_truto.operators.bulk import TrutoBulkSummaryOperator
from airflow_provider_truto.operators.ledgers import TrutoLedgerToSqlOperator
from airflow_provider_truto.records.coerce import coerce
from airflow_provider_truto.records.render import Missing
from airflow_provider_truto.triggers.changes import TrutoChangesTrigger
from airflow_provider_truto.webhooks import TrutoEvent

ROOT = Path(__file__).parent.parent
#: Where the pages keep their files and ledgers; a test has a folder instead.
_ELSEWHERE = "s3://aws_default@bucket"


class Block(NamedTuple):
    """A fenced block. ``title`` is what stands behind the language, where no reader sees it.

    A block is a file of that name, what an operator ``sends``, or whatever a test looks for.
    """

    language: str
    title: str
    text: str


def imported_as_here(source):
    """On Airflow 2.11, names come from where the comment beside the import says."""
    if find_spec("airflow.sdk") is not None:
        return source
    places = {
        "DAG": "airflow.models.dag",
        "Param": "airflow.models.param",
        "task": "airflow.decorators",
        "Asset": "airflow.datasets",
        "AssetAlias": "airflow.datasets",
    }
    names = {"Asset": "Dataset as Asset", "AssetAlias": "DatasetAlias as AssetAlias"}

    def imports(found):
        imported = found[2].split(", ")
        return "\n".join(f"{found[1]}from {places[name]} import {names.get(name, name)}" for name in imported)

    return re.sub(r"^( *)from airflow\.sdk import ([\w, ]+?)(?:  #.*)?$", imports, source, flags=re.MULTILINE)


class PageDag(NamedTuple):
    """A DAG that stands on a page, and the records that it sends as the page says, if it does."""

    source: str
    sends: list[dict] | None

    def using(self, folder):
        """Have a local folder instead of the storage on the page, short waits, and imports of this Airflow."""
        source = imported_as_here(self.source).replace(_ELSEWHERE, f"file://{folder}")
        source = source.replace("defer_wait_over=timedelta(minutes=5)", "defer_wait_over=0.5")
        return re.sub(r"\b(poll|poke)_interval=10,", r"\1_interval=0.1,", source)


class Page:
    """A page of the documentation."""

    def __init__(self, name):
        self.path = ROOT / name
        self.text = self.path.read_text()

    @cached_property
    def blocks(self):
        found = re.findall(r"^( *)```(\w+)(?: (\S[^\n]*))?\n(.*?)^\1```$", self.text, re.MULTILINE | re.DOTALL)
        return [Block(language, title, textwrap.dedent(text)) for _, language, title, text in found]

    @cached_property
    def rows(self):
        """The lines of all tables."""
        return [line for line in self.text.splitlines() if line.startswith("|")]

    @cached_property
    def links(self):
        return sorted(set(re.findall(r"\]\(((?!http)[^)]+)\)", self.text)))

    @cached_property
    def anchors(self):
        titles = re.findall(r"^#+ (.*)$", self.text, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

    @cached_property
    def dags(self):
        """The DAGs by their ids. Where an operator stands alone, it takes the place of the one in the first DAG."""
        dags, prelude = {}, None
        for number, block in enumerate(self.blocks):
            if block.language != "python" or block.title:
                continue
            if "with DAG(" in block.text:
                (dag_id,) = re.findall(r'dag_id="([^"]+)"', block.text)
                prelude = prelude or block.text.partition("\nwith DAG(")[0]
                source = block.text
            elif "task_id=" in block.text:
                dag_id = f"{self.path.stem}_{len(dags)}"
                start = "start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), schedule=None"
                header = f'{prelude}\nwith DAG(dag_id="{dag_id}", {start}):\n'
                source = header + textwrap.indent(block.text, "    ")
            else:
                continue
            after = self.blocks[number + 1 :]
            sends = json_lines(after[0].text) if after and after[0].title == "sends" else None
            dags[dag_id] = PageDag(source, sends)
        return dags

    @cached_property
    def scripts(self):
        """Python that is neither a DAG nor a file."""
        python = [block for block in self.blocks if block.language == "python" and not block.title]
        return [block.text for block in python if "with DAG(" not in block.text and "task_id=" not in block.text]

    def block(self, title):
        (text,) = [block.text for block in self.blocks if block.title == title]
        return text

    def table(self, first):
        """The rows of the one table whose first column has this name, each as a list of cells."""
        all_lines, found = self.text.splitlines(), []
        (start,) = [number for number, line in enumerate(all_lines) if line.startswith(f"| {first} |")]
        for line in all_lines[start + 2 :]:
            if not line.startswith("|"):
                break
            found.append([cell.strip() for cell in line.strip().strip("|").split(" |")])
        return found

    def put_files(self, dags_folder, folder):
        """Write the files that the page shows, modules beside the DAGs, all others where the page reads them.

        What a page shows of a Parquet file is the code that writes it.
        """
        for block in self.blocks:
            is_test = block.title.startswith(("test_", "conftest"))  # run where the page's own test is
            if re.fullmatch(r"[\w-]+\.\w+", block.title) and not is_test:
                target = dags_folder if block.title.endswith(".py") else folder / "tiers"
                target.mkdir(exist_ok=True)
                if block.title.endswith(".parquet"):
                    exec(block.text.replace(f'"{block.title}"', repr(str(target / block.title))), {})
                else:
                    (target / block.title).write_text(imported_as_here(block.text))


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


PAGES = [Page(name) for name in ("README.md", "CONTRIBUTING.md")]
PAGES += [
    Page(path.relative_to(ROOT).as_posix())
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if "_build" not in path.parts
]

README, CONTRIBUTING = PAGES[:2]


def page_of(name):
    """The page `docs/<name>.md`."""
    (page,) = [page for page in PAGES[2:] if page.path == ROOT / "docs" / f"{name}.md"]
    return page


def statuses_of(text):
    """The HTTP statuses that a text names one by one, in its order."""
    return [int(status) for status in re.findall(r"(?<!from )(?<!below )\b[45]\d\d\b", text)]


BULK, BULK_SOURCES, BULK_VALUES = page_of("bulk"), page_of("bulk_sources"), page_of("bulk_values")
BULK_LEDGER, BULK_SHARDS, LEDGER_TABLES = page_of("bulk_ledger"), page_of("bulk_shards"), page_of("ledger_tables")
EVENTS = page_of("events")
#: The pages for those who change the package.
INSIDE = [CONTRIBUTING, page_of("architecture")]
#: Pages whose DAGs this Airflow can run: Airflow 2 has no assets.
RUNNABLE = [page for page in PAGES if page is not EVENTS or not IS_AIRFLOW_2]
#: All DAGs that stand on a page.
PAGE_DAGS = {dag_id: dag for page in RUNNABLE for dag_id, dag in page.dags.items()}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.relative_to(ROOT).as_posix())


@every_page
def test_every_link_within_the_repository_leads_somewhere(page):
    for link in page.links:
        name, _, anchor = link.partition("#")
        target = (page.path.parent / name).resolve() if name else page.path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in Page(target).anchors, link


def test_every_page_is_in_the_contents_of_the_site():
    """In one of the lists of docs/index.md, a line for each."""
    listed = re.findall(r"^([\w/]+)$", page_of("index").text, re.MULTILINE)
    pages = [page.path.relative_to(ROOT / "docs").with_suffix("").as_posix() for page in PAGES[2:]]
    assert sorted(listed) == sorted(set(pages) - {"index"})


def test_every_class_that_airflow_discovers_is_in_the_reference():
    info = get_provider_info()
    kinds = [one for kind in ("operators", "sensors", "hooks", "triggers") for one in info[kind]]
    modules = [import_module(name) for kind in kinds for name in kind["python-modules"]]
    shown = {name for page in PAGES for name in re.findall(r"autoclass:: (\S+)", page.text)}
    for module in modules:
        own = {name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
        public = {*own, *getattr(module, "__all__", ())}
        classes = {name for name in public if re.fullmatch(r"Truto\w+(Operator|Sensor|Hook|Trigger)", name)}
        assert classes, module
        assert {f"{module.__name__}.{name}" for name in classes} <= shown


@every_page
def test_every_make_command_exists(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page.text, re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", INSIDE, ids=lambda page: page.path.name)
def test_every_path_on_a_page_about_the_inside_exists(page):
    """What is still to be added has a placeholder in its path."""
    names = set(re.findall(r"(?<![\w./<>-])((?:\w[\w.]*/)*(?:\w+\.(?:py|json|toml)|(?<=/)))(?![\w/<])", page.text))
    assert len(names) > 15
    package = ROOT / "airflow_provider_truto"
    for name in names:
        whole = (ROOT / name).exists() or (package / name).exists()
        assert whole or ("/" not in name and list(package.rglob(name))), name


def test_pre_commit_runs_what_make_lint_runs():
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    hooks = re.findall(r"entry: \.venv/bin/(.*)", (ROOT / ".pre-commit-config.yaml").read_text())
    assert hooks == re.findall(r"\$\(BIN\)/(.*)", recipe)


def test_every_example_is_on_its_page():
    examples = [path.stem for path in (ROOT / "example_dags").glob("*.py")]
    assert sorted(re.findall(r"^## (\w+)$", page_of("examples").text, re.MULTILINE)) == sorted(examples)


def test_no_python_is_on_a_page_that_nothing_runs():
    """What is not a DAG or a file is run by ``test_guides.py``, of the one page that has any."""
    assert [page for page in PAGES if page.scripts] == [page_of("hook")]


def test_a_dag_is_on_one_page_only():
    assert len(PAGE_DAGS) == sum(len(page.dags) for page in RUNNABLE)


# --------------------------------------------------------------------------------------------------- docs/events.md


@pytest.mark.skipif(IS_AIRFLOW_2, reason="Airflow 2 has no AssetWatcher")
def test_the_table_of_the_trigger_s_arguments_is_its_signature():
    parameters = list(inspect.signature(TrutoChangesTrigger.__init__).parameters.values())[1:-1]
    defaults = {one.name: "required" if one.default is one.empty else shown_default(one) for one in parameters}
    assert {name.strip("`"): default for name, default, _ in EVENTS.table("argument of the trigger")} == defaults


def test_the_fields_of_an_event_are_on_the_page():
    told = {name.strip("` ") for names, _ in EVENTS.table("field of `TrutoEvent`") for name in names.split(",")}
    assert told == {field.name for field in fields(TrutoEvent)} | {"subject"}


# ----------------------------------------------------------------------------------------------- docs/bulk*.md


ARGUMENT_TABLES = [
    (BULK, "argument", TrutoBulkUpdateAccountsOperator),
    (BULK_SHARDS, "argument of the summary", TrutoBulkSummaryOperator),
    (LEDGER_TABLES, "argument of the tables", TrutoLedgerToSqlOperator),
]


def test_the_counts_of_a_preview_are_those_of_the_code():
    told = re.findall(r"`(\w+)`", "".join(names for names, _ in Page("docs/before_you_let_it_run.md").table("count")))
    assert sorted(told) == sorted(["rows", "changes", *KINDS])


def test_the_table_of_what_only_a_single_update_has_is_the_difference_of_the_signatures():
    single, bulk = (
        {name for name, one in inspect.signature(cls.__init__).parameters.items() if one.kind is one.KEYWORD_ONLY}
        for cls in (TrutoUpdateAccountOperator, TrutoBulkUpdateAccountsOperator)
    )
    rows = BULK.table("only in `TrutoUpdateAccountOperator`")
    assert sorted(re.findall(r"`(\w+)`", "".join(names for names, _ in rows))) == sorted(single - bulk)


@pytest.mark.parametrize(("page", "first", "operator"), ARGUMENT_TABLES)
def test_the_table_of_arguments_is_the_signature(page, first, operator):
    parameters = [
        parameter
        for parameter in inspect.signature(operator.__init__).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    expected = [
        (f"`{parameter.name}`", shown_default(parameter), parameter.name in operator.template_fields)
        for parameter in parameters
    ]
    told = [(name, default, meaning.endswith("(templated)")) for name, default, meaning in page.table(first)]
    assert sorted(told) == sorted(expected)


def shown_default(parameter):
    default = parameter.default
    if default is REQUIRED:
        return "required"
    if isinstance(default, ArgNotSet):
        return "the connection's" if parameter.name == "integrated_account_id" else "not given"
    if parameter.name == "deferrable":
        return "Airflow's"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default!r}`".replace("datetime.", "")


def test_the_table_of_obstacles_is_what_fail_on_takes():
    told = [
        name.strip("` ") for names, _ in page_of("wait_for_customer").table("obstacle") for name in names.split(",")
    ]
    assert sorted(told) == sorted(OBSTACLES)


def test_example_lines_of_results_are_as_the_ledger_writes_them():
    shown = [line.encode() for line in BULK_LEDGER.block("results").splitlines(keepends=True)]
    assert [ResultRow.read(line).line() for line in shown] == shown
    (statuses,) = [[name.strip("`") for name, _ in BULK_LEDGER.table("`status`")]]
    assert tuple(statuses) == get_args(Status)


def test_example_lines_of_failures_are_as_the_ledger_writes_them_and_can_be_a_source():
    rows = map(ResultRow.read, BULK_LEDGER.block("results").encode().splitlines())
    (row,) = [row for row in rows if row.status == "failed" and not row.transient]
    (line,) = BULK_LEDGER.block("failures").splitlines(keepends=True)
    assert encode_failure(row, FailedBody(body=json.loads(line)["body"])) == line.encode()
    for text in (line, BULK.block("to-send-again.jsonl")):
        record = parse_record(json.loads(text), 0)
        assert (record.id, record.problems) == ("70010001", ())


def test_the_tree_of_the_ledger_has_every_file_that_is_written_there():
    (tree,) = [block.text for block in BULK_LEDGER.blocks if block.text.startswith("<output_path>/")]
    files = r"^ +((?:header|results|failures|summary|check|snapshot)-\S+)"
    written = re.findall(files, f"{ledger.__doc__}{snapshot.__doc__}".replace("<generation>/", ""), re.MULTILINE)
    assert sorted(re.findall(files, tree, re.MULTILINE)) == sorted(written)
    run = locate_task_folder(Path(), "scheduled__2026-10-01T00:00:00+00:00")
    assert f" {run}/ " in tree


def test_what_to_ask_of_a_ledger_at_night_finds_it(tmp_path):
    (tmp_path / "results-1-0-0.jsonl").write_text(BULK_LEDGER.block("results"))
    (tmp_path / "results-2-0-0.jsonl.part").write_text(BULK_LEDGER.block("results"))
    found = subprocess.run(
        ["bash", "-ec", BULK.block("in the ledger")], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(found.splitlines()[0])["id"] == "23423523"
    assert [line.split() for line in found.splitlines()[2:]] == [
        ["2", '"status":"failed"'],
        ["2", '"status":"updated"'],
    ]


VALUES = {
    "Decimal": Decimal,
    "UUID": UUID,
    "date": date,
    "datetime": datetime,
    "time": time,
    "timedelta": timedelta,
    "timezone": timezone,
}


@pytest.mark.parametrize(("value", "sent"), [row[1:] for row in BULK_VALUES.table("in the row")])
def test_a_value_of_a_warehouse_becomes_what_the_table_says(value, sent):
    cells = decode_cells(encode_cells(["1", eval(value.strip("`"), VALUES)]))
    body = RecordParser().open_table(["id", "custom_fields.x"], has_nulls=True).parse(cells, 0).body
    made = coerce(body, {"type": "object"})
    if sent.startswith(("a problem", "nothing")):
        assert len(made.problems) == 1
    else:
        text = json.dumps(made.value["custom_fields"]["x"])
        assert (made.problems, text) == ((), sent.strip("`"))


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ("{{ row.tier | upper }}", "NONE"),
        ("{{ row.tier ~ '!' }}", Missing),
        ("{{ row.tier | upper if row.tier is not none }}", Missing),
        ("{{ row.tier or 'no' }} tier", "no tier"),
    ],
)
def test_what_a_template_makes_of_nothing_is_what_the_page_says(template, made):
    assert template in BULK_VALUES.text
    env = jinja2.sandbox.SandboxedEnvironment(undefined=jinja2.StrictUndefined)
    mapping = TemplateMapping({"id": "1", "body": {"x": template}}, env=env, context={})
    value = mapping.parse({"tier": None}, 0).body["x"]
    assert isinstance(value, Missing) if made is Missing else value == made


def test_every_path_of_the_table_of_sources_can_be_read(tmp_path):
    folder = tmp_path / "tiers"
    BULK_SOURCES.put_files(tmp_path, tmp_path)
    (folder / "by_tenant.csv").unlink()  # of another section
    for day in (1, 2):
        (folder / f"2026-10-0{day}.csv.gz").write_bytes(gzip.compress((folder / "tiers.csv").read_bytes()))
    (folder / "_SUCCESS").touch()
    (folder / "older").mkdir()
    read = {}
    for path, _ in BULK_SOURCES.table("path"):
        name = path.strip("`").removeprefix(f"{_ELSEWHERE}/")
        read[name] = sum(1 for _ in FileSource(object_storage_path(f"file://{tmp_path}/{name}")).records())
    assert read == {
        "tiers/tiers.jsonl": 2,
        "tiers/tiers.csv": 2,
        "tiers/tiers.parquet": 2,
        "tiers/2026-10-01.csv.gz": 2,
        "tiers": 10,
        "tiers/2026-10-*.csv.gz": 4,
    }


@pytest.mark.parametrize("row", BULK.table("records"), ids=lambda row: row[0])
def test_the_times_are_those_of_the_limits(row):
    count = int(row[0].replace(",", ""))
    times = [describe_duration(count / min(TOKEN_RATE, customers * ACCOUNT_RATE)) for customers in (1, 2, 5, 10)]
    assert row[1:] == times


def test_shares_of_the_limit_that_shards_use_are_those_of_the_simulation():
    code = "from benchmarks.shards import row; print(row(10))"
    computed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert computed.stdout.strip() in BULK_SHARDS.text.splitlines()


def test_numbers_in_the_text_are_those_of_the_code():
    concurrency = inspect.signature(TrutoBulkUpdateAccountsOperator.__init__).parameters["concurrency"].default
    limits = dict(BULK.table("limit"))
    assert limits == {
        "calls in flight": f"`concurrency`, {concurrency}; the customers share them, and a record that waits"
        " before its next attempt takes no share",
        "memory": f"{spool._IN_MEMORY:,} records; up to {read_ahead.MAX_READ_AHEAD:,} are read ahead and wait in"
        " temporary files on the worker's disk. A list is in memory anyway",
        "a line of a file": f"{LONGEST_LINE // 2**20} MiB",
        "a list in a CSV header": f"places 0 to {columns._MOST_PLACES - 1}",
        "a message in the results": f"{result_row._LONGEST_MESSAGE:,} characters",
        "faults that `validate_first` lists": f"{validation.MAX_FAULTS}",
        "problems told in the log and XCom, one for each customer and error": f"{problems.MAX_DESCRIBED}",
    }
    text = " ".join(BULK.text.split())
    assert f"in the last {ledger.PART_SECONDS:.0f} seconds (or {ledger.PART_ROWS:,} records) before the kill" in text
    assert f"The rate is that of the last {progress.RATE_SECONDS:.0f} seconds" in text
    assert f"waits up to {slots.GRACE_SECONDS:.0f} seconds for those in flight" in text
    assert (
        f"the first {ACCOUNT_RATE * TIER_SECONDS:.0f} of a customer, {TOKEN_RATE * TIER_SECONDS:.0f} of all" in text
    )
    assert (circuit.FAILURES_IN_A_ROW, circuit.INITIAL_CONCURRENCY) == (5, 4)
    assert "after five failures in a row" in text
    assert "no more than four of their calls are in flight" in text


@pytest.fixture
def operator(tmp_path):
    return TrutoBulkUpdateAccountsOperator(
        task_id="bulk",
        source=[{"id": "23423523", "integrated_account_id": ACME, "body": {"name": "x"}}],
        output_path=f"file://{tmp_path}",
        max_failures=None,
    )


def run(operator):
    names = {"dag_id": "dag", "run_id": "run", "task_id": "bulk", "map_index": -1, "max_tries": 0, "try_number": 1}
    return operator.execute({"ti": SimpleNamespace(**names), "task": operator})


def test_the_log_lines_are_those_of_the_operator():
    far = Progress(total=40_000, rate=48.0)
    far.counts.update(updated=11_997, failed=2, skipped=1)
    assert describe_start(rows=40_000, done=0, requests_per_second=None) == BULK.block("before").strip()
    assert describe_progress(far) == BULK.block("progress").strip()
    shown = json.loads(BULK.block("shown"))
    assert {**_bulk_job._describe_progress(far), "at": shown["at"]} == shown
    told = re.findall(r"`(\w+)`", " ".join(cells[0] for cells in BULK.table("in `progress`")))
    assert told == list(shown)
    unknown = describe_start(rows=None, done=0, requests_per_second=None)
    assert unknown.startswith("An unknown number of records; ")
    assert "An unknown number of records; …" in BULK.text


def test_the_metrics_are_those_that_are_counted(operator, monkeypatch):
    counted = []
    monkeypatch.setattr(_bulk_job, "count_metric", lambda name, _count: counted.append(name))
    with Emulator() as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_TRUTO_DEFAULT", connection(emulator))
        run(operator)
    assert re.findall(r"`(truto\.bulk\.\w+)`", BULK.text) == counted


def connection(emulator):
    extra = {"max_attempts": 1, "requests_per_second": 0}
    return json.dumps({"conn_type": "truto", "host": emulator.url, "password": emulator.token, "extra": extra})


STATUSES = [
    (status, kind, "of Truto" not in failure)
    for failure, kind, _ in BULK.table("a failure")
    if kind in {"transient", "final"}
    for status in statuses_of(failure)
]


@pytest.mark.parametrize(("status", "kind", "is_remote"), STATUSES)
def test_a_failure_is_transient_or_final_as_the_table_says(operator, monkeypatch, status, kind, is_remote):
    remote = {"truto_is_remote_error": True, "truto_error_insight": {}} if is_remote else {}
    with Emulator() as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_TRUTO_DEFAULT", connection(emulator))
        emulator.fault(status=status, body={"message": "m", **remote})
        counts = run(operator)
    assert (counts["failed"], counts["transient_failures"]) == (1, 1 if kind == "transient" else 0)
