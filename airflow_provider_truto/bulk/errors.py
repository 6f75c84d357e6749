"""The errors with which a bulk fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


class BulkError(Exception):
    """Base of the errors of this package. ``transient``: a retry may do what is left.

    ``is_of_file``: it is about a file that anything may read, so that only who reads it knows what was sent before.
    """

    transient = False
    is_of_file = False

    @classmethod
    def of_file(cls, path: Any, what: str, way_out: str) -> Self:
        """Build the error about one file: what it is, and what to do about it."""
        error = cls(f"{path} {what}. {way_out}")
        error.is_of_file = True
        return error

    def tell_what_was_sent(self, *, has_begun: bool) -> None:
        """Add to the error about a file what the try has sent; ``has_begun``: records may have been sent before."""
        if self.is_of_file:
            told = "What this try has sent is in its ledger" if has_begun else "This try has sent nothing"
            self.args = (f"{self}. {told}.",)
            self.is_of_file = False


class SourceError(BulkError, ValueError):
    """The source cannot be read further; the rows before are done. No retry fixes it."""


class LedgerError(BulkError):
    """The existing ledger does not belong to this source, or cannot be read; the message says what to do."""

    @classmethod
    def of_no_package(cls, error: Exception) -> LedgerError:
        """Build the error about a storage that nothing opens; fsspec says ``Install s3fs to access S3``."""
        return cls(
            f"the storage cannot be opened: {error}. Cause: most likely a package is missing where this task runs."
            " Fix: install apache-airflow-providers-amazon[s3fs] for s3://, apache-airflow-providers-google for gs://,"
            " apache-airflow-providers-microsoft-azure for abfs://"
        )

    @classmethod
    def of_no_folder(cls, error: OSError) -> LedgerError:
        """Build the error about a file that lies where a folder is needed."""
        return cls(
            f"{error.filename or error} lies at or below a file where a folder is needed. Put that file somewhere"
            " else, or give another path, and clear the task"
        )


class StateError(BulkError):
    """The state of ``changed_only`` cannot be read, or is not the one that this run began with; says what to do."""


class TooManyRemovedError(BulkError):
    """More records have left the source than may be removed; none of them was removed."""


class LiveTryError(BulkError):
    """Another live try of this task has begun the ledger with other rows, or another run goes on from the same state.

    Nothing was sent. A retry goes on from what the other leaves.
    """

    transient = True


class UnfinishedError(BulkError):
    """The try ended before all records were sent; the next one continues."""

    transient = True


class StoppedError(BulkError):
    """So many records have failed that the try ended before the others were sent; no retry goes on by itself."""


class PlanRefusedError(BulkError):
    """What would be done is not what was expected, or more than is allowed; nothing was sent."""


class WaitingError(BulkError):
    """Every customer that is left was told to wait for long: ``seconds`` until the first may go on.

    Nothing is in flight, and nothing is written down of the records that wait. ``is_fruitless``: no record has come
    to its end since the ledger was opened.
    """

    transient = True

    def __init__(self, seconds: float, *, is_fruitless: bool) -> None:
        super().__init__(
            "bulk not finished: all customers that are left were told to wait, the first for another"
            f" {seconds:.0f} s; the next try goes on from here"
        )
        self.seconds = seconds
        self.is_fruitless = is_fruitless


class TooManyFailuresError(BulkError):
    """More records failed or were skipped than ``max_failures`` allows. ``summary`` is that of the try.

    ``transient``: some of them may pass in the next try.
    """

    def __init__(self, message: str, *, transient: bool, summary: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.transient = transient
        self.summary = summary
