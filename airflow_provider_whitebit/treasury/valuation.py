"""What amounts are worth in one currency, by the exchange's last prices. Pure.

Vendor page: Market activity. A value is an estimate. It never replaces an exact amount, and has fields of its own.

- It uses the price of the time of reading, whatever time the amount is of.
- The price comes from the market of asset and currency, from that market reversed, or through one intermediate asset:
  the first of :data:`INTERMEDIATES` that has both markets, then the others by name.
- A market in which trading is disabled is used only if there is no other way, and is marked as frozen.
- Perpetual futures do not count. Neither does a price of zero or below, or one that cannot be read.
- Values are rounded half to even to :data:`VALUE_DECIMALS`, so that they add up to their totals.
- An amount without a price is in no total. It is named, see :class:`LeftOut`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Any

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitValidationError
from airflow_provider_whitebit.client.models import FixedInvestment, MarketActivity, Record, plain, to_json
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.moves import parsing
from airflow_provider_whitebit.treasury.amounts import ZERO, exact
from airflow_provider_whitebit.treasury.holdings import Holdings

#: Assets through which prices are looked for first, in this order.
INTERMEDIATES = ("USDT", "USDC", "BTC", "ETH", "EUR")
#: Decimals of values, and of prices as they are shown.
VALUE_DECIMALS, PRICE_DECIMALS = 8, 18
#: How the name of a perpetual future ends. It is no market of two assets.
_PERPETUAL = "PERP"


@dataclass(frozen=True, slots=True)
class Leg(Record):
    """One market on the way from an asset to the currency.

    :param market: its name, such as ``BTC_USDT``.
    :param last_price: as the exchange shows it.
    :param reversed: whether amounts are divided by it.
    :param frozen: whether trading in it is disabled, so that the price may be old.
    """

    market: str
    last_price: Decimal
    reversed: bool
    frozen: bool


@dataclass(frozen=True, slots=True)
class Price:
    """The price of an asset in a currency.

    :param ticker: the asset.
    :param value_in: the currency.
    :param legs: the markets from the one to the other; none if they are the same.
    :param read_at: when the exchange showed the prices.
    """

    ticker: str
    value_in: str
    legs: tuple[Leg, ...]
    read_at: pendulum.DateTime

    @property
    def price(self) -> Decimal:
        """Units of the currency for one unit of the asset, rounded to :data:`PRICE_DECIMALS`."""
        return self._times(Decimal(1), PRICE_DECIMALS)

    @property
    def markets(self) -> str:
        """The names of the markets in one text, such as ``ETH_BTC, BTC_USDT``; ``1/`` before a reversed one."""
        return ", ".join(f"{'1/' if leg.reversed else ''}{leg.market}" for leg in self.legs)

    @property
    def frozen(self) -> bool:
        """Whether trading is disabled in one of the markets."""
        return any(leg.frozen for leg in self.legs)

    def value(self, amount: Decimal) -> Decimal:
        """Return what an amount is worth, in units of the currency, rounded to :data:`VALUE_DECIMALS`.

        :param amount: in units of the asset.
        """
        return self._times(amount, VALUE_DECIMALS)

    def _times(self, amount: Decimal, decimals: int) -> Decimal:
        with exact():
            for leg in self.legs:
                amount = amount / leg.last_price if leg.reversed else amount * leg.last_price
            return Decimal(plain(amount.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "price": plain(self.price),
            "markets": [leg.to_json() for leg in self.legs],
            "frozen": self.frozen,
            "read_at": to_json(self.read_at),
        }


@dataclass(frozen=True)
class MarketPrices:
    """The last prices of all markets at one moment.

    :param markets: as the exchange shows them.
    :param read_at: when it showed them.
    :param unreadable: markets that cannot be read.
    """

    markets: tuple[MarketActivity, ...]
    read_at: pendulum.DateTime
    unreadable: tuple[UnreadableRecord, ...] = ()

    @cached_property
    def _usable(self) -> dict[tuple[str, str], MarketActivity]:
        pairs = ((_pair(one.market), one) for one in self.markets if one.last_price > 0)
        return {pair: one for pair, one in pairs if pair is not None}

    @cached_property
    def _partners(self) -> dict[str, set[str]]:
        """The assets with which each asset has a market."""
        found: dict[str, set[str]] = defaultdict(set)
        for base, quote in self._usable:
            found[base].add(quote)
            found[quote].add(base)
        return dict(found)

    def check_currency(self, value_in: str) -> None:
        """Check that a currency has a market.

        :raises WhiteBitValidationError: it has none, so nothing could be valued in it.
        """
        if value_in not in self._partners:
            raise WhiteBitValidationError(f"value_in is {value_in}: the exchange has no market of it with a price.")

    def price(self, ticker: str, value_in: str) -> Price | None:
        """Return the price of an asset in a currency; ``None`` if there is none.

        :param ticker: the asset.
        :param value_in: the currency.
        """
        if ticker == value_in:
            return Price(ticker, value_in, (), self.read_at)
        partners = self._partners.get(ticker, set()) & self._partners.get(value_in, set())
        ways = [(), *((one,) for one in sorted(partners, key=_rank))]
        for frozen in (False, True):
            for way in ways:
                legs = [self._leg(*pair, frozen=frozen) for pair in pairwise((ticker, *way, value_in))]
                known = tuple(leg for leg in legs if leg is not None)
                if len(known) == len(legs):
                    return Price(ticker, value_in, known, self.read_at)
        return None

    def _leg(self, ticker: str, other: str, *, frozen: bool) -> Leg | None:
        for pair in ((ticker, other), (other, ticker)):
            found = self._usable.get(pair)
            if found is not None and (frozen or not found.frozen):
                return Leg(found.market, found.last_price, pair[0] != ticker, found.frozen)
        return None

    def hides(self, ticker: str) -> bool:
        """Return whether a market of an asset cannot be read."""
        names = (_pair(str(record.known.get("market"))) for record in self.unreadable)
        return any(ticker in pair for pair in names if pair is not None)


def _pair(market: str) -> tuple[str, str] | None:
    """The two assets of a market; ``None`` for a perpetual future and any other name."""
    base, _, quote = market.partition("_")
    return (base, quote) if base and quote and quote != _PERPETUAL and "_" not in quote else None


def _rank(ticker: str) -> tuple[int, str]:
    return INTERMEDIATES.index(ticker) if ticker in INTERMEDIATES else len(INTERMEDIATES), ticker


class Missing(StrEnum):
    """Why an amount has no value."""

    NO_PRICE = "no_price"
    UNREADABLE_PRICE = "unreadable_price"
    UNREADABLE_AMOUNT = "unreadable_amount"


@dataclass(frozen=True, slots=True)
class LeftOut(Record):
    """An amount that is in no total.

    :param ticker: the asset.
    :param figure: what the amount is, such as ``main``.
    :param amount: in units of the asset; ``None`` if it cannot be read.
    :param reason: why it has no value: one of :class:`Missing`.
    """

    ticker: str
    figure: str
    amount: Decimal | None
    reason: str


@dataclass(frozen=True, slots=True)
class ValuedRow(Record):
    """One amount and its value as a row of a table.

    :param read_at: when the exchange showed the prices.
    :param ticker: the asset.
    :param figure: what the amount is, such as ``main``.
    :param amount: exact, in units of the asset; ``None`` if it cannot be read.
    :param value_in: the currency of price and value.
    :param price: units of the currency for one unit of the asset; ``None`` if there is none.
    :param markets: where the price comes from, as :attr:`Price.markets`.
    :param value: in units of the currency; ``None`` if it is not known.
    :param note: ``frozen``, one of :class:`Missing`, or in words a record that cannot be read: such a row is of no
        asset.
    """

    read_at: pendulum.DateTime
    ticker: str
    figure: str
    amount: Decimal | None
    value_in: str
    price: Decimal | None
    markets: str | None
    value: Decimal | None
    note: str | None


@dataclass(frozen=True, slots=True)
class ValuedAsset:
    """The amounts of one asset, and apart from them their values.

    :param ticker: the asset.
    :param amounts: exact, in units of the asset, by figure; ``None`` for one that cannot be read.
    :param price: in the currency; ``None`` if there is none.
    :param missing: why there is no price; ``None`` if there is one.
    """

    ticker: str
    amounts: Mapping[str, Decimal | None]
    price: Price | None
    missing: Missing | None = None

    def value(self, figure: str) -> Decimal | None:
        """Return the value of an amount in units of the currency; ``None`` if it is not known. Nothing is worth 0."""
        amount = self.amounts.get(figure, ZERO)
        if not amount:
            return amount
        return None if self.price is None else self.price.value(amount)

    def reason(self, figure: str) -> Missing | None:
        """Return why an amount has no value; ``None`` if it has one."""
        if self.value(figure) is not None:
            return None
        return Missing.UNREADABLE_AMOUNT if self.amounts.get(figure, ZERO) is None else self.missing


@dataclass(frozen=True, slots=True)
class Valuation:
    """Amounts of several assets, valued in one currency.

    :param value_in: the currency.
    :param read_at: when the exchange showed the prices.
    :param figures: what the amounts are, such as ``main``, ``flex`` and ``fixed``.
    :param assets: in the order of their tickers. Assets of which there is nothing are left out.
    """

    value_in: str
    read_at: pendulum.DateTime
    figures: tuple[str, ...]
    assets: tuple[ValuedAsset, ...]

    @property
    def totals(self) -> dict[str, Decimal]:
        """The values of all assets together, by figure, in units of the currency, without :attr:`left_out`."""
        with exact():
            return {
                figure: sum((asset.value(figure) or ZERO for asset in self.assets), ZERO) for figure in self.figures
            }

    @property
    def total(self) -> Decimal:
        """The sum of :attr:`totals`, which makes sense if the figures are parts of a whole."""
        with exact():
            return sum(self.totals.values(), ZERO)

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What is in no total."""
        return tuple(
            LeftOut(asset.ticker, figure, asset.amounts.get(figure, ZERO), str(reason))
            for asset in self.assets
            for figure in self.figures
            if (reason := asset.reason(figure)) is not None
        )

    @property
    def complete(self) -> bool:
        """Whether the totals leave nothing out."""
        return not self.left_out

    def rows(self) -> Iterator[ValuedRow]:
        """Yield the amounts as rows of a table, without those of zero."""
        for asset in self.assets:
            price = asset.price
            for figure in self.figures:
                amount, reason = asset.amounts.get(figure, ZERO), asset.reason(figure)
                note = reason or ("frozen" if price is not None and price.frozen else None)
                if amount is None or amount:
                    yield ValuedRow(
                        read_at=self.read_at,
                        ticker=asset.ticker,
                        figure=figure,
                        amount=amount,
                        value_in=self.value_in,
                        price=None if price is None else price.price,
                        markets=None if price is None else price.markets,
                        value=asset.value(figure),
                        note=None if note is None else str(note),
                    )

    def to_json(self) -> dict[str, Any]:
        """Return the values as plain JSON. Exact amounts are not among them, but for those that are left out.

        Keys: ``value_in``, ``read_at``, ``complete``, ``totals`` (figure -> value), ``left_out`` and ``assets``
        (ticker -> ``price`` and ``values``; null for what is not known).
        """
        return {
            "value_in": self.value_in,
            "read_at": to_json(self.read_at),
            "complete": self.complete,
            "totals": {figure: plain(total) for figure, total in self.totals.items()},
            "left_out": [one.to_json() for one in self.left_out],
            "assets": {
                asset.ticker: {
                    "price": None if asset.price is None else asset.price.to_json(),
                    "values": {figure: _plain(asset.value(figure)) for figure in self.figures},
                }
                for asset in self.assets
            },
        }


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def value_amounts(
    amounts: Mapping[str, Mapping[str, Decimal | None]], prices: MarketPrices, value_in: str
) -> Valuation:
    """Value amounts of several assets in one currency.

    :param amounts: by figure, such as ``main``, then by ticker, in units of the asset; ``None`` for an amount that
        cannot be read.
    :param prices: last prices of the exchange.
    :param value_in: the currency, for example ``USDT``.
    """
    by_ticker: dict[str, dict[str, Decimal | None]] = defaultdict(dict)
    for figure, held in amounts.items():
        for ticker, amount in held.items():
            if amount is None or amount:
                by_ticker[ticker][figure] = amount
    assets = (_valued(ticker, by_ticker[ticker], prices, value_in) for ticker in sorted(by_ticker))
    return Valuation(value_in, prices.read_at, tuple(amounts), tuple(assets))


def _valued(ticker: str, amounts: dict[str, Decimal | None], prices: MarketPrices, value_in: str) -> ValuedAsset:
    price = prices.price(ticker, value_in)
    unknown = Missing.UNREADABLE_PRICE if prices.hides(ticker) else Missing.NO_PRICE
    return ValuedAsset(ticker, amounts, price, unknown if price is None else None)


@dataclass(frozen=True, slots=True)
class ValuedHoldings:
    """What an account holds in Main, Flex and Fixed at one moment, and what it is worth.

    :param made_at: when the account was read.
    :param valuation: with the figures ``main``, ``flex`` and ``fixed``.
    :param unreadable: in words, records of investments that cannot be read. The amounts lack them.
    """

    made_at: pendulum.DateTime
    valuation: Valuation
    unreadable: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the total leaves nothing out."""
        return self.valuation.complete and not self.unreadable

    def rows(self) -> Iterator[ValuedRow]:
        """Yield the amounts as rows of a table, then a row for each record that cannot be read: only its note."""
        yield from self.valuation.rows()
        read_at, value_in = self.valuation.read_at, self.valuation.value_in
        for text in self.unreadable:
            yield ValuedRow(read_at, "", "", None, value_in, None, None, None, text)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, exact amounts apart from values.

        Keys: ``made_at``, ``amounts`` (ticker -> figure -> exact amount), ``value_in``, ``total`` (of the values),
        ``complete``, ``unreadable``, and ``valuation`` as :meth:`Valuation.to_json` returns it.
        """
        found = self.valuation
        return {
            "made_at": to_json(self.made_at),
            "amounts": {
                asset.ticker: {figure: _plain(asset.amounts.get(figure, ZERO)) for figure in found.figures}
                for asset in found.assets
            },
            "value_in": found.value_in,
            "total": plain(found.total),
            "complete": self.complete,
            "unreadable": list(self.unreadable),
            "valuation": found.to_json(),
        }


def held_amounts(
    holdings: Holdings, fixed: Iterable[FixedInvestment], tickers: Collection[str] | None = None
) -> dict[str, dict[str, Decimal | None]]:
    """Return what an account holds, by figure (``main``, ``flex``, ``fixed``) and ticker, in units of the asset.

    Interest that is not paid yet is not among it. An investment whose status is unknown counts as active.

    :param holdings: Main and Flex.
    :param fixed: Fixed investments; closed ones are ignored.
    :param tickers: only these assets; all by default.
    """
    flex = (
        (ticker, entry.invested)
        for ticker, held in holdings.by_ticker().items()
        for entry in held.investments
        if not entry.closed
    )
    sums = {
        "main": dict(holdings.main),
        "flex": add_amounts(flex),
        "fixed": add_amounts((one.plan.ticker, one.amount) for one in fixed if not one.closed),
    }
    return {
        figure: {ticker: amount for ticker, amount in held.items() if tickers is None or ticker in tickers}
        for figure, held in sums.items()
    }


def add_amounts(pairs: Iterable[tuple[str, Decimal | None]]) -> dict[str, Decimal | None]:
    """Add amounts up by ticker. A sum with an amount that cannot be read is ``None``.

    :param pairs: tickers and amounts in units of the asset.
    """
    sums: dict[str, Decimal | None] = {}
    with exact():
        for ticker, amount in pairs:
            before = sums.get(ticker, ZERO)
            sums[ticker] = None if before is None or amount is None else before + amount
    return sums


def read_value_in(raw: object) -> str:
    """Read a currency; return it in capitals.

    :raises WhiteBitValidationError: it is not written like one.
    """
    try:
        return parsing.read_ticker(raw)
    except WhiteBitValidationError as error:
        raise WhiteBitValidationError(error.message.replace("ticker", "value_in", 1)) from None
