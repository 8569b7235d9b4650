"""What the exchange shows of a move in doubt, which other moves explain it, and which answers are acceptable. Pure.

Processes with Airflow's database know more other moves than a task does. Both judge by these rules.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitResolutionError, clean
from airflow_provider_whitebit.client.models import plain, to_json
from airflow_provider_whitebit.moves.doubts import sent_at
from airflow_provider_whitebit.moves.evidence import (
    NONCE_LIFE_MS,
    Explained,
    Trace,
    Verdict,
    ambiguous,
    ends_at_ms,
    judge,
    judge_transfer,
)
from airflow_provider_whitebit.moves.intent import Balances, Intent, Operation, Receipt
from airflow_provider_whitebit.moves.resolution import Answer, Resolution

#: Longest reason and longest name of a user that are kept.
LONGEST_REASON, LONGEST_NAME = 500, 250

_UNCHANGED = "Nothing was changed."


@dataclass(frozen=True, slots=True)
class Observation:
    """What the exchange answered.

    :param now: the exchange's Unix seconds, asked before anything else.
    :param traces: what the move may have left in the exchange's records.
    :param balances: for a transfer, what both sides hold.
    """

    now: int
    traces: tuple[Trace, ...] = ()
    balances: Balances | None = None


@dataclass(frozen=True, slots=True)
class OtherMove:
    """Another move that explains what the exchange shows.

    :param receipt: of the move.
    :param owner: the task that made it, in words.
    """

    receipt: Receipt
    owner: str

    @property
    def by_person(self) -> bool:
        """Whether only a person says that it left this record."""
        return bool(self.receipt.resolved_by)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record that the move may have left.

    :param trace: the record.
    :param explanation: the other move that left it; ``None`` if none is known.
    """

    trace: Trace
    explanation: OtherMove | None = None

    @property
    def name(self) -> str:
        """What a person calls it: the exchange's identifier, or the record's own name if it has none."""
        return self.trace.reference or self.trace.name


@dataclass(frozen=True, slots=True)
class Examined:
    """A move in doubt, and everything that is known about it.

    :param intent: the move and its attempts.
    :param nonces: of all attempts in its journal that may have run.
    :param margin_ms: how late the exchange may record what it accepted, in milliseconds.
    :param observation: what the exchange answered.
    :param verdict: what that proves without the records of other moves.
    :param candidates: records that the move may have left, the earliest first.
    """

    intent: Intent
    nonces: frozenset[int]
    margin_ms: int
    observation: Observation
    verdict: Verdict
    candidates: tuple[Candidate, ...] = ()

    @property
    def open_until(self) -> int | None:
        """The Unix second from which no attempt can be accepted or recorded any more; ``None`` if it has passed."""
        ends = max([ends_at_ms(self.intent), *(nonce + NONCE_LIFE_MS for nonce in self.nonces)])
        until = (ends + self.margin_ms) // 1000 + 1
        return until if self.observation.now < until else None

    @property
    def excluded(self) -> tuple[str, ...]:
        """The identifiers of records that certainly belong to other moves, not only by a person's word."""
        certain = (one for one in self.candidates if one.explanation and not one.explanation.by_person)
        return tuple(dict.fromkeys(one.trace.reference for one in certain if one.trace.reference))

    @property
    def remaining(self) -> tuple[Candidate, ...]:
        """The candidates that no other move explains."""
        return tuple(one for one in self.candidates if one.explanation is None)

    @property
    def needs_person(self) -> bool:
        """Whether only a person can tell whether the move ran."""
        return self.open_until is None and bool(self.verdict.unclear)

    def answer(self, *, ran: bool, user: str, reason: str, name: str | None = None) -> Resolution | None:
        """Return a person's answer for the move's task; ``None`` if it needs none.

        If no person is needed, the answer only says which records belong to other moves.

        :param ran: whether it ran.
        :param user: who says so.
        :param reason: why, in that person's words.
        :param name: the record of the move, if it ran and left one: a transaction, a Fixed investment, or the name of a
            record without an identifier. It may be left out if only one record remains.
        :raises WhiteBitResolutionError: the answer cannot be accepted.
        """
        user, reason = clean(user, LONGEST_NAME), clean(reason, LONGEST_REASON)
        if not user or not reason:
            raise refused("An answer needs a reason.", "Say how you know. The receipt quotes it.")
        if self.open_until is not None:
            raise refused(f"An attempt can still be accepted until {moment(self.open_until)}.", "Answer after that.")
        if not self.needs_person:
            return self._resolution(Answer.EXPLAINED, user, reason) if self.excluded else None
        if not ran:
            if name is not None:
                raise refused("A move that did not run has no transaction.", "Leave the transaction out.")
            return self._resolution(Answer.DID_NOT_RUN, user, reason)
        return self._resolution(Answer.RAN, user, reason, self.chosen(name))

    def chosen(self, name: str | None) -> Candidate | None:
        """Return the record that a person names; ``None`` for a transfer, which leaves none.

        :raises WhiteBitResolutionError: it is another move's, or none of the candidates.
        """
        if self.intent.move.operation is Operation.TRANSFER:
            if name is not None:
                raise refused("A transfer has no transaction.", "Leave the transaction out.")
            return None
        left = ", ".join(clean(one.name) for one in self.remaining) or "none"
        if name is None:
            if len(self.remaining) != 1:
                raise refused(f"Which record is this move? These remain: {left}.", "Name the transaction.")
            return self.remaining[0]
        named = [one for one in self.candidates if name in (one.trace.reference, one.trace.name)]
        if not named:
            raise refused(
                f"{clean(name)!r} is none of the records that may be this move. These remain: {left}.",
                "Name one of them. If none is this move, it did not run.",
            )
        # An opening or a close may leave two records under one identifier. Receipts name the first kind.
        one = min(named, key=lambda candidate: candidate.trace.kind)
        if one.explanation is not None:
            owner = clean(one.explanation.owner)
            raise refused(
                f"{clean(name)!r} belongs to another move, that of {owner}. These remain: {left}.",
                "Name another one. If none is this move, it did not run.",
            )
        return one

    def _resolution(self, answer: Answer, user: str, reason: str, chosen: Candidate | None = None) -> Resolution:
        trace = None if chosen is None else chosen.trace
        return Resolution(
            intent_id=self.intent.id,
            nonces=tuple(sorted(self.nonces)),
            answer=answer,
            resolved_by=user,
            reason=reason,
            resolved_at=pendulum.now("UTC").replace(microsecond=0),
            reference=None if trace is None else trace.reference,
            amount=None if trace is None else trace.amount,
            executed_at=pendulum.from_timestamp(trace.made_at, tz="UTC") if trace is not None and trace.dated else None,
            explained=self.excluded,
        )


def examine_records(
    intent: Intent,
    nonces: frozenset[int],
    margin_ms: int,
    observation: Observation,
    explain: Callable[[Sequence[Trace]], Sequence[OtherMove | None]],
) -> Examined:
    """Judge a move by the records that it may have left, without those of other moves.

    :param intent: in doubt.
    :param nonces: of all attempts in its journal that may have run.
    :param margin_ms: how late the exchange may record what it accepted, in milliseconds.
    :param observation: what the exchange answered.
    :param explain: returns for each trace the other move that left it.
    """
    shown: dict[str, Candidate] = {}
    repeated = ambiguous(observation.traces)
    while True:
        found = Examined(intent, nonces, margin_ms, observation, Verdict(), tuple(shown.values()))
        known = Explained(frozenset(found.excluded))
        verdict = judge(intent, observation.traces, margin_ms=margin_ms, explained=known)
        new = [trace for trace in verdict.traces if trace.name not in shown]
        if not new:
            candidates = tuple(sorted(shown.values(), key=lambda one: one.trace.made_at))
            return Examined(intent, nonces, margin_ms, observation, verdict, candidates)
        for trace, other in zip(new, explain(new), strict=True):
            shown[trace.name] = Candidate(trace, None if trace.reference in repeated else other)


def examine_transfer(
    intent: Intent, nonces: frozenset[int], margin_ms: int, observation: Observation, *, undisturbed: bool
) -> Examined:
    """Judge a transfer by the balances.

    :param undisturbed: whether no other transfer of this asset was sent since the last attempt.
    """
    if observation.balances is None:
        raise ValueError("the balances were not read")
    verdict = judge_transfer(intent, observation.balances, undisturbed=undisturbed)
    return Examined(intent, nonces, margin_ms, observation, verdict)


def evidence_mark(found: Examined) -> str:
    """Return a short name of what a person judges by: the move, its attempts, and the records that remain.

    For a transfer, which leaves no record, also the balances: by how many times its amount they have changed.
    """
    evidence: list[object] = [found.intent.id, sorted(found.nonces), sorted(one.name for one in found.remaining)]
    if found.observation.balances is not None:
        evidence += [_changes(found.intent, found.observation.balances), len(found.verdict.unclear)]
    return hashlib.sha256(json.dumps(evidence).encode()).hexdigest()[:8]


def _changes(intent: Intent, now: Balances) -> list[str]:
    """How many times its amount a transfer's balances have changed, rounded: a late transfer changes them by one.

    Earnings and small deposits change balances all the time. They must not undo every answer.
    """
    amount, before = intent.move.amount or 1, intent.unproven[-1].before or Balances(Decimal(0), Decimal(0))
    changes = (now.source - before.source, now.target - before.target)
    # As integers, which have no negative zero.
    return [str(int((change / amount).to_integral_value(ROUND_HALF_UP))) for change in changes]


def question_text(found: Examined, task: str) -> str:
    """Return what a person reads before answering, in Markdown: what was sent, what the exchange shows, what follows.

    :param task: that made the move, in words.
    """
    intent = found.intent
    sent = ", ".join(sent_at(attempt) for attempt in intent.unproven)
    parts = [f"**{_cell(str(intent.move))}**, by {_cell(task)}. Move `{_cell(intent.id)}` was sent at {sent}."]
    parts.append("What the exchange shows:")
    if found.candidates:
        rows = ["| Transaction | Time | Amount | Fits | Belongs to |", "| --- | --- | ---: | --- | --- |"]
        parts.append("\n".join([*rows, *map(_row, found.candidates)]))
    else:
        parts.append("\n".join(f"- {_cell(words)}" for words in found.verdict.unclear))
    parts.append(
        "**It ran**: the task returns a receipt with your name and reason. **It did not run**: the task makes the move "
        "again. A wrong answer can move money twice or not at all. **Not yet**: you are asked again."
    )
    parts.append(f"Money moves only when a user clears {_cell(task)} after your answer.")
    return "\n\n".join(parts)


def _row(one: Candidate) -> str:
    trace = one.trace
    amount = "unknown" if trace.amount is None else plain(trace.amount)
    time = moment(trace.made_at) if trace.dated else "unknown"
    owner = "no known move" if one.explanation is None else one.explanation.owner
    cells = (one.name, time, amount, "yes" if trace.fits else "not in every field", owner)
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    """A text of others that cannot end its cell or line."""
    return clean(text).replace("|", "\\|").replace("`", "'")


def refused(message: str, next_step: str) -> WhiteBitResolutionError:
    """Return the error for an answer that cannot be accepted."""
    return WhiteBitResolutionError(f"{message} {_UNCHANGED}", next_step=next_step)


def moment(seconds: int) -> str:
    """Return a time of the exchange as text."""
    return str(to_json(pendulum.from_timestamp(seconds, tz="UTC")))
