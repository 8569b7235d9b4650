"""What a journal holds about one move: its intents of all generations, and what happened instead of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from airflow_provider_whitebit.client.errors import WhiteBitError
from airflow_provider_whitebit.moves.intent import KNOWLEDGE, Intent, Refusal, State

#: Version of the journal's documents. A document of another version is refused, never guessed at.
VERSION = 2
#: What is known of a move, from what a document may say that knows less than another one.
_CERTAINTY = (State.OPEN, State.REFUSED, State.EXECUTED)


@dataclass(frozen=True, slots=True)
class MoveHistory:
    """Everything known about one move.

    :param intents: by id, earliest first.
    :param superseded_by: keys of moves that the task went on to after this move failed.
    :param refusal: why this move failed when it was superseded.
    :param run: names the run of the task that wrote the last document.
    """

    intents: Mapping[str, Intent] = field(default_factory=dict)
    superseded_by: tuple[str, ...] = ()
    refusal: Refusal | None = None
    run: str = ""

    @property
    def begun(self) -> list[Intent]:
        """The intents that ran, or are in doubt."""
        return [one for one in self.intents.values() if one.in_doubt or one.state is State.EXECUTED]

    @property
    def unproven(self) -> list[Intent]:
        """The intents that may have run without our knowledge; none if one of them certainly ran."""
        return [] if self.executed else [one for one in self.intents.values() if one.unproven]

    @property
    def executed(self) -> Intent | None:
        """The intent that ran."""
        return next((one for one in self.intents.values() if one.state is State.EXECUTED), None)

    def with_intent(self, intent: Intent) -> Self:
        """This history with what is known of one intent."""
        return replace(self, intents={**self.intents, intent.id: intent})

    def superseded(self, key: str, error: WhiteBitError) -> Self:
        """This history after the task went on to another move.

        :param key: of the other move.
        :param error: why this move failed.
        """
        keys = tuple(dict.fromkeys((*self.superseded_by, key)))
        return replace(self, superseded_by=keys, refusal=Refusal.of(error))

    def to_json(self) -> dict[str, Any]:
        """The journal's document; :meth:`merge` reads it."""
        return {
            "version": VERSION,
            "intents": [intent.to_json() for intent in self.intents.values()],
            "superseded_by": list(self.superseded_by),
            "refusal": None if self.refusal is None else self.refusal.to_json(),
            "run": self.run,
        }

    @classmethod
    def merge(cls, documents: Iterable[Mapping[str, Any]]) -> Self:
        """Put together what several tries of a task wrote: whatever one of them knows is known.

        :param documents: of the journal, earliest try first.
        :raises ValueError: one of them cannot be read.
        """
        intents: dict[str, Intent] = {}
        superseded: dict[str, None] = {}
        refusal: Refusal | None = None
        run = ""
        for document in documents:
            for intent in _intents(document):
                # A later try's intents come last, so the last one is the one to go on with.
                known = intents.pop(intent.id, None)
                intents[intent.id] = intent if known is None else merge_intents(known, intent)
            superseded.update(dict.fromkeys(map(str, document.get("superseded_by", ()))))
            if document.get("refusal") is not None:
                refusal = Refusal.from_json(document["refusal"])
            run = str(document.get("run", ""))
        return cls(intents, tuple(superseded), refusal, run)


def _intents(document: Mapping[str, Any]) -> list[Intent]:
    version = document.get("version")
    if version != VERSION:
        raise ValueError(f"its version is {version!r}, this package reads {VERSION}")
    try:
        # Only to see that it is a list.
        tuple(document.get("superseded_by", ()))
        return [Intent.from_json(raw) for raw in document["intents"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"it cannot be read ({type(error).__name__}: {error})") from None


def merge_intents(earlier: Intent, later: Intent) -> Intent:
    """One intent as two documents of it know it."""
    attempts = {attempt.nonce: attempt for attempt in earlier.attempts}
    for attempt in later.attempts:
        known = attempts.get(attempt.nonce, attempt)
        attempts[attempt.nonce] = max(known, attempt, key=lambda either: KNOWLEDGE.index(either.outcome))
    # That a move ran is never forgotten.
    ended = max(later, earlier, key=lambda either: _CERTAINTY.index(either.state))
    answered = later if later.resolved_by else earlier
    return replace(
        ended,
        attempts=tuple(attempts[nonce] for nonce in sorted(attempts)),
        resolved_by=answered.resolved_by,
        reason=answered.reason,
    )
