"""Lists that come in pages: each of their records once, also beyond the exchange's largest offset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any, Generic, TypeVar

from airflow_provider_whitebit.client.endpoints import SUB_ACCOUNT_TRANSFERS
from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError, WhiteBitValidationError

#: The exchange returns at most this many records at once, and none beyond this offset. Of some lists it returns none
#: whose offset and limit add up to this or more.
LARGEST_PAGE = 100
LARGEST_OFFSET = 10_000
#: Reading stops with an error after this many pages one after the other that bring nothing new.
_MOST_FRUITLESS = 50
#: Most pages of a run, and most records: without a limit, an exchange whose pages always bring something new would keep
#: the process for ever, or fill its memory.
_MOST_PAGES, _MOST_FOUND = LARGEST_OFFSET + _MOST_FRUITLESS, 10 * LARGEST_OFFSET
#: A page is short if it has at most one fifth of the entries asked for. No known page size is below a quarter of 100.
_SHORT = 5
#: Records of one list that runs newest first may be this many seconds out of order.
_DISORDER = 60
#: A list that comes whole this many times, whatever the offset, does not heed the offset.
_MOST_REPEATED = 10

RecordT = TypeVar("RecordT")


@dataclass(frozen=True, slots=True)
class PagedList(Generic[RecordT]):
    """A list of the exchange.

    :param read: sends one reading call with its path and parameters, and returns the decoded answer.
    :param path: of the call.
    :param params: of the call, without those for paging.
    :param parse: makes a record of one entry.
    :param name: identifies a record; ``None`` if only all of its content does.
    :param made_at: when a record was made, if the list runs newest first; aware times of one time zone.
    :param limit: how many records the caller wants; ``None`` for all of them.
    :param offset: leave out this many records at the beginning.
    :param offset_with_limit: whether the exchange counts the limit when it checks the offset.
    :param salvage: makes something of an entry that ``parse`` refused, at a position in the list, or raises.
    :param strict: whether an empty list must be certain, see :func:`entries_in`.
    """

    read: Callable[[str, dict[str, Any]], Any]
    path: str
    params: dict[str, Any]
    parse: Callable[[Mapping[str, Any]], RecordT]
    name: Callable[[RecordT], object] | None = None
    made_at: Callable[[RecordT], datetime | None] | None = None
    limit: int | None = None
    offset: int = 0
    offset_with_limit: bool = False
    salvage: Callable[[Any, int], RecordT] | None = None
    strict: bool = False

    @property
    def largest_offset(self) -> int:
        """The largest offset that the exchange accepts."""
        return LARGEST_OFFSET - self.page_size - 1 if self.offset_with_limit else LARGEST_OFFSET

    @property
    def page_size(self) -> int:
        """How many records to ask for at once."""
        return LARGEST_PAGE if self.limit is None else min(LARGEST_PAGE, self.limit)


def in_pages(listed: PagedList[RecordT]) -> Iterator[RecordT]:
    """The records of a list, each once, fetched page by page.

    Lists run newest first: a record that is added meanwhile pushes the last one of a page onto the next.

    :raises WhiteBitValidationError: if the list goes on beyond the largest offset.
    :raises WhiteBitUnavailableError: if the list changes faster than it can be read.
    """
    return _Run(listed, listed.params, listed.offset).records(whole=True)


def in_pages_by_time(listed: PagedList[RecordT], *, until: int | None) -> Iterator[RecordT]:
    """As :func:`in_pages`, for lists with a time filter: beyond the largest offset, the filter moves back in time.

    Each further run asks for records that are not later than the oldest one so far, and skips as many of each as the
    run before returned of that second and the next. So it does not matter whether the exchange's end date is inclusive.
    Memory holds the records of one run only.

    :param listed: a list with ``made_at`` whose records are identified by all of their content.
    :param until: not later than this Unix second.
    :raises WhiteBitUnavailableError: if records could be missing: the list does not run newest first, changes faster
        than it can be read, or more records share one or two seconds than the exchange returns.
    """
    made_at = listed.made_at
    assert made_at is not None
    known: Counter[object] = Counter()
    start = listed.offset
    while True:
        oldest: datetime | None = None
        in_order = True
        run = _Run(listed, listed.params if until is None else {**listed.params, "dateTo": until}, start)
        for record in run.records():
            if known and known[record] > 0:
                known[record] -= 1
                continue
            moment = made_at(record)
            if moment is None:
                # It cannot be read, so it does not show the order.
                pass
            elif oldest is None or moment <= oldest:
                oldest = moment
            elif int(moment.timestamp()) > int(oldest.timestamp()):
                in_order = False
            yield record
        if run.complete:
            return
        second = 0 if oldest is None else int(oldest.timestamp())
        if oldest is None or not in_order or (until is not None and second + 1 >= until):
            raise _inseparable(listed.path, until if in_order else None)
        until, start = second + 1, 0
        latest = datetime.fromtimestamp(until + 1, oldest.tzinfo)
        known = Counter(record for record in run.found if (made := made_at(record)) is None or made < latest)


def between(
    records: Iterable[RecordT], made_at: Callable[[RecordT], datetime | None], since: int | None, until: int | None
) -> Iterator[RecordT]:
    """Those of a list without a time filter that were made between two Unix seconds, both included.

    Reading stops after a page's worth of records in a row that are older, unless the list does not run newest first:
    then a record may be anywhere in it.

    :param records: of the list, read as they are needed.
    :param made_at: when a record was made; ``None`` if that cannot be read: such a record is never left out.
    :param since: ``None``: from the very first.
    :param until: ``None``: up to the last.
    """
    older, in_order = 0, True
    oldest: int | None = None
    for record in records:
        moment = made_at(record)
        if moment is None:
            yield record
            continue
        second = int(moment.timestamp())
        in_order &= oldest is None or second <= oldest + _DISORDER
        oldest = second if oldest is None else min(oldest, second)
        older = older + 1 if since is not None and second < since else 0
        if not older and (until is None or second <= until):
            yield record
        if in_order and older >= LARGEST_PAGE:
            return


class _Run(Generic[RecordT]):
    """Reads a list by its offsets, up to the largest.

    Each page begins with the last records of the one before. They show where the page belongs, whatever the exchange
    did in between: records that were added at the beginning shift the list, a node that is late shifts it back, and a
    page can have any length. The list ends where a page has nothing new although it had room.

    :ivar found: the records so far.
    :ivar complete: whether the list's end was reached.
    """

    def __init__(self, listed: PagedList[RecordT], params: dict[str, Any], start: int) -> None:
        self._listed, self._params, self._start = listed, params, start
        self.found: list[RecordT] = []
        self.complete = False
        self._names: list[object] = []
        self._known: set[object] = set()
        #: The offset of the first record, as far as the last page showed it.
        self._begin = start
        #: The most records that a page had, the least limit that an answer says it used, and whether pages that are
        #: not the last differ in length.
        self._longest, self._shortest, self._uneven = 0, LARGEST_PAGE, False
        #: The limit that the last answer says it used, if it is less than asked for.
        self._echoed: int | None = None
        #: Whether the next page does not overlap, whether the last one did not show its place, and whether later pages
        #: are read to find it.
        self._alone, self._lost, self._forward = True, False, False
        self._repeated = 0

    def records(self, *, whole: bool = False) -> Iterator[RecordT]:
        """Yield the records.

        :param whole: refuse a list that goes on beyond the largest offset.
        """
        listed, offset, fruitless, previous, pages = self._listed, self._start, 0, 0, 0
        while offset <= listed.largest_offset:
            pages += 1
            if pages > _MOST_PAGES or len(self.found) > _MOST_FOUND:
                raise WhiteBitUnavailableError("The exchange's list does not end.", path=listed.path)
            answer = listed.read(listed.path, {**self._params, "limit": listed.page_size, "offset": offset})
            page = self._page(answer, offset)
            place = self._place(page, offset)
            new = [] if place is None else self._add(page, place, offset)
            self._uneven |= bool(new) and 0 < previous < self._longest and self._echoed is None
            previous = len(page)
            yield from new
            fruitless = 0 if new else fruitless + 1
            if self._is_short(page) if new else self._ends(page, offset, place):
                self.complete = True
                break
            if fruitless > _MOST_FRUITLESS:
                raise WhiteBitUnavailableError("The list changed faster than it could be read.", path=listed.path)
            if offset == listed.largest_offset and place is not None:
                only = len(self.found) == len(page)
                self.complete = len(page) < (listed.page_size if only else self._longest)
                break
            offset = min(self._next(page, offset, place, at_end=not new), listed.largest_offset)
        if whole and not self.complete:
            raise WhiteBitValidationError(
                f"The exchange returns no records beyond offset {listed.largest_offset}.",
                path=listed.path,
                next_step="Narrow the filters.",
            )

    def _page(self, answer: Any, offset: int) -> list[RecordT]:
        """The records in an answer, and what its length shows of the list."""
        listed = self._listed
        page = parse_entries(
            entries_in(listed.path, answer, strict=listed.strict), listed.parse, listed.salvage, offset
        )
        echoed = answer.get("limit") if isinstance(answer, Mapping) else None
        if isinstance(echoed, str) and echoed.isdecimal() and len(echoed) < 6:
            echoed = int(echoed)
        self._echoed = echoed if type(echoed) is int and 0 < echoed < listed.page_size else None
        self._longest = max(self._longest, len(page))
        self._shortest = min(self._shortest, self._echoed or self._shortest)
        return page

    def _place(self, page: Sequence[RecordT], offset: int) -> int | None:
        """Where the first record of a page belongs among those found; ``None`` if there is a gap between them."""
        expected, count, names = offset - self._begin, len(self._names), self._named(page)
        if self._listed.name is not None:
            # Names tell what is new, wherever it is: such a record can leave the list or change its place.
            fresh = sum(name not in self._known for name in names)
            linked = fresh < len(page) or (page and (self._alone or offset == 0))
            return count + fresh - len(page) if linked else None
        place = _align(self._names, names, expected)
        if place is not None and (place != expected or self._lost):
            common = self._names[max(0, place) : place + len(page)]
            if len(common) < count and all(name == common[0] for name in common):
                # Identical records do not tell which of them they are. Read on until another one shows it.
                return None
        return count if place is None and page and self._alone and not self._newer(page) else place

    def _newer(self, page: Sequence[RecordT]) -> bool:
        """Whether a page has only records that were added since the first page was read."""
        made_at = self._listed.made_at
        if made_at is None or not self.found:
            return False
        last, first = made_at(page[-1]), made_at(self.found[0])
        return last is not None and first is not None and last > first

    def _add(self, page: Sequence[RecordT], place: int, offset: int) -> list[RecordT]:
        """Add those records of a page that follow the ones found, and return them."""
        if self._listed.name is None:
            new = list(page[max(0, len(self._names) - place) :])
        else:
            new = [record for record, name in zip(page, self._named(page), strict=True) if name not in self._known]
            self._known.update(self._named(new))
        self.found += new
        self._names += self._named(new)
        self._begin = offset + len(page) - len(self._names) if new else offset - place
        return new

    def _is_short(self, page: Sequence[RecordT]) -> bool:
        """Whether a first page is so short that it is the last, of the plans or investments that each move reads.

        An exchange that returns less than it is asked for would not return so little, or says what limit it used. Of a
        history nothing is taken for granted: a record that is missing there can be a move that is made twice.
        """
        alone = self._listed.name is not None and len(page) == len(self._names)
        return alone and self._echoed is None and len(page) * _SHORT <= self._listed.page_size

    def _ends(self, page: Sequence[RecordT], offset: int, place: int | None) -> bool:
        """Whether a page without new records shows the list's end."""
        count = len(self._names)
        if not page:
            # A history never becomes empty: a node that shows none of it is late.
            return self._alone or (offset == 0 and self._listed.made_at is None)
        if place is None or place + len(page) != count:
            return False
        self._repeated += self._listed.name is not None and len(page) == count
        had_room = len(page) < self._longest and not self._uneven if self._echoed is None else len(page) < self._echoed
        return had_room or self._repeated == _MOST_REPEATED

    def _next(self, page: Sequence[RecordT], offset: int, place: int | None, *, at_end: bool) -> int:
        """The offset to read next."""
        if place is None:
            # There is a gap: this node shows fewer records before these, or more. Look on both sides of it.
            self._alone, self._lost = False, True
            self._forward = bool(page) and (self._forward or offset == 0 or self._newer(page))
            return offset + len(page) if self._forward else max(0, offset - max(1, self._longest - 1))
        self._forward = self._alone = self._lost = False
        end, overlap = self._begin + len(self._names), self._overlap()
        # Where a page has room for no more than the overlap, read on without it.
        full = at_end and place + len(page) == len(self._names) and len(page) <= overlap
        self._alone = full or self._longest == 1
        return max(0, end if self._alone else end - overlap)

    def _overlap(self) -> int:
        """How many of the last records to read again: enough to tell identical ones apart."""
        if self._listed.name is not None:
            return 1
        last = self._names[-1]
        alike = sum(1 for _ in takewhile(lambda name: name == last, reversed(self._names)))
        return min(alike + 1, max(1, min(self._longest, self._shortest) - 1), len(self._names))

    def _named(self, records: Sequence[RecordT]) -> list[object]:
        return list(records if self._listed.name is None else map(self._listed.name, records))


def _align(found: Sequence[object], page: Sequence[object], expected: int) -> int | None:
    """Find where a page belongs among the records that were found before.

    :param expected: the place if nothing changed in between.
    :returns: the place of the page's first record, nearest to the expected one; negative if new records come before
        all that were found; ``None`` if page and records have nothing in common.
    """
    if not found:
        return 0

    def fits(place: int) -> bool:
        first, last = max(0, place), min(len(found), place + len(page))
        if first >= last or found[first] != page[first - place]:
            return False
        return list(found[first:last]) == list(page[first - place : last - place])

    if fits(expected):
        return expected
    places = sorted(range(1 - len(page), len(found)), key=lambda place: (abs(place - expected), place))
    for place in filter(fits, places):
        return place
    # A record may have left the list, or come late. The last one that both have in common tells the place.
    positions = {name: place for place, name in enumerate(found)}
    common = ((positions[name] - place) for place, name in reversed(list(enumerate(page))) if name in positions)
    return next(common, None)


def _inseparable(path: str, crowded: int | None) -> WhiteBitUnavailableError:
    why = "they do not run newest first" if crowded is None else f"too many were made about second {crowded}"
    return WhiteBitUnavailableError(
        f"The exchange returns no records beyond offset {LARGEST_OFFSET}, and these cannot be split by their dates: "
        f"{why}.",
        path=path,
    )


def parse_entries(
    entries: Sequence[Any],
    parse: Callable[[Any], RecordT],
    salvage: Callable[[Any, int], RecordT] | None,
    offset: int = 0,
) -> list[RecordT]:
    """Make records of the entries of a list.

    :param parse: makes a record of one entry.
    :param salvage: makes something of an entry that ``parse`` refused, at a position in the list, or raises.
    :param offset: position of the first entry.
    """
    try:
        return [parse(entry) for entry in entries]
    except WhiteBitUnavailableError:
        if salvage is None:
            raise
    found: list[RecordT] = []
    for place, entry in enumerate(entries, offset):
        try:
            found.append(parse(entry))
        except WhiteBitUnavailableError:
            found.append(salvage(entry, place))
    return found


def entries_in(path: str, answer: Any, *, strict: bool = False) -> Sequence[Any]:
    """The list in an answer: plans come bare, other lists under ``data`` or ``records``.

    The vendor's page of a sub-account's transfers shows the list under ``data``, and says that it is bare.

    PHP writes a list with gaps as an object of numbered entries, and an empty one as ``{}``; other servers write null
    for an empty one. All of them count as the list.

    :param strict: accept ``{}`` and null only beside the ``limit`` and ``offset`` of a whole answer. Alone, they do not
        prove that there are no records.
    :raises WhiteBitUnavailableError: there is none.
    """
    names = [name for name in ("data", "records") if name in answer] if isinstance(answer, Mapping) else []
    if names:
        found = answer[names[0]]
    elif path.endswith("/plans") or path == SUB_ACCOUNT_TRANSFERS:
        found = answer
    else:
        raise _no_list(path)
    if isinstance(found, list):
        return found
    if strict and not found and not (names and all(type(answer.get(name)) is int for name in ("limit", "offset"))):
        raise _no_list(path)
    if found is None:
        return []
    if isinstance(found, Mapping) and all(name.isdecimal() or isinstance(one, Mapping) for name, one in found.items()):
        return list(found.values())
    raise _no_list(path)


def _no_list(path: str) -> WhiteBitUnavailableError:
    return WhiteBitUnavailableError("The exchange sent no list where one was expected.", path=path)
