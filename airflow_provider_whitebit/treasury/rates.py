"""The realised rate: what invested money earned, per year. And whether an advertised rate can be in another unit."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal

from airflow_provider_whitebit.client.models import plain
from airflow_provider_whitebit.treasury.amounts import exact

#: Decimals of rates: 0.123456 is 12.3456 %.
RATE_DECIMALS = 6
#: Seconds of a year of 365 days.
YEAR = 365 * 86_400
_UNIT = Decimal(1).scaleb(-RATE_DECIMALS)


def realised_rate(earned: Decimal, invested_seconds: Decimal) -> Decimal | None:
    """Return the earnings as a fraction per year of the invested amount.

    :param earned: in units of the asset.
    :param invested_seconds: the invested amount, multiplied by the seconds for which it was invested.
    :returns: rounded half to even to :data:`RATE_DECIMALS`; ``None`` unless ``invested_seconds`` is positive.
    """
    if invested_seconds <= 0:
        return None
    with exact():
        return (earned * YEAR / invested_seconds).quantize(_UNIT, ROUND_HALF_EVEN)


def unit_warning(rates: Iterable[tuple[str, Decimal | None, Decimal | None]]) -> str | None:
    """Warn if ``max_rate`` may be in percent: the vendor does not state its unit, and this package reads a fraction.

    :param rates: of each plan: its id, its advertised rate, and its realised rate, a fraction per year; ``None`` for
        a rate that is unknown.
    :returns: one sentence or two about the first such plan; ``None`` if no rate is above 1 and no realised rate is
        about a hundredth of the advertised one.
    """
    for plan_id, advertised, realised in rates:
        if advertised is None or advertised <= 0:
            continue
        if advertised > 1:
            shown = f"shows max_rate {plain(advertised)}, which is {plain(advertised * 100)} % if it is a fraction"
        elif realised is not None and advertised / 200 <= realised <= advertised / 50:
            shown = f"earned {plain(realised)} a year, about a hundredth of its max_rate {plain(advertised)}"
        else:
            continue
        return f"Plan {plan_id} {shown}. The unit of max_rate may be percent."
    return None
