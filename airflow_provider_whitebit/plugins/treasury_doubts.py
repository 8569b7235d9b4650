"""The page's part for one move in doubt: what is known of it, and a user's answer."""

from __future__ import annotations

from typing import Annotated, Any

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, get_user
from fastapi import APIRouter, Depends, HTTPException, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_whitebit.client.errors import WhiteBitError, clean
from airflow_provider_whitebit.client.models import plain
from airflow_provider_whitebit.control.connections import Patience
from airflow_provider_whitebit.control.doubts import Outcome, get_doubt, resolve, settle
from airflow_provider_whitebit.control.examination import examination_json, explain, key_of, observe
from airflow_provider_whitebit.control.search import Doubt, Reader, readable
from airflow_provider_whitebit.moves.examination import LONGEST_REASON, Observation
from airflow_provider_whitebit.moves.intent import Move
from airflow_provider_whitebit.moves.resolution import Answer
from airflow_provider_whitebit.plugins.same_origin import require_same_origin
from airflow_provider_whitebit.plugins.treasury_cache import SingleFlightCache
from airflow_provider_whitebit.plugins.treasury_data import ANSWER_TIMEOUT, BUDGET, facts_of
from airflow_provider_whitebit.plugins.treasury_load import pace
from airflow_provider_whitebit.plugins.treasury_permissions import Permissions

#: What the exchange shows of moves in doubt, shared by all users. Every request checks the user's permission first.
observations: SingleFlightCache[Observation] = SingleFlightCache()
#: How long a person in front of the page waits for the exchange.
PATIENCE = Patience(timeout=ANSWER_TIMEOUT, retries=0, all_calls=BUDGET + ANSWER_TIMEOUT)
router = APIRouter(dependencies=[Depends(get_user)])

#: Names of moves, as this package gives them.
_IntentId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
_UNCHANGED = "Nothing was changed."


class GivenAnswer(BaseModel):
    """What a user answers about a move in doubt.

    :param intent_id: of the move.
    :param answer: ``explained`` only excludes records of other moves, if no person is needed.
    :param transaction_id: the record of the move, if it ran and left one.
    :param reason: how the user knows.
    :param confirm: what the user has typed: :func:`confirmation_of` the move.
    :param seen: the ``mark`` of the evidence that the user has seen.
    """

    model_config = ConfigDict(extra="forbid")

    intent_id: _IntentId
    answer: Answer
    transaction_id: Annotated[str | None, Field(max_length=300)] = None
    reason: Annotated[str, Field(max_length=LONGEST_REASON)] = ""
    confirm: Annotated[str, Field(max_length=200)] = ""
    seen: Annotated[str, Field(max_length=100)] = ""


@router.get("/api/doubt")
def evidence(
    response: Response, session: SessionDep, user: GetUserDep, intent_id: Annotated[_IntentId, Query()]
) -> dict[str, Any]:
    """Return what is known about one move in doubt. The exchange is asked.

    :param intent_id: of the move.
    """
    response.headers["Cache-Control"] = "no-store"
    permissions = Permissions(user, session)
    with pace.turn():
        doubt, reader = _visible(permissions, session, intent_id)
        may_resolve = _may_edit(permissions, doubt)
    confirm = confirmation_of(doubt.known_intent.move)
    about: dict[str, Any] = {"may_resolve": may_resolve, "confirm": confirm, "error": None, "evidence": None}
    try:
        with pace.turn():
            key = key_of(session, doubt, reader)
        found = observations.get(
            f"{intent_id} {sorted(doubt.nonces)}", lambda: observe(key, doubt.known_intent, PATIENCE)
        )
        if found is not None:
            with pace.turn():
                about["evidence"] = examination_json(explain(session, doubt, key, found, reader))
    except WhiteBitError as error:
        about["error"] = facts_of(error, of_task=True)
    return about


@router.post("/api/doubt", dependencies=[Depends(require_same_origin)])
def answer(response: Response, session: SessionDep, user: GetUserDep, given: GivenAnswer) -> dict[str, Any]:
    """Keep a user's answer about a move in doubt for its task.

    :param given: the answer.
    """
    response.headers["Cache-Control"] = "no-store"
    permissions = Permissions(user, session)
    doubt, reader = _visible(permissions, session, given.intent_id)
    if not _may_edit(permissions, doubt):
        raise HTTPException(403, f"You are not allowed to edit this task instance. {_UNCHANGED}")
    wanted = confirmation_of(doubt.known_intent.move)
    if given.answer is not Answer.EXPLAINED and given.confirm.strip() != wanted:
        raise HTTPException(422, f"Type {wanted} to confirm. {_UNCHANGED}")
    try:
        outcome = _keep(session, given, str(user.get_name()), reader)
    except WhiteBitError as error:
        facts = facts_of(error, of_task=True)
        raise HTTPException(409, " ".join([facts["message"], *facts["next_steps"]])) from error
    return {"message": outcome.in_words, "next_step": outcome.next_step, "task": doubt.task.to_json()}


def _keep(session: Any, given: GivenAnswer, user: str, reader: Reader) -> Outcome:
    if given.answer is Answer.EXPLAINED:
        return settle(session, given.intent_id, user=user, reader=reader, patience=PATIENCE)
    return resolve(
        session,
        given.intent_id,
        ran=given.answer is Answer.RAN,
        user=user,
        reason=given.reason,
        transaction_id=given.transaction_id,
        seen=given.seen,
        reader=reader,
        patience=PATIENCE,
    )


def confirmation_of(move: Move) -> str:
    """Return what a user types to confirm an answer about a move: its amount and asset."""
    return clean(move.ticker if move.amount is None else f"{plain(move.amount)} {move.ticker}", 100)


def _visible(permissions: Permissions, session: Any, intent_id: str) -> tuple[Doubt, Reader]:
    """A move in doubt that the user may see, and what the user may read.

    :raises HTTPException: there is none, or its journal cannot be read. Others learn nothing about it.
    """
    reader = Reader(
        permissions.tasks(permissions.dag_ids()),
        permissions.variables,
        may_read_connection=lambda conn_id: bool(permissions.connections({conn_id})),
    )
    try:
        found = readable([get_doubt(session, intent_id)], reader)
    except WhiteBitError:
        found = []
    if not found:
        raise HTTPException(404, "This move is not in doubt, or you may not read it.")
    return found[0], reader


def _may_edit(permissions: Permissions, doubt: Doubt) -> bool:
    """Whether the user may edit every task instance that has this move in its journal."""
    dag_ids = {task.dag_id for task in (doubt.task, *doubt.tasks)}
    return permissions.editable_tasks(dag_ids) == dag_ids
