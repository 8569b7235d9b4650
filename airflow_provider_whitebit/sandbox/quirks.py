"""What the vendor's pages leave open, and another exchange than the sandbox could do differently."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

#: Entries per page with ``short_pages``.
SHORT_PAGE = 25
#: Decimals of amounts with ``rounded_amounts``.
ROUNDED_DECIMALS = 8
#: The hour, UTC, of ``later_earnings``.
LATER_EARNINGS = 3
#: The asset of ``delisted_asset``.
DELISTED = "SOL"
#: What ``unknown_numbers`` shows.
UNKNOWN_ACTION, UNKNOWN_FLEX_STATUS, UNKNOWN_FIXED_STATUS, UNKNOWN_PLAN_STATUS, UNKNOWN_MAIN_STATUS = 7, 2, 3, 5, 29
#: Seconds for which an investment, a deposit or a withdrawal has an unknown status.
BEING_OPENED = 10


def _quirk(text: str) -> Any:
    return field(default=False, metadata={"text": text})


@dataclass(frozen=True, slots=True)
class Quirks:
    """How an exchange differs. Each quirk is off by default; :data:`QUIRKS` explains each.

    :raises ValueError: if two of them exclude each other, see :data:`EXCLUDING`.
    """

    nonces_422: bool = _quirk("a nonce that was used, or is too small, is refused with HTTP 422 instead of 429")
    two_records: bool = _quirk(
        "an opening writes INVEST beside OPEN_INVESTMENT, a full withdrawal WITHDRAW_FROM_INVESTMENT beside "
        "CLOSE_INVESTMENT"
    )
    shared_ids: bool = _quirk("all records of one call have the same transaction id, the earning that closing pays too")
    signed_amounts: bool = _quirk("records of what leaves an investment have a minus sign")
    rounded_amounts: bool = _quirk("the histories show at most 8 decimals")
    interest_in_withdrawals: bool = _quirk(
        "closing is recorded as one amount with its interest, which has no earning of its own"
    )
    no_ids: bool = _quirk("records name neither their transaction nor their investment")
    later_earnings: bool = _quirk("earnings are credited at 03:00 UTC instead of midnight")
    late_records: bool = _quirk("records and investments appear in lists 3 seconds after they were made")
    unknown_numbers: bool = _quirk(
        "statuses and actions that no page lists: of investments, deposits and withdrawals in their first 10 seconds, "
        "of inactive Fixed plans, of a record of 0 after each earning"
    )

    camel_case_ids: bool = _quirk("transactionId instead of transaction_id, in answers to moves and in records")
    investment_answers: bool = _quirk("Flex moves are answered with the investment, without a transaction id")
    empty_answers: bool = _quirk("closing a Flex investment and transfers are answered with {}")
    padded_amounts: bool = _quirk("amounts and rates have zeros at their end")
    percent_rates: bool = _quirk("the maxRate of Flex plans is in percent")
    numbers: bool = _quirk("amounts are JSON numbers instead of strings")
    numeric_ids: bool = _quirk("identifiers of new investments and transactions are JSON numbers")
    text_booleans: bool = _quirk('true and false are the texts "true" and "false"')
    null_rates: bool = _quirk("the maxRate of Flex plans is null or missing, by turns")
    empty_times: bool = _quirk('times of investments are "" or null')
    object_lists: bool = _quirk("an empty list is {}")
    null_lists: bool = _quirk("an empty list is null")
    oldest_first: bool = _quirk("lists of investments, Flex histories and Fixed payments run oldest first")
    exclusive_dates: bool = _quirk("dateTo leaves out the records of its own second")
    short_pages: bool = _quirk("pages have at most 25 entries, and answers with a limit say so")

    ok_refusals: bool = _quirk("refusals come with the status of a success, the reason in errors and warning")
    gateway_answers: bool = _quirk(
        "every other move is answered by a gateway: 403, 413 or 502, JSON or HTML, by turns after it ran and before"
    )
    maintenance: bool = _quirk("the exchange is under maintenance. It excludes all others")

    delisted_asset: bool = _quirk("SOL is in no public list and in no list of plans, while money lies in a plan of it")
    active_plans: bool = _quirk("only Fixed plans that take money are listed")
    paused_plans: bool = _quirk("a plan that holds money of the caller is paused")
    vanished_plans: bool = _quirk("a plan that holds money of the caller is in no list and takes no more")

    skewed_nodes: bool = _quirk("each request is answered by one of several nodes, whose clocks differ by up to 1.8 s")
    stale_replicas: bool = _quirk(
        "every other list or balance, by chance, is read from a replica that is 5 seconds late"
    )

    def __post_init__(self) -> None:
        for one, other in EXCLUDING:
            if getattr(self, one) and getattr(self, other):
                raise ValueError(f"the quirks {one} and {other} exclude each other")

    @classmethod
    def named(cls, names: Iterable[str]) -> Self:
        """Return those with these names.

        :raises ValueError: with a name that does not exist, or two that exclude each other.
        """
        return cls(**_known(dict.fromkeys(names, True)))

    @property
    def names(self) -> list[str]:
        """The names of those that are on."""
        return [name for name in QUIRKS if getattr(self, name)]

    def switched(self, switches: Mapping[str, bool]) -> Self:
        """Return these, with some of them switched on or off.

        :param switches: by name, whether it is on.
        :raises ValueError: as :meth:`named`.
        """
        return self.__class__(**(dict.fromkeys(self.names, True) | _known(switches)))

    def page(self, page: tuple[int, int]) -> tuple[int, int]:
        """Return the limit and offset that are used where these are asked for."""
        limit, offset = page
        return (min(limit, SHORT_PAGE) if self.short_pages else limit), offset

    @property
    def order(self) -> str:
        """The order of lists for which the vendor states none, in SQL."""
        return "ASC" if self.oldest_first else "DESC"

    def delisted(self, ticker: str) -> bool:
        """Return whether an asset has left the public lists."""
        return self.delisted_asset and ticker == DELISTED


#: Every quirk by name, with what differs.
QUIRKS: dict[str, str] = {one.name: one.metadata["text"] for one in fields(Quirks)}
#: Quirks that cannot be on at the same time.
EXCLUDING: tuple[tuple[str, str], ...] = (
    ("camel_case_ids", "investment_answers"),
    ("object_lists", "null_lists"),
    ("paused_plans", "vanished_plans"),
    *((name, "maintenance") for name in QUIRKS if name != "maintenance"),
)


def _known(switches: Mapping[str, bool]) -> dict[str, bool]:
    """:raises ValueError: if there is no quirk of such a name."""
    if unknown := sorted(switches.keys() - QUIRKS.keys()):
        raise ValueError(f"there is no quirk {unknown[0]!r}; known are {', '.join(QUIRKS)}")
    return dict(switches)
