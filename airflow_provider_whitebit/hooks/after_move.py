"""What happens after a move: reports of it must never fail a task whose money has moved."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

log = logging.getLogger(__name__)


@contextmanager
def after_move(problem: str) -> Iterator[None]:
    """Log an error instead of raising it, so that the task returns its receipt.

    Airflow ends a task that timed out or was stopped by a ``BaseException``; such errors are raised.

    :param problem: what is missing if there is an error, in words.
    """
    try:
        yield
    except Exception as error:
        # Logging may be what fails.
        with suppress(Exception):
            log.warning("The move was made, but %s (%s)", problem, type(error).__name__, exc_info=True)
