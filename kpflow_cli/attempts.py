"""Several pieces of work one after the other, whatever becomes of those before."""

from __future__ import annotations

from collections.abc import Sequence

from kpflow_cli.errors import FailedRunError, UserError

# what was tried, and why it came to nothing
Failure = tuple[str, Exception]


def raise_failures(failures: Sequence[Failure], count: int, told: str) -> None:
    """Raises one error for all of ``count`` attempts that came to nothing, in words such as
    ``verifications failed``: UserError where none was sound, FailedRunError else, and nothing where
    there were none.
    """
    if not failures:
        return
    reasons = "; ".join(f"{label}: {error}" for label, error in failures)
    refused = [error for _, error in failures if isinstance(error, UserError)]
    kind = UserError if len(refused) == count else FailedRunError
    raise kind(f"{len(failures)} of {count} {told}: {reasons}")
