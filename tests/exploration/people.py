"""People who answer truly whether a move in doubt ran, in two steps: they write the answer, and look again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

import pendulum

from airflow_provider_whitebit.hooks.doubts import RESOLUTION, read_resolution
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.resolution import Answer, Resolution, unproven_nonces
from tests.exploration.exchange import WINDOW_MS
from tests.exploration.processes import MARGIN_MS
from tests.exploration.states import Answered, State

_MOMENT = pendulum.datetime(2026, 9, 21, tz="UTC")


def steps(state: State) -> Iterator[tuple[str, partial[State]]]:
    """What a person may do next."""
    if state.answering is not None:
        yield f"the person looks again at {state.answering.intent}", partial(_look_again, state, state.answering)
    elif state.budget.answers:
        for index in range(len(state.tasks)):
            yield from _questions(state, index)


def _questions(state: State, index: int) -> Iterator[tuple[str, partial[State]]]:
    unproven = _history(state, index).unproven
    nonces = unproven_nonces(unproven)
    if nonces and state.now <= max(nonces) + WINDOW_MS + MARGIN_MS:
        # An attempt may still be accepted, or its record may not be visible.
        return
    for intent in unproven:
        own = {attempt.nonce for attempt in intent.attempts}
        ran = next((one for one in state.ledger if one.request.process >= 0 and one.request.nonce in own), None)
        question = Answered(index, intent.id, tuple(sorted(nonces)), ran is not None)
        if not _is_answered(state, question):
            reference = None if ran is None else ran.reference
            yield f"a person answers {intent.id}: {question.ran}", partial(_answer, state, question, reference)


def _answer(state: State, question: Answered, reference: str | None) -> State:
    answer = Answer.RAN if question.ran else Answer.DID_NOT_RUN
    return _written(state, question, answer, reference).spend("answers")._replace(answering=question)


def _look_again(state: State, question: Answered) -> State:
    """The answer stands if nothing was sent meanwhile; otherwise it is taken back."""
    after = state._replace(answering=None)
    history = _history(state, question.task)
    if history.executed is None and unproven_nonces(history.unproven) == {*question.nonces}:
        return after._replace(answered=(*state.answered, question))
    return _written(after, question, Answer.EXPLAINED, None)


def _written(state: State, question: Answered, answer: Answer, reference: str | None) -> State:
    resolution = Resolution(
        question.intent, question.nonces, answer, "ann", "seen in the history", _MOMENT, reference=reference
    )
    return state.written(f"{RESOLUTION}{question.intent}", json.dumps(resolution.to_json()))


def _is_answered(state: State, question: Answered) -> bool:
    text = state.text(f"{RESOLUTION}{question.intent}")
    return text is not None and read_resolution(text).nonces == question.nonces


def _history(state: State, index: int) -> MoveHistory:
    """What the journal of a task says."""
    number = f"task{index}."
    texts = {name: text for name, text in state.store if name.startswith("whitebit_move__" + number)}
    written = sorted((int(name.rpartition("__")[2]), text) for name, text in texts.items() if text.startswith("{"))
    return MoveHistory.merge(json.loads(text) for _, text in written)
