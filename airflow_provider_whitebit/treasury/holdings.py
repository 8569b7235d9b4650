"""What an account holds at one moment. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from airflow_provider_whitebit.client.errors import WhiteBitUnavailableError, WhiteBitValidationError
from airflow_provider_whitebit.client.models import Asset, FlexInvestment, FlexPlan
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.moves import parsing, selection
from airflow_provider_whitebit.treasury.amounts import ZERO, exact


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the exchange shows at one moment.

    :param main: Main balance by ticker; ``None`` for one that cannot be read.
    :param plans: the Flex plans on offer.
    :param investments: Flex investments; closed ones are ignored.
    :param assets: public facts by ticker, for the decimals that amounts may carry.
    :param spot: free spot balance by ticker; ``None``: not known.
    :param collateral: collateral balance by ticker; ``None``: not known.
    :param unreadable: Flex plans and investments that cannot be read.
    """

    main: Mapping[str, Decimal | None]
    plans: tuple[FlexPlan, ...]
    investments: tuple[FlexInvestment, ...]
    assets: Mapping[str, Asset]
    spot: Mapping[str, Decimal | None] | None = None
    collateral: Mapping[str, Decimal | None] | None = None
    unreadable: tuple[UnreadableRecord, ...] = ()

    def invested(self, ticker: str) -> dict[str, Decimal]:
        """Return what is invested of an asset by plan id, in units of the asset."""
        found: dict[str, Decimal] = {}
        for entry in self.investments:
            if entry.active and entry.invested > 0 and self._ticker(entry) == ticker:
                found[entry.plan_id] = found.get(entry.plan_id, ZERO) + entry.invested
        return found

    def undecided(self, ticker: str) -> list[FlexInvestment]:
        """Return the investments of an asset that are neither active nor closed: their status is unknown."""
        return [
            entry
            for entry in self.investments
            if not entry.active and not entry.closed and self._ticker(entry) == ticker
        ]

    def total(self, ticker: str) -> Decimal:
        """Return Main and what is invested in Flex, in units of the asset. Spot, collateral and Fixed do not count.

        What has an unknown status counts as invested.

        :raises WhiteBitUnavailableError: the Main balance cannot be read.
        """
        with exact():
            undecided = sum((entry.invested for entry in self.undecided(ticker)), ZERO)
            return self.idle(ticker) + sum(self.invested(ticker).values(), ZERO) + undecided

    def idle(self, ticker: str) -> Decimal:
        """Return the Main balance of an asset.

        :raises WhiteBitUnavailableError: it cannot be read.
        """
        return readable_balance(self.main, parsing.MAIN, ticker)

    def faults(self, ticker: str) -> list[str]:
        """Return why an asset's total is not known, so that a policy cannot be followed; empty if it is."""
        found = ["its Main balance cannot be read"] if self.main.get(ticker, ZERO) is None else []
        investments = (one for one in self.unreadable if one.kind is FlexInvestment)
        return [*found, *(f"unreadable {one}" for one in investments if one.ticker in (None, ticker))]

    def by_ticker(self) -> dict[str, Holdings]:
        """Split the holdings by asset, so that reading each of many assets does not search all plans."""
        plans: dict[str, list[FlexPlan]] = defaultdict(list)
        investments: dict[str, list[FlexInvestment]] = defaultdict(list)
        for plan in self.plans:
            plans[plan.ticker].append(plan)
        asset_of = {plan.id: plan.ticker for plan in reversed(self.plans)}
        for entry in self.investments:
            investments[entry.currency or asset_of.get(entry.plan_id, "")].append(entry)
        unreadable: dict[str, list[UnreadableRecord]] = defaultdict(list)
        for record in self.unreadable:
            unreadable[record.ticker or asset_of.get(record.plan_id or "", "")].append(record)
        return {
            ticker: replace(
                self,
                plans=tuple(plans[ticker]),
                investments=tuple(investments[ticker]),
                unreadable=tuple(unreadable[ticker]),
            )
            for ticker in {*plans, *investments, *unreadable}
        }

    def decimals(self, ticker: str) -> int | None:
        """Return how many decimals amounts of an asset may carry; ``None`` if the exchange does not say.

        So it is of a delisted asset, which can only be withdrawn.

        :raises WhiteBitValidationError: the exchange has no such asset, and the account holds none of it.
        """
        elsewhere = any((held or {}).get(ticker) for held in (self.spot, self.collateral))
        if not self.total(ticker) and not elsewhere:
            selection.require_ticker(ticker, self.assets)
        asset = self.assets.get(ticker)
        return None if asset is None else asset.currency_precision

    def account(self, name: str) -> Mapping[str, Decimal | None]:
        """Return one of the balances by ticker.

        :param name: ``main``, ``spot`` or ``collateral``.
        :raises WhiteBitValidationError: these holdings do not include it.
        """
        balances = {parsing.MAIN: self.main, parsing.SPOT: self.spot, parsing.COLLATERAL: self.collateral}[name]
        if balances is None:
            raise WhiteBitValidationError(f"{name}: these holdings do not include {name} balances. Read them too.")
        return balances

    def _ticker(self, entry: FlexInvestment) -> str:
        """The asset of an investment; of its plan, if the exchange does not name it."""
        return entry.currency or next((plan.ticker for plan in self.plans if plan.id == entry.plan_id), "")


def readable_balance(balances: Mapping[str, Decimal | None], name: str, ticker: str) -> Decimal:
    """Return one of the balances; 0 if there is none of the asset.

    :param name: of these balances, for the error.
    :raises WhiteBitUnavailableError: it cannot be read.
    """
    held = balances.get(ticker, ZERO)
    if held is None:
        raise WhiteBitUnavailableError(f"The exchange sent no readable {name} balance of {ticker}.")
    return held
