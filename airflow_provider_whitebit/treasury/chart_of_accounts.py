"""Names of the accounts in the books: which account each role and asset is kept in. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from enum import StrEnum

from airflow_provider_whitebit.client.errors import WhiteBitValidationError, shown
from airflow_provider_whitebit.treasury.amounts import ZERO
from airflow_provider_whitebit.treasury.csv_text import safe_text
from airflow_provider_whitebit.treasury.fields import read_by_ticker
from airflow_provider_whitebit.treasury.journal_entries import ASSERTED, Balances, Role
from airflow_provider_whitebit.treasury.policy_text import decode


class BookFormat(StrEnum):
    """What journal entries are written as."""

    BEANCOUNT = "beancount"
    HLEDGER = "hledger"
    XERO = "xero"
    QUICKBOOKS = "quickbooks"


#: Formats that keep the exact amounts of each asset. The others keep one currency with two decimals.
EXACT_FORMATS = (BookFormat.BEANCOUNT, BookFormat.HLEDGER)

#: Accounts of the exact formats. For the others there are none: their names are those of the user's own books.
DEFAULT_ACCOUNTS: Mapping[Role, str] = {
    Role.MAIN: "Assets:WhiteBIT:Main",
    Role.SPOT: "Assets:WhiteBIT:Spot",
    Role.COLLATERAL: "Assets:WhiteBIT:Collateral",
    Role.SUB_ACCOUNTS: "Assets:WhiteBIT:SubAccounts",
    Role.FLEX: "Assets:WhiteBIT:Flex",
    Role.FLEX_REINVESTING: "Assets:WhiteBIT:FlexReinvesting",
    Role.FIXED: "Assets:WhiteBIT:Fixed",
    Role.FLEX_INTEREST: "Income:WhiteBIT:FlexInterest",
    Role.FIXED_INTEREST: "Income:WhiteBIT:FixedInterest",
    Role.DEPOSITS: "Assets:Transfers:ToWhiteBIT",
    Role.WITHDRAWALS: "Assets:Transfers:FromWhiteBIT",
    Role.OPENING: "Equity:Opening-Balances",
    Role.SUSPENSE: "Equity:Suspense",
}
#: The name of a role's account for assets that have none of their own.
_OTHERS = "default"
_BEANCOUNT_ROOTS = ("Assets", "Liabilities", "Equity", "Income", "Expenses")
_RULES = {
    BookFormat.BEANCOUNT: "begin with Assets, Liabilities, Equity, Income or Expenses; then parts after colons, of "
    "letters, digits and dashes, each beginning with a capital letter or a digit",
    BookFormat.HLEDGER: "write parts between colons, without two spaces in a row, semicolons and quotes, not beginning "
    "with a bracket, * or !",
    BookFormat.XERO: "write the account's code: at most 10 letters, digits, dots, dashes and underscores, beginning "
    "with a letter or a digit",
    BookFormat.QUICKBOOKS: "write the account's full name, Parent:Child, at most 100 characters, without quotes, not "
    "beginning with =, +, - or @",
}


class Chart:
    """The accounts of one format.

    :param form: the format.
    :param names: for each role the account of each asset, and under ``default`` that of all others.
    """

    def __init__(self, form: BookFormat, names: Mapping[Role, Mapping[str, str]]) -> None:
        self.form, self._names = form, names
        self._found: dict[tuple[Role, str], str] = {}

    def name(self, role: Role, ticker: str) -> str:
        """Return the account that keeps an asset.

        :raises WhiteBitValidationError: none is given.
        """
        if (name := self._found.get((role, ticker))) is None:
            self.require([(role, ticker)])
            accounts = self._names[role]
            name = self._found[role, ticker] = accounts.get(ticker) or accounts[_OTHERS]
        return name

    def require(self, used: Iterable[tuple[Role, str]]) -> None:
        """Check that there is an account for each of these roles and assets.

        :raises WhiteBitValidationError: names those that are missing.
        """
        lacking = {
            (str(role), ticker) for role, ticker in used if not {ticker, _OTHERS} & self._names.get(role, {}).keys()
        }
        if lacking:
            listed = ", ".join(f"{role} ({ticker})" for role, ticker in sorted(lacking))
            raise WhiteBitValidationError(
                f"accounts names no account of {self.form} for {listed}.",
                next_step='Map each of these roles to an account, for example {"main": "..."}.',
            )

    def declare(self, used: Iterable[tuple[Role, str]]) -> list[str]:
        """Return the names of the accounts that these roles and assets are kept in, sorted."""
        return sorted({self.name(role, ticker) for role, ticker in used})

    def asserted(self, balances: Balances) -> list[tuple[str, str, Decimal]]:
        """Return account, asset and amount of the balances that can be asserted, sorted. Use within :func:`.exact`.

        Roles can share an account. If one of them has no known balance, nothing is asserted of the account: a period
        before may have entries of that role.
        """
        found: dict[tuple[str, str], Decimal] = {}
        for role, ticker in balances:
            account = self.name(role, ticker)
            roles = [other for other in Role if self._counts(self.name(other, ticker), account)]
            if (account, ticker) not in found and set(roles) <= set(ASSERTED):
                found[account, ticker] = sum((balances.get((other, ticker), ZERO) for other in roles), ZERO)
        return [(*where, amount) for where, amount in sorted(found.items())]

    def _counts(self, name: str, account: str) -> bool:
        """Whether an assertion of an account counts what another one holds. In Beancount, it counts those below it."""
        return name == account or (self.form is BookFormat.BEANCOUNT and name.startswith(f"{account}:"))


def read_chart(raw: object, form: BookFormat) -> Chart:
    """Read the accounts of one format.

    :param raw: role to account; or role to asset to account, with ``default`` for all other assets. Below the name of
        a format, likewise, those of that format alone, which replace the others. ``None``: the default accounts.
    :raises WhiteBitValidationError: a role does not exist, or a name cannot be one of the format.
    """
    names: dict[Role, dict[str, str]] = {}
    if form in EXACT_FORMATS:
        names = {role: {_OTHERS: name} for role, name in DEFAULT_ACCOUNTS.items()}
    given = _mapping("accounts", {} if raw is None else raw)
    own = _mapping(f"accounts.{form}", given.get(form, {}))
    # A name of another format need not fit this one, if this one has its own.
    shared = {key: value for key, value in given.items() if key not in (*BookFormat, *own)}
    for place, accounts in (("accounts", shared), (f"accounts.{form}", own)):
        for role, value in accounts.items():
            if role not in tuple(Role):
                raise WhiteBitValidationError(
                    f"{place} has {shown(role)}: write one of {', '.join(Role)}"
                    + (f", or one of {', '.join(BookFormat)}." if place == "accounts" else ".")
                )
            names.setdefault(Role(role), {}).update(_accounts(f"{place}.{role}", value, form))
    return Chart(form, names)


def read_mapping(name: str, raw: object, example: str) -> Mapping[str, object]:
    """Read a mapping, or its text (JSON or YAML) as templates render it.

    :param name: of the parameter.
    :param example: how it may be written.
    :raises WhiteBitValidationError: it is none.
    """
    found = raw
    if isinstance(raw, str):
        with suppress(WhiteBitValidationError):
            found = decode(raw)
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        raise WhiteBitValidationError(f"{name} is {shown(raw)}: write a mapping like {example}.")
    return found


def _mapping(name: str, raw: object) -> Mapping[str, object]:
    return read_mapping(name, raw, '{"main": "Assets:WhiteBIT"}')


def _accounts(place: str, value: object, form: BookFormat) -> dict[str, str]:
    def read(_: str, name: object) -> str:
        text = str(name).strip() if isinstance(name, str | int) and not isinstance(name, bool) else ""
        if not _fits(text, form):
            raise WhiteBitValidationError(f"{place} is {shown(name)}, which is no account of {form}: {_RULES[form]}.")
        return text

    if not isinstance(value, Mapping):
        return {_OTHERS: read(place, value)}
    by_asset = _mapping(place, value)
    others = {_OTHERS: read(place, by_asset[_OTHERS])} if _OTHERS in by_asset else {}
    return others | read_by_ticker(place, {key: name for key, name in by_asset.items() if key != _OTHERS}, read)


def _fits(name: str, form: BookFormat) -> bool:
    if not name or not name.isprintable():
        return False
    parts = name.split(":")
    if form is BookFormat.BEANCOUNT:
        words = [part.replace("-", "") for part in parts[1:]]
        capital = all(part[:1].isupper() or part[:1].isdecimal() for part in parts[1:])
        return parts[0] in _BEANCOUNT_ROOTS and len(parts) > 1 and capital and all(map(str.isalnum, words))
    if form is BookFormat.HLEDGER:
        return not re.search(r'  |[;"]|^[(\[*!]', name) and all(part.strip() == part != "" for part in parts)
    if form is BookFormat.XERO:
        return re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]{0,9}", name) is not None
    return len(name) <= 100 and '"' not in name and safe_text(name) == name and all(map(str.strip, parts))
