"""Which Flex records are one record, and which of them are one movement of money. Pure.

The vendor does not say whether a transaction id is unique, nor whether opening an investment writes one record or two.
So nothing here relies on either. Vendor page: Lending (Flex plans).
"""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from airflow_provider_whitebit.client.models import FlexAction, FlexTransaction, plain

#: The records of one movement are written at most this many seconds apart.
SECONDS_APART = 2
#: The records of a history may be rounded to this unit, also for assets with more decimals.
ROUNDING_UNIT = Decimal("0.00000001")
#: A full withdrawal can include interest that was not credited yet. This is more than a day of it at 100 % a year.
_MOST_INTEREST = Decimal("0.003")

#: An opening may be recorded as OPEN_INVESTMENT, INVEST or both, a full withdrawal as CLOSE_INVESTMENT,
#: WITHDRAW_FROM_INVESTMENT or both.
_PARTNERS: dict[int, int] = {
    FlexAction.OPEN_INVESTMENT: FlexAction.INVEST,
    FlexAction.CLOSE_INVESTMENT: FlexAction.WITHDRAW_FROM_INVESTMENT,
}
_PARTNER_ACTIONS = frozenset(_PARTNERS.values())
_PRINCIPAL = frozenset({*_PARTNERS, *_PARTNERS.values(), FlexAction.REINVEST})


def same_plan(one: str, other: str) -> bool | None:
    """Return whether two identifiers name one plan; ``None`` if they do not tell.

    Plans have UUIDs, in letters of any case. The vendor's examples of records also show numbers, which may be other
    names of the same plans.
    """
    if one.lower() == other.lower():
        return True
    return False if one and is_uuid(one) == is_uuid(other) else None


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class FlexMovement:
    """One movement of money, and the records that the exchange wrote of it.

    :param records: one, or two of which the first opens or closes the investment.
    """

    records: tuple[FlexTransaction, ...]

    @property
    def main(self) -> FlexTransaction:
        """The record that says what happened: the one that opens or closes, if there are two."""
        return self.records[0]

    @property
    def amount(self) -> Decimal:
        """How much moved, without a sign, in units of the asset; of two amounts, the one without interest."""
        first, *others = (unsigned(record) for record in self.records)
        if not others or not others[0]:
            return first
        if same_amount(first, others[0]):
            return max(first, others[0], key=_decimals)
        return min(first, others[0]) or others[0]


def unsigned(record: FlexTransaction) -> Decimal:
    """Return how much a record moved. What leaves a plan may carry a sign; the action tells the direction.

    :returns: the amount without its sign, in units of the asset; unchanged for earnings and unknown actions.
    """
    return record.amount.copy_abs() if record.action_type in _PRINCIPAL else record.amount


def same_amount(one: Decimal, other: Decimal) -> bool:
    """Whether two amounts are equal but for their signs and for rounding to :data:`ROUNDING_UNIT`."""
    one, other = one.copy_abs(), other.copy_abs()
    near = abs(one - other) < ROUNDING_UNIT
    return one == other or (near and min(_decimals(one), _decimals(other)) <= _decimals(ROUNDING_UNIT))


def group_movements(records: Iterable[FlexTransaction]) -> list[FlexMovement]:
    """Group the records that the exchange wrote of one movement.

    OPEN_INVESTMENT and INVEST belong together, and so do CLOSE_INVESTMENT and WITHDRAW_FROM_INVESTMENT, if they are at
    most :data:`SECONDS_APART` apart, name no different plan, investment or asset, and have the same amount. The amounts
    may also differ if the two share a transaction id, if one is zero, or if the closing includes a day's interest.

    Two movements that look alike are grouped too: an opening, and an equal addition a second later. A caller who knows
    the balance can tell them apart.

    :param records: in any order.
    :returns: in the order of their main records.
    """
    records = list(records)
    taken = {place: main for main, place in paired_records(records)}
    of_main = {id(main): records[place] for place, main in taken.items()}
    return [
        FlexMovement((record, of_main[id(record)]) if id(record) in of_main else (record,))
        for place, record in enumerate(records)
        if place not in taken
    ]


def paired_records(records: list[FlexTransaction]) -> Iterator[tuple[FlexTransaction, int]]:
    """Yield the movements of which :func:`group_movements` finds two records.

    :param records: in any order.
    :returns: the record that opens or closes, and the place of the other one.
    """
    mains = [record for record in records if record.action_type in _PARTNERS]
    if not mains:
        return
    # Only what is near one that opens or closes can belong to it.
    near = {
        record.created_at.int_timestamp + apart
        for record in mains
        for apart in range(-SECONDS_APART, SECONDS_APART + 1)
    }
    partners: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        if record.action_type in _PARTNER_ACTIONS and (second := record.created_at.int_timestamp) in near:
            partners[record.action_type, second].append(place)
    taken: set[int] = set()
    for record in mains:
        partner = _partner(record, records, partners, taken)
        if partner is not None:
            taken.add(partner)
            yield record, partner


def _partner(
    record: FlexTransaction,
    records: list[FlexTransaction],
    partners: dict[tuple[int, int], list[int]],
    taken: set[int],
) -> int | None:
    """The place of the record that describes the same movement, the most similar one if there are several."""
    action, second = _PARTNERS[record.action_type], record.created_at.int_timestamp
    near = [
        place
        for moment in range(second - SECONDS_APART, second + SECONDS_APART + 1)
        for place in partners.get((action, moment), ())
        if place not in taken and _belongs(record, records[place])
    ]

    def unlikeness(place: int) -> tuple[bool, bool, int]:
        other = records[place]
        distance = abs(other.created_at.int_timestamp - second)
        return not _share_id(record, other), not same_amount(record.amount, other.amount), distance

    return min(near, key=unlikeness, default=None)


def _belongs(whole: FlexTransaction, part: FlexTransaction) -> bool:
    names = ("plan_id", "investment_id", "currency")
    if any((a := getattr(whole, name)) and (b := getattr(part, name)) and a != b for name in names):
        return False
    first, second = unsigned(whole), unsigned(part)
    return (
        _share_id(whole, part)
        or same_amount(first, second)
        or not (first and second)
        or (whole.action_type == FlexAction.CLOSE_INVESTMENT and 0 < first - second <= second * _MOST_INTEREST)
    )


def _share_id(one: FlexTransaction, other: FlexTransaction) -> bool:
    return bool(one.transaction_id) and one.transaction_id == other.transaction_id


def _decimals(amount: Decimal) -> int:
    return len(plain(amount).partition(".")[2])


def record_keys(records: Iterable[FlexTransaction]) -> Iterator[tuple[str, FlexTransaction]]:
    """Yield each record with a name that no other record has, and that stays the same whenever it is read.

    The name is made of the whole record, because several records can share a transaction id or have none. Identical
    records are numbered.

    :param records: all records of the seconds that they cover.
    """
    seen: Counter[str] = Counter()
    for record in records:
        key = _key(record)
        seen[key] += 1
        yield key if seen[key] == 1 else f"{key}/{seen[key]}", record


def _key(record: FlexTransaction) -> str:
    content = [
        "" if value is None else plain(value) if isinstance(value, Decimal) else str(value)
        for value in (getattr(record, name) for name in record.__slots__)
    ]
    return f"{record.transaction_id or 'record'}/{hashlib.sha256(chr(0).join(content).encode()).hexdigest()[:16]}"
