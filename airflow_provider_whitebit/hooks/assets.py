"""Assets with the scheme ``whitebit``: their addresses, and how lineage tools see them.

``whitebit://<connection>/moves`` stands for every move of money by a connection, ``whitebit://<connection>/flex/USDT``
(also ``fixed`` and ``transfers``) for those of one asset.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.sdk import Asset

    from airflow_provider_whitebit.moves.intent import Receipt

SCHEME = "whitebit"
#: The alias through which operators that move money announce their receipts.
MOVES_ALIAS = "whitebit_moves"

_MOVES = "moves"
_PRODUCTS = ("flex", "fixed", "transfers")
_TICKER = re.compile(r"[A-Z0-9_]{1,20}", re.ASCII)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Check an asset's address: tickers in capitals, the rest of the path in small letters.

    Airflow takes an asset's name from the address as it was written, before this is called, and compares both. A DAG
    scheduled on another spelling would never be started, so other spellings are refused, not mended.

    :raises ValueError: if it is none of the addresses above; says the right spelling where there is one.
    """
    parts = [part for part in uri.path.split("/") if part]
    what = parts[0].lower() if parts else ""
    known = (what == _MOVES and len(parts) == 1) or (
        what in _PRODUCTS and len(parts) == 2 and _TICKER.fullmatch(parts[1].upper())
    )
    if not uri.netloc or "@" in uri.netloc or not known or uri.query:
        raise ValueError(
            f"{uri.geturl()!r} is no address of WhiteBIT moves: write {SCHEME}://<connection>/{_MOVES}, or "
            f"{SCHEME}://<connection>/<product>/<ticker> with one of {', '.join(_PRODUCTS)}"
        )
    path = "/" + "/".join([what, *(part.upper() for part in parts[1:])])
    if uri.path != path:
        raise ValueError(f"write {uri._replace(path=path).geturl()!r}: Airflow takes {uri.path!r} for another asset")
    return uri


def create_asset(*, conn_id: str, path: str, extra: dict[str, Any] | None = None) -> Asset:
    """The asset for lineage collectors.

    :param conn_id: the Airflow connection.
    :param path: ``moves``, or a product and a ticker like ``flex/USDT``.
    :param extra: handed to the asset.
    """
    from airflow.sdk import Asset

    return Asset(uri=f"{SCHEME}://{conn_id}/{path}", extra=extra)


def convert_to_openlineage(asset: Asset, lineage_context: Any) -> Dataset:
    """The asset as OpenLineage names it: the connection as namespace, product and ticker as name.

    :param asset: one of ours.
    :param lineage_context: the hook; not needed.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset

    address = urlsplit(asset.uri)
    return Dataset(namespace=f"{SCHEME}://{address.netloc}", name=address.path.lstrip("/"))


def path_of(receipt: Receipt) -> str:
    """Product and ticker that a receipt belongs to, like ``flex/USDT``."""
    product = str(receipt.operation).partition("_")[0]
    return f"{product if product in _PRODUCTS else 'transfers'}/{receipt.ticker}"


def announce(context: Mapping[str, Any], conn_id: str, receipt: Receipt) -> None:
    """Add a receipt to what a task tells Airflow's assets when it succeeds.

    :param context: of the task that runs here.
    :param conn_id: the Airflow connection.
    :param receipt: of a move that was made.
    """
    from airflow.sdk import AssetAlias

    alias = AssetAlias(MOVES_ALIAS)
    task = context["ti"].task
    if alias not in task.outlets:
        # Airflow drops events of an alias that is none of the task's outlets; a task that uses the hook has not got it.
        task.outlets.append(alias)
    for path in (_MOVES, path_of(receipt)):
        context["outlet_events"][alias].add(create_asset(conn_id=conn_id, path=path), extra=receipt.to_json())
