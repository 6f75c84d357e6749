"""The arguments of all operators, in one table: of what kind each is, and whether it is templated.

An argument arrives as the DAG's author wrote it, as a template or another task's output made it, or out of a row of
a mapped task. Text that means a value of the argument's kind becomes that value (``"false"``, ``"32"``); anything
else is a problem under the argument's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from airflow_provider_truto.operators._argument import Argument, Kind
from airflow_provider_truto.operators._parse_collections import (
    parse_changes,
    parse_codes,
    parse_fields,
    parse_hook_params,
    parse_json_object,
    parse_match,
    parse_names,
    parse_object,
    parse_obstacles,
    parse_output,
    parse_parameters,
    parse_path,
    parse_shard_argument,
    parse_some_names,
    parse_source,
    parse_stop,
)
from airflow_provider_truto.operators._parse_scalars import (
    choose_from,
    parse_count,
    parse_delimiter,
    parse_expression,
    parse_failures,
    parse_flag,
    parse_function,
    parse_id,
    parse_name,
    parse_plan_hash,
    parse_probe,
    parse_rate,
    parse_seconds,
    parse_text,
)
from airflow_provider_truto.records.request import RESPONSE_FORMATS, OnNone

FLAG = Kind("flag", parse_flag, is_fixed=True)
COUNT = Kind("count", parse_count, is_fixed=True)
RATE = Kind("rate", parse_rate, is_fixed=True)
FAILURES = Kind("failures", parse_failures, is_fixed=True)
CHANGES = Kind("changes", parse_changes, is_fixed=True)
STOP = Kind("stop", parse_stop, is_fixed=True)
SECONDS = Kind("seconds", parse_seconds, is_fixed=True)
CODES = Kind("codes", parse_codes, is_fixed=True)
OBSTACLES = Kind("obstacles", parse_obstacles, is_fixed=True)
PROBE = Kind("probe", parse_probe, is_fixed=True)
SHARD = Kind("shard", parse_shard_argument, is_fixed=True)
EXPRESSION = Kind("expression", parse_expression, is_fixed=True)
FUNCTION = Kind("function", parse_function, is_fixed=True)
FIELDS = Kind("fields", parse_fields, is_fixed=True)
MATCH = Kind("match", parse_match, is_fixed=True)
DELIMITER = Kind("delimiter", parse_delimiter, is_fixed=True)
PLAN_HASH = Kind("hash of a plan", parse_plan_hash)
TEXT = Kind("text", parse_text)
NAME = Kind("name", parse_name)
ID = Kind("id", parse_id)
PATH = Kind("path", parse_path)
OUTPUT = Kind("output", parse_output)
SOURCE = Kind("source", parse_source)
NAMES = Kind("names", parse_names)
SOME_NAMES = Kind("some names", parse_some_names)
OBJECT = Kind("object", parse_object)
JSON_OBJECT = Kind("JSON object", parse_json_object)
PARAMETERS = Kind("parameters", parse_parameters)
HOOK_PARAMS = Kind("hook params", parse_hook_params)
#: Read by what it is for: a body by its schema, a mapping by its rows.
AS_IS = Kind("as it is", lambda value: value)


#: Every argument of every operator.
ARGUMENTS: Mapping[str, Argument] = {
    # The connection, and the customer.
    "truto_conn_id": Argument(NAME),
    "integrated_account_id": Argument(ID),
    "tenant_id": Argument(ID),
    "integration": Argument(NAME),
    "expected_tenant_id": Argument(ID),
    # What is called.
    "model": Argument(NAME),
    "resource": Argument(NAME),
    "method": Argument(NAME),
    "record_id": Argument(ID),
    "account_id": Argument(ID),
    "body": Argument(AS_IS, is_optional=True),
    "body_file": Argument(PATH, is_optional=True),
    "query": Argument(OBJECT, is_optional=True),
    "remote_query": Argument(OBJECT, is_optional=True),
    "response_format": Argument(choose_from(*RESPONSE_FORMATS)),
    "ignore_remote_data": Argument(FLAG),
    "exclude_fields": Argument(NAMES, is_optional=True),
    "idempotency_key": Argument(TEXT, is_optional=True),
    # How it is checked.
    "schema": Argument(AS_IS, is_optional=True, is_templated=False),
    "extra_fields": Argument(NAMES, is_optional=True),
    "on_none": Argument(choose_from(*get_args(OnNone))),
    "allow_empty": Argument(FLAG),
    "check_custom_fields": Argument(FLAG),
    "preflight": Argument(FLAG),
    "preview": Argument(FLAG),
    "expect": Argument(TEXT),
    "skip_unchanged": Argument(FLAG),
    "verify": Argument(choose_from("warn", "fail", None), is_optional=True),
    "skip_on": Argument(CODES),
    "defer_wait_over": Argument(SECONDS, is_optional=True),
    # Where the answer goes.
    "output_path": Argument(OUTPUT, is_optional=True),
    "max_records": Argument(COUNT, is_optional=True),
}
#: Those of the bulk operators: what they have beside the others, and what means something else there.
BULK_ARGUMENTS: Mapping[str, Argument] = {
    **ARGUMENTS,
    "source": Argument(SOURCE, is_optional=True),
    "sql": Argument(NAME, is_optional=True),
    "query": Argument(NAME, is_optional=True),  # the deprecated name of the former
    "sql_conn_id": Argument(NAME, is_optional=True),
    "query_parameters": Argument(PARAMETERS, is_optional=True),
    "hook_params": Argument(HOOK_PARAMS, is_optional=True),
    "mapping": Argument(AS_IS, is_optional=True, is_templated=False),
    "shard": Argument(SHARD, is_optional=True),
    "output_path": Argument(OUTPUT),
    "max_failures": Argument(FAILURES, is_optional=True),
    "stop_after": Argument(STOP, is_optional=True),
    "max_changes": Argument(CHANGES, is_optional=True),
    "expect": Argument(PLAN_HASH),
    "concurrency": Argument(COUNT),
    "requests_per_second": Argument(RATE, is_optional=True),
    "null_marker": Argument(TEXT, is_optional=True),
    "delimiter": Argument(DELIMITER),
    "match_on": Argument(MATCH, is_optional=True, is_templated=False),
    "match_by": Argument(choose_from("auto", "list", "filter")),
    "on_missing": Argument(choose_from("create", "skip", "fail")),
    "on_ambiguous": Argument(choose_from("fail", "skip")),
    "changed_only": Argument(FLAG),
    "full_every": Argument(SECONDS, is_optional=True),
    "state_path": Argument(OUTPUT, is_optional=True),
    "on_removed": Argument(choose_from("ignore", "report", "clear_fields", "delete")),
    "max_removed": Argument(FAILURES, is_optional=True),
    "validate_first": Argument(FLAG),
    "max_runtime": Argument(SECONDS, is_optional=True),
    "on_source_change": Argument(choose_from("error", "restart")),
    "on_clear": Argument(choose_from("resume", "restart")),
    "bulk_task_id": Argument(NAME),
    "expected_shards": Argument(COUNT, is_optional=True),
}
#: Those of what stores the ledgers of bulks.
LEDGER_ARGUMENTS: Mapping[str, Argument] = {
    **BULK_ARGUMENTS,
    "sql_conn_id": Argument(NAME),
    "tables_path": Argument(OUTPUT),
    "with_bodies": Argument(FLAG),
}
#: Those of what runs sync jobs.
SYNC_JOB_ARGUMENTS: Mapping[str, Argument] = {
    **ARGUMENTS,
    "sync_job_id": Argument(ID),
    "args": Argument(JSON_OBJECT, is_optional=True),
    "sync_resources": Argument(SOME_NAMES, is_optional=True),
    "error_handling": Argument(choose_from("fail_fast", "ignore", "batch")),
    "ignore_previous_run": Argument(FLAG),
    "force": Argument(FLAG, is_optional=True),
    "super_query": Argument(choose_from("apac", "wnam", None), is_optional=True),
    "webhook_id": Argument(ID),
    "daemon_group_key": Argument(NAME),
    "datastore_id": Argument(ID),
    "mutex_key": Argument(NAME),
    "state_key": Argument(NAME),
    "events_to_send": Argument(SOME_NAMES, is_optional=True),
    "wait": Argument(FLAG),
    "deferrable": Argument(FLAG, is_templated=False),
    "poll_interval": Argument(SECONDS),
    "timeout": Argument(SECONDS),
    "max_failed_polls": Argument(COUNT),
    "stop_on_kill": Argument(FLAG),
}
#: Those of sensors, beside Airflow's own.
SENSOR_ARGUMENTS: Mapping[str, Argument] = {
    **ARGUMENTS,
    "sync_job_run_id": Argument(ID),
    "deferrable": Argument(FLAG, is_templated=False),
    "max_failed_polls": Argument(COUNT),
    # Of accounts.
    "probe": Argument(PROBE),
    "fail_on": Argument(OBSTACLES),
    # Of records. What runs as code is never rendered: data must not become a part of it.
    "fields": Argument(FIELDS, is_optional=True),
    "condition": Argument(EXPRESSION, is_optional=True, is_templated=False),
    "function": Argument(FUNCTION, is_optional=True, is_templated=False),
    "values": Argument(JSON_OBJECT, is_optional=True),
    "on_missing": Argument(choose_from("wait", "fail")),
}
