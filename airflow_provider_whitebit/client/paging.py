"""Lists that come in pages: all of their records, each once, also beyond the offset where the exchange stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError, WhiteBitValidationError

#: The exchange gives at most so many records at once, and none beyond this offset.
LARGEST_PAGE = 100
LARGEST_OFFSET = 10_000

RecordT = TypeVar("RecordT")
#: Fetches one page: how many, from which offset, not later than which Unix second.
Fetch = Callable[[int, int, int | None], Sequence[RecordT]]


def in_pages(fetch: Fetch[RecordT], *, name: Callable[[RecordT], object], offset: int = 0) -> Iterator[RecordT]:
    """The records of a list, page by page as they are asked for, each once.

    Lists run newest first: a record that is added meanwhile pushes the last one of a page onto the next.

    :param fetch: fetches one page.
    :param name: what tells records apart.
    :param offset: leave out so many at the beginning.
    :raises WhiteBitValidationError: if the list goes on beyond what the exchange gives.
    """
    seen: set[object] = set()
    for page in _run(fetch, offset, None):
        for record in page:
            if name(record) not in seen:
                seen.add(name(record))
                yield record
        if len(page) < LARGEST_PAGE:
            return
    raise WhiteBitValidationError(
        f"The exchange gives no records beyond offset {LARGEST_OFFSET}; narrow the filters.",
    )


def in_pages_by_time(
    fetch: Fetch[RecordT],
    *,
    name: Callable[[RecordT], object],
    second: Callable[[RecordT], int],
    until: int | None,
    offset: int = 0,
) -> Iterator[RecordT]:
    """As :func:`in_pages`, for lists that can be asked for by time: where the offset ends, the time goes on.

    Each further run asks for what is not later than the oldest record so far, and leaves out what was seen of that
    second and the next (so it does not matter whether the exchange means its end date to be included). No more than
    the names of one run are kept in memory.

    :param second: when a record was made, in Unix seconds.
    :param until: not later than this Unix second.
    :raises WhiteBitUnavailableError: if the list does not run newest first, or more records share one or two seconds
        than the exchange gives: then nobody could tell whether one is missing.
    """
    seen: dict[object, int] = {}
    while True:
        oldest, in_order = None, True
        for page in _run(fetch, offset, until):
            for record in page:
                if name(record) in seen:
                    continue
                made_at = seen[name(record)] = second(record)
                in_order = in_order and (oldest is None or made_at <= oldest)
                oldest = made_at if oldest is None else min(oldest, made_at)
                yield record
            if len(page) < LARGEST_PAGE:
                return
        if oldest is None or not in_order or (until is not None and oldest + 1 >= until):
            raise WhiteBitUnavailableError(
                f"The exchange gives no records beyond offset {LARGEST_OFFSET}, and these cannot be split by their "
                "dates: "
                + ("they do not run newest first." if not in_order else f"too many were made about second {until}.")
            )
        until, offset = oldest + 1, 0
        seen = {known: made_at for known, made_at in seen.items() if made_at <= until}


def _run(fetch: Fetch[RecordT], offset: int, until: int | None) -> Iterator[Sequence[RecordT]]:
    """The pages that the exchange gives, the last of them at the largest offset."""
    if offset <= LARGEST_OFFSET:
        yield fetch(LARGEST_PAGE, offset, until)
    while offset < LARGEST_OFFSET:
        offset = min(offset + LARGEST_PAGE, LARGEST_OFFSET)
        yield fetch(LARGEST_PAGE, offset, until)
