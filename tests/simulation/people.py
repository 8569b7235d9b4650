"""People who answer moves in doubt as the package lets them, rightly or wrongly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pendulum

from airflow_provider_whitebit.hooks.doubts import RESOLUTION, read_resolution
from airflow_provider_whitebit.moves.evidence import ends_at_ms
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Intent
from airflow_provider_whitebit.moves.resolution import Answer, Resolution, unproven_nonces
from tests.simulation.oracles import Broken
from tests.simulation.stores import Store
from tests.simulation.tasks import RECONCILE_MARGIN_MS, Task
from tests.simulation.wire import Sent, Venue

#: Whether a person says that an intent ran.
Judgement = Callable[[Intent], bool]


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that was given while nothing was written into the journal.

    :param at_ms: when it was certain that it stands.
    """

    task: Task
    resolution: Resolution
    at_ms: int


@dataclass
class People:
    """Everyone who answers, and what they have answered."""

    venue: Venue
    store: Store
    tasks: list[Task]
    given: list[Given] = field(default_factory=list)

    def exclude(self, task: Task, explained: Iterable[str]) -> None:
        """Say which records belong to other moves. Nobody has to look for that: their receipts name them."""
        for history in self.store.histories(task.name, shares_key=task.shares_key):
            for intent in history.unproven:
                self._write(self._resolution(intent, Answer.EXPLAINED, history.unproven, explained))

    def answer(self, task: Task, judge: Judgement, *, explained: Iterable[str] = (), by: str = "ann") -> bool:
        """Answer what a task is in doubt about, if that is allowed now.

        :param judge: what this person thinks.
        :param explained: identifiers of records that belong to other moves.
        :returns: whether an answer stands.
        """
        stands = False
        for number, history in enumerate(self._histories(task)):
            for intent in history.unproven:
                if self._now_ms() <= ends_at_ms(intent) + RECONCILE_MARGIN_MS:
                    continue
                told = Answer.RAN if judge(intent) else Answer.DID_NOT_RUN
                resolution = self._resolution(intent, told, history.unproven, explained, by)
                if self._is_answered(intent, history):
                    self.venue.world.note(f"{by}: {intent.id} has been answered before")
                    continue
                self.venue.world.note(f"{by}: {intent.id} {told}, of attempts {resolution.nonces}")
                self._write(resolution)
                self._think()
                now = self._histories(task)[number]
                if unproven_nonces(now.unproven) == {*resolution.nonces} and now.executed is None:
                    self.given.append(Given(task, resolution, self.venue.world.clock.now))
                    stands = True
                else:
                    self.venue.world.note(f"{by}: something has changed, the answer is taken back")
                    self._write(self._resolution(intent, Answer.EXPLAINED, history.unproven, explained, by))
        return stands

    def check(self) -> None:
        """:raises Broken: something was sent against a true answer, or a receipt hides whose word it rests on."""
        for given in self.given:
            made = [sent for sent in self.venue.sent if sent.executed and sent.process.task is given.task]
            meant = [sent for sent in made if sent.nonce in given.resolution.nonces]
            for sent in made:
                if sent.at_ms <= given.at_ms:
                    continue
                if (given.resolution.answer is Answer.RAN and meant) or sent in meant:
                    raise Broken("against an answer", f"{given.task.name}: {sent.nonce} after {given.resolution}")
            self._check_receipt(given)

    def _check_receipt(self, given: Given) -> None:
        """A false receipt, and one of money that moved twice, says whose wrong answer that was."""
        receipt = given.task.result.receipt if given.task.result is not None else None
        if receipt is None or receipt.resolved_by:
            return
        made = [sent for sent in self.venue.sent if sent.executed and sent.process.task is given.task]
        ran = any(sent.nonce in given.resolution.nonces for sent in made)
        false = receipt.intent_id == given.resolution.intent_id and not made
        if false if given.resolution.answer is Answer.RAN else ran and len(made) > 1:
            raise Broken("nobody's word", f"{given.task.name} has {receipt} after {given.resolution}")

    def _is_answered(self, intent: Intent, history: MoveHistory) -> bool:
        """Whether someone was faster. An answer is never replaced: looking and writing are one step."""
        text = self.store.documents.get(f"{RESOLUTION}{intent.id}")
        return text is not None and read_resolution(text).answers(intent, unproven_nonces(history.unproven))

    def _histories(self, task: Task) -> list[MoveHistory]:
        return self.store.histories(task.name, shares_key=task.shares_key)

    def _now_ms(self) -> int:
        return self.venue.world.clock.now + self.venue.random.choice(self.venue.exchange.nature.skews_ms)

    def _think(self) -> None:
        """Let time pass between two steps of a person, if the world goes on meanwhile."""
        if self.venue.world.in_process:
            self.venue.world.wait(self.venue.random.randint(0, 3_000))

    def _resolution(
        self, intent: Intent, answer: Answer, unproven: Iterable[Intent], explained: Iterable[str], by: str = "records"
    ) -> Resolution:
        sent = self.sent_for(intent)
        return Resolution(
            intent_id=intent.id,
            nonces=tuple(sorted(unproven_nonces(unproven))),
            answer=answer,
            resolved_by=by,
            reason="seen in the history",
            resolved_at=pendulum.from_timestamp(self.venue.world.clock.now / 1000, tz="UTC"),
            reference=sent.reference if sent is not None and answer is Answer.RAN else None,
            explained=tuple(explained),
        )

    def sent_for(self, intent: Intent) -> Sent | None:
        """What the exchange has executed for an intent."""
        nonces = {attempt.nonce for attempt in intent.attempts}
        return next((sent for sent in self.venue.sent if sent.executed and sent.nonce in nonces), None)

    def _write(self, resolution: Resolution) -> None:
        self.store.documents[f"{RESOLUTION}{resolution.intent_id}"] = json.dumps(resolution.to_json())
