"""What goes to XCom of one call: the response, or the file that holds it, and how the call went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from airflow_provider_truto.client.errors import TrutoError
from airflow_provider_truto.operators._files import write_answer
from airflow_provider_truto.records.pipeline import RecordResult
from airflow_provider_truto.records.preview import Preview
from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.records.xcom import (
    XCOM_LIMIT,
    build_xcom_value,
    encode_json,
    is_text,
    make_storable,
    measure_json,
    summarize,
)

if TYPE_CHECKING:
    from airflow_provider_truto.operators._record import TrutoRecordOperator

#: Characters of an error's message that go to XCom.
_LONGEST_MESSAGE = 10_000


def describe_subject(request: RecordRequest) -> dict[str, Any]:
    """Name the customer and the record, as far as they are known."""
    named = {
        "tenant_id": request.tenant_id,
        "integration": request.integration,
        "record_id": request.record_id,
    }
    return {
        "integrated_account_id": request.integrated_account_id or None,
        **{name: value for name, value in named.items() if value is not None},
    }


def describe_result(result: RecordResult) -> dict[str, Any]:
    """Return how a call went; of one that nothing was sent for, that it took no attempt."""
    sent = result.result
    return {
        "status": sent.response.status if sent else None,
        "attempts": sent.attempts if sent else 0,
        "waited_seconds": round(sent.waited, 3) if sent else 0.0,
        "paced_seconds": round(sent.paced, 3) if sent else 0.0,
        "idempotency_key": sent.request.idempotency_key if sent else None,
        "integrated_account_id": result.request.integrated_account_id,
    }


def describe_error(error: Exception) -> dict[str, Any]:
    """Return what an error knows of itself and of its call."""
    message = str(error)
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}…"
    described: dict[str, Any] = {"error": type(error).__name__, "status": None, "message": message}
    if isinstance(error, TrutoError):
        described |= {
            "error": error.code,
            "status": getattr(error, "status", None) or None,
            "attempts": error.attempts,
            "waited_seconds": round(error.waited, 3),
            "idempotency_key": error.idempotency_key,
            "integrated_account_id": error.integrated_account_id,
        }
    return described


def show_preview(operator: TrutoRecordOperator, preview: Preview, *, hide_values: bool) -> dict[str, Any]:
    """Return a preview: without its values where these are too large, or are to be hidden."""
    shown = preview.as_dict(hide_values=hide_values)
    if measure_json(shown) > XCOM_LIMIT:
        operator.log.warning("The preview is too large for XCom: it goes there without the values")
        shown = preview.as_dict(hide_values=True)
    return cast("dict[str, Any]", make_storable(shown))


def store_response(operator: TrutoRecordOperator, result: RecordResult) -> tuple[Any, dict[str, Any]]:
    """Return what goes to XCom as the value, and where a file holds it instead, which is written then."""
    record_id = result.request.record_id
    of_record = {} if record_id is None else {"id": record_id}
    if operator.output_path is not None and result.result is not None and result.result.response.stream is not None:
        written = write_answer(operator.output_path, result.result.response.stream)
        return {**of_record, "path": written["path"]}, written
    if isinstance(result.response, bytes) and (len(result.response) > XCOM_LIMIT or not is_text(result.response)):
        return _store_bytes(operator, result.response, of_record)
    value = build_xcom_value(result.response, record_id, without_remote_data=operator.ignore_remote_data)
    size = measure_json(value)
    if size <= XCOM_LIMIT:
        return make_storable(value), {}
    if operator.output_path is not None:
        written = write_answer(operator.output_path, [encode_json(value)])
        return {"id": value.get("id"), "path": written["path"]}, written
    operator.log.warning(
        "The answer has %d bytes, more than the %d that go to XCom: only a summary does. Set output_path, or"
        " name fields to leave out in exclude_fields.",
        size,
        XCOM_LIMIT,
    )
    return summarize(value, size=size), {"bytes": size}


def _store_bytes(
    operator: TrutoRecordOperator, content: bytes, of_record: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Put an answer that is not JSON, and too large or not text, into the file as it is."""
    size = len(content)
    if operator.output_path is not None:
        written = write_answer(operator.output_path, [content])
        return {**of_record, "path": written["path"]}, written
    operator.log.warning(
        "The answer is %d bytes that XCom does not take: only a summary goes there. Set output_path.", size
    )
    return summarize(of_record, size=size), {"bytes": size}
