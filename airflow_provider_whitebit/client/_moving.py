"""The client that moves money. Only the hook makes one, and only ``moves/`` sends with it.

A private module: code that sends a move without a journal and the connection's limits can move money twice.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_whitebit.client.answers import unusable
from airflow_provider_whitebit.client.api import WhiteBitClient
from airflow_provider_whitebit.client.calls import MoveCall, ProbeCall
from airflow_provider_whitebit.client.endpoints import FLEX
from airflow_provider_whitebit.client.errors import WhiteBitError


class MovingClient(WhiteBitClient):
    """Reads an account, and sends moves exactly once with the nonce that it is given."""

    def send_move(self, call: MoveCall, *, nonce: int) -> str | None:
        """Send a money-moving call exactly once.

        :param nonce: milliseconds; the exchange accepts the call at most 5 s from it on its own clock.
        :returns: the identifier that the exchange gave it: of a transaction, of an investment, or none.
        :raises WhiteBitError: ``money_moved`` is ``False`` if it certainly did not run, else ``None``.
        """
        answer = self._transport._once(call.path, call.params, nonce=nonce, success={call.status})
        try:
            return call.reference_in(answer)
        except ValueError:
            raise unusable(call.path, call.status, answer) from None

    def claim_nonce(self, nonce: int, *, call: ProbeCall) -> None:
        """Use up one nonce with a harmless call.

        :param nonce: milliseconds, within the five-second window.
        :param call: the reading call; what it reads does not matter.
        :raises WhiteBitNonceError: another process has used the nonce with this key, or it is outside the window.
        :raises WhiteBitError: another refusal, or no usable answer: it is not known whether the nonce is used up.
        """
        try:
            answer = self._transport._once(call.path, call.params, nonce=nonce)
        except WhiteBitError as error:
            error.money_moved = False
            raise
        if not isinstance(answer, Mapping) or call.field not in answer:
            raise _without_move(unusable(call.path, 200, answer))

    def switch_auto_reinvest(self, plan_id: str, *, enabled: bool) -> None:
        """Switch auto-reinvest of the investment in a plan. Repeating the call changes nothing.

        :param plan_id: the plan.
        :param enabled: on or off.
        :raises WhiteBitError: one of its subclasses, by what the exchange answered.
        """
        path = f"{FLEX}/investments/auto-invest"
        answer = self._transport._repeatable(path, {"plan": plan_id, "enabled": enabled})
        # PHP writes an empty object as an empty list.
        if answer not in ({"data": []}, {"data": {}}):
            raise _without_move(unusable(path, 200, answer))


def _without_move(error: WhiteBitError) -> WhiteBitError:
    error.money_moved = False
    return error
