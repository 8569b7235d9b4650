"""Assets with the scheme ``whitebit``: their addresses, events and lineage.

``whitebit://<connection>/moves`` represents every move of money by a connection, and
``whitebit://<connection>/flex/USDT`` (also ``fixed`` and ``transfers``) the moves of one asset. The id of the
connection is percent-encoded (:func:`encode_conn_id`).
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from airflow_provider_whitebit.hooks.after_move import after_move

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.sdk import Asset

    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
    from airflow_provider_whitebit.moves.intent import Receipt

SCHEME = "whitebit"
#: The alias of the asset events that moves cause.
MOVES_ALIAS = "whitebit_moves"

_MOVES = "moves"
_PRODUCTS = ("flex", "fixed", "transfers")
#: Longest id of a connection, in bytes of UTF-8. Airflow keeps addresses of up to 1500 characters.
LONGEST_CONN_ID = 1000
_LONGEST_QUOTED = 1400
#: Begins an encoded id that would be longer if it were percent-encoded. Percent-encoding leaves no such character.
_BASE64 = "="


def encode_conn_id(conn_id: str) -> str:
    """Return the id of a connection as addresses contain it: percent-encoded; if that is too long, as Base64 of UTF-8.

    :param conn_id: any text. Secrets backends allow every character.
    :raises ValueError: if it is empty, too long, or contains what databases cannot keep. The message says which.
    """
    if not isinstance(conn_id, str) or not conn_id:
        raise ValueError("the connection's id is empty or not a text")
    try:
        raw = conn_id.encode()
    except UnicodeEncodeError:
        raise ValueError("the connection's id is not valid Unicode") from None
    if b"\0" in raw:
        raise ValueError("the connection's id contains a NUL character")
    if len(raw) > LONGEST_CONN_ID:
        raise ValueError(f"the connection's id is longer than {LONGEST_CONN_ID} bytes")
    quoted = quote(raw, safe="")
    return quoted if len(quoted) <= _LONGEST_QUOTED else _BASE64 + urlsafe_b64encode(raw).decode().rstrip("=")


def conn_id_of(uri: str) -> str | None:
    """The connection that an asset's address names; ``None`` if it names none.

    Anyone who may write DAGs could have stored an address without this package.

    :param uri: of the asset.
    """
    with suppress(ValueError):
        return decode_conn_id(urlsplit(uri).netloc)
    return None


def decode_conn_id(encoded: str) -> str:
    """Return the id that :func:`encode_conn_id` has encoded.

    :param encoded: the part of an address between ``whitebit://`` and the next slash.
    :raises ValueError: if it is not written as :func:`encode_conn_id` writes it.
    """
    if encoded.startswith(_BASE64):
        conn_id = urlsafe_b64decode(encoded[1:] + "=" * (-len(encoded[1:]) % 4)).decode()
    else:
        conn_id = unquote(encoded)
    if encode_conn_id(conn_id) != encoded:
        raise ValueError(f"{encoded!r} is not the usual spelling")
    return conn_id


def address(conn_id: str, path: str = _MOVES) -> str:
    """Return the address of an asset.

    :param conn_id: the Airflow connection.
    :param path: ``moves``, or a product and a ticker like ``flex/USDT``.
    :raises ValueError: if the id cannot be encoded.
    """
    return f"{SCHEME}://{encode_conn_id(conn_id)}/{path}"


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Check an asset's address: the id percent-encoded, tickers in capitals, the rest of the path in small letters.

    Airflow takes an asset's name from the address as written, before this function is called, and compares both. A DAG
    scheduled on another spelling would never start, so other spellings are refused instead of corrected.

    :raises ValueError: if it is not one of the addresses above. The message gives the right spelling, if there is one.
    """
    from airflow_provider_whitebit.moves.parsing import TICKER

    parts = [part for part in uri.path.split("/") if part]
    what = parts[0].lower() if parts else ""
    known = (what == _MOVES and len(parts) == 1) or (
        what in _PRODUCTS and len(parts) == 2 and re.fullmatch(TICKER, parts[1])
    )
    if not uri.netloc or not known or uri.query:
        raise ValueError(
            f"{uri.geturl()!r} is not an address of WhiteBIT moves: write {SCHEME}://<connection>/{_MOVES}, or "
            f"{SCHEME}://<connection>/<product>/<ticker> with one of {', '.join(_PRODUCTS)}, and the connection's id "
            "percent-encoded"
        )
    path = "/" + "/".join([what, *(part.upper() for part in parts[1:])])
    right = uri._replace(netloc=_right_spelling(uri.netloc), path=path)
    if uri != right:
        raise ValueError(f"write {right.geturl()!r}: Airflow takes {uri.geturl()!r} for another asset")
    return uri


def _right_spelling(encoded: str) -> str:
    try:
        return encode_conn_id(decode_conn_id(encoded))
    except ValueError:
        return encode_conn_id(unquote(encoded))


def create_asset(*, conn_id: str, path: str, extra: dict[str, Any] | None = None) -> Asset:
    """Create the asset, for example for lineage collectors.

    :param conn_id: the Airflow connection.
    :param path: ``moves``, or a product and a ticker like ``flex/USDT``.
    :param extra: the asset's own ``extra``.
    """
    from airflow.sdk import Asset

    return Asset(uri=address(conn_id, path), extra=extra)


def convert_to_openlineage(asset: Asset, lineage_context: Any) -> Dataset:
    """The asset as OpenLineage names it: the connection as namespace, product and ticker as name.

    :param asset: an asset of this provider.
    :param lineage_context: the hook; not used.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset

    address = urlsplit(asset.uri)
    return Dataset(namespace=f"{SCHEME}://{address.netloc}", name=address.path.lstrip("/"))


def path_of(receipt: Receipt) -> str:
    """Return the product and ticker of a receipt, like ``flex/USDT``."""
    product = str(receipt.operation).partition("_")[0]
    return f"{product if product in _PRODUCTS else 'transfers'}/{receipt.ticker}"


def announce(context: Mapping[str, Any] | None, hook: WhiteBitHook, receipt: Receipt) -> None:
    """Report a move to Airflow's asset events and lineage.

    The money has moved, so an error is logged and does not fail the task.

    :param context: of the running task; ``None`` outside a task.
    :param hook: the hook that made the move.
    :param receipt: of the move.
    """
    for report in (_add_events, _add_lineage):
        with after_move("Airflow's assets or lineage do not show it"):
            report(context, hook, receipt)


def _add_events(context: Mapping[str, Any] | None, hook: WhiteBitHook, receipt: Receipt) -> None:
    if context is None:
        return
    from airflow.sdk import AssetAlias

    alias = AssetAlias(MOVES_ALIAS)
    task = context["ti"].task
    if alias not in task.outlets:
        # Airflow drops events of an alias that is not among the task's outlets. A @task that uses the hook lacks it.
        task.outlets.append(alias)
    for path in (_MOVES, path_of(receipt)):
        asset = create_asset(conn_id=hook.whitebit_conn_id, path=path)
        context["outlet_events"][alias].add(asset, extra=receipt.to_json())


def _add_lineage(context: Mapping[str, Any] | None, hook: WhiteBitHook, receipt: Receipt) -> None:
    from airflow_provider_whitebit.hooks.airflow_compat import lineage_collector

    asset_kwargs = {"conn_id": hook.whitebit_conn_id, "path": path_of(receipt)}
    lineage_collector().add_output_asset(context=hook, scheme=SCHEME, asset_kwargs=asset_kwargs)
