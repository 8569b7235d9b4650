"""The public list of assets. Vendor page: Asset status list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_whitebit.sandbox.plans import AssetFacts

#: Identifiers that the vendor shows; of other assets it is 0.
_UNIFIED_IDS = {"BTC": 1, "ETH": 1027, "SOL": 5426, "USDC": 3408, "USDT": 825}
#: The list includes fiat currencies and payment methods. It promises none of their fields.
FIAT: dict[str, dict[str, Any]] = {
    "EUR": {"name": "Euro", "currency_precision": 2, "providers": {"deposits": ["SEPA"], "withdraws": ["SEPA"]}},
    "KZT": {"name": "Tenge", "currency_precision": 2, "can_deposit": False},
    "UAH": {"name": "Hryvnia", "providers": {"deposits": ["VISAMASTER"], "withdraws": ["VISAMASTER", "GEOPAY"]}},
    "UAH_IBAN": {"name": "Hryvnia IBAN", "can_withdraw": False},
}


def list_assets(assets: Mapping[str, AssetFacts]) -> dict[str, Any]:
    """Return the public list: these assets, then fiat currencies, some of them without ``currency_precision``."""
    crypto = {
        ticker: {
            "name": facts.name,
            "can_withdraw": facts.withdrawals,
            "can_deposit": facts.deposits,
            "currency_precision": facts.precision,
        }
        for ticker, facts in assets.items()
    }
    return {ticker: _entry(ticker, facts) for ticker, facts in (FIAT | crypto).items()}


def _entry(ticker: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "unified_cryptoasset_id": _UNIFIED_IDS.get(ticker, 0),
        "can_withdraw": True,
        "can_deposit": True,
        "min_withdraw": "0",
        "max_withdraw": "0",
        "maker_fee": "0.1",
        "taker_fee": "0.1",
        "min_deposit": "0",
        "max_deposit": "0",
        "is_memo": False,
        "memo": {"deposit": False, "withdraw": False},
        **facts,
    }
