"""Records of the exchange that cannot be read: which one, which field, and what is known of it all the same. Pure.

One bad entry must stop only what depends on it. So lists name such records instead of failing, if the caller wants it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeGuard, TypeVar

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError, clean
from airflow_provider_whitebit.client.models import (
    AnsweredRecord,
    FieldError,
    FixedInvestment,
    FixedInvestmentStatus,
    FixedPlan,
    FlexInvestment,
    FlexInvestmentStatus,
    to_json,
)

log = logging.getLogger(__name__)

_CLOSED = {FlexInvestment: FlexInvestmentStatus.CLOSED, FixedInvestment: FixedInvestmentStatus.CLOSED}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """A record that lacks a needed field, or in which one cannot be read.

    :param kind: the class that it should be.
    :param path: of the call.
    :param fault: what is wrong with it; names the field.
    :param content: identifies it among unreadable records.
    :param known: the fields that can be read, by name.
    :param place: its position in the list, from 0.
    """

    kind: type[AnsweredRecord]
    path: str
    fault: str
    content: str
    known: Mapping[str, Any] = field(compare=False)
    place: int = field(compare=False)

    @classmethod
    def of(cls, kind: type[AnsweredRecord], path: str, raw: object, place: int) -> UnreadableRecord | None:
        """Describe an entry of a list; ``None`` if it can be read."""
        try:
            kind.read(raw)
        except FieldError as error:
            fault = f"{error}"
        except ValueError as error:
            fault = f"it {error}"
        else:
            return None
        known = kind.read_partly(raw)
        if kind is FixedInvestment and "plan" not in known and isinstance(raw, Mapping):
            plan = FixedPlan.read_partly(raw.get("plan"))
            known |= {"plan_id": plan.get("id"), "ticker": plan.get("ticker")}
        content = hashlib.sha256(repr(raw).encode(errors="backslashreplace")).hexdigest()[:16]
        return cls(kind, path, fault, content, known, place)

    @property
    def id(self) -> str:
        """A name that no readable record has."""
        return f"unreadable/{self.content}"

    @property
    def made_at(self) -> pendulum.DateTime | None:
        """When it was made; ``None`` if that cannot be read."""
        names = ("created_at", "created", "timestamp")
        return next((self.known[name] for name in names if self.known.get(name)), None)

    created_at = timestamp = made_at

    @property
    def plan_id(self) -> str | None:
        """Its plan; ``None`` if that cannot be read."""
        if self.kind.__name__.endswith("Plan"):
            return self.known.get("id")
        return self.known["plan"].id if "plan" in self.known else self.known.get("plan_id") or None

    @property
    def ticker(self) -> str | None:
        """Its asset; ``None`` if that cannot be read."""
        if "plan" in self.known:
            return str(self.known["plan"].ticker)
        return self.known.get("currency") or self.known.get("ticker") or None

    @property
    def closed(self) -> bool:
        """Whether it is an investment that is certainly over."""
        return "status" in self.known and self.known["status"] == _CLOSED.get(self.kind)

    def may_be_of(self, plan_id: str | None, ticker: str | None) -> bool:
        """Whether it can belong to a plan and an asset; each may be left open."""
        other_plan = plan_id is not None and self.plan_id is not None and self.plan_id.lower() != plan_id.lower()
        return not other_plan and (ticker is None or self.ticker in (None, ticker))

    def __str__(self) -> str:
        name = next((self.known[key] for key in ("id", "transaction_id", "market") if self.known.get(key)), None)
        which = f" {clean(str(name), 80)}" if name else f" at position {self.place}"
        plan = f" of plan {clean(self.plan_id, 80)}" if self.plan_id and self.plan_id != name else ""
        return f"{self.kind.__name__}{which}{plan}: {self.fault}"

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON, with null for what cannot be read."""
        return {one.name: to_json(self.known.get(one.name)) for one in fields(self.kind)}  # type: ignore[arg-type]

    def error(self) -> WhiteBitUnavailableError:
        """The error for a caller who needs this record."""
        return WhiteBitUnavailableError(f"The exchange sent an unreadable {self}.", path=self.path)


def split(records: Iterable[_T | UnreadableRecord]) -> tuple[list[_T], list[UnreadableRecord]]:
    """Separate readable records from the others."""
    found: list[_T] = []
    unreadable: list[UnreadableRecord] = []
    for record in records:
        if isinstance(record, UnreadableRecord):
            unreadable.append(record)
        else:
            found.append(record)
    return found, unreadable


def readable(records: Iterable[_T | UnreadableRecord], report: Callable[[UnreadableRecord], object]) -> Iterator[_T]:
    """The readable records; the others are reported.

    :param report: called with each unreadable record.
    """

    def keep(record: _T | UnreadableRecord) -> TypeGuard[_T]:
        if isinstance(record, UnreadableRecord):
            report(record)
            return False
        return True

    return filter(keep, records)


def warn(record: UnreadableRecord) -> None:
    """Log a record that is left out."""
    log.warning("Left out, because it cannot be read: %s (%s)", record, record.path)
