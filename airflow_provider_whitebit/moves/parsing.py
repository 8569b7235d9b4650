"""Read the parameters of moves as callers and templates give them. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_whitebit.client.errors import WhiteBitValidationError, shown
from airflow_provider_whitebit.client.models import Direction
from airflow_provider_whitebit.client.records import is_uuid

if TYPE_CHECKING:
    import pendulum

#: Withdraw or transfer the whole balance.
ALL = "all"
#: The balances of an account.
MAIN, SPOT, COLLATERAL = ACCOUNTS = ("main", "spot", "collateral")

#: Regular expressions of what the readers take. Tickers may be written in small letters.
AMOUNT, IDENTIFIER, TICKER = r"[0-9]{1,30}(\.[0-9]{1,30})?", "[A-Za-z0-9_-]{1,64}", "[A-Za-z0-9_]{1,20}"

#: More digits before or behind the point are never written out.
_MOST_DIGITS = 60
#: Longest text of a count or of Unix seconds.
_LONGEST_WHOLE = 15

#: Digits of a date without hyphens, and most characters of one: no time is that short.
_DATE_DIGITS, _LONGEST_DATE = 8, 10

#: Longest name of a move, in characters.
LONGEST_KEY = 200
#: What programs write for no value, in small letters.
_NO_NAMES = ("", "none", "null", "nan", "nat", "undefined")
#: Characters that Python counts as printable although nothing is printed: fillers, blanks and selectors of variants.
_UNSEEN = "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"

T = TypeVar("T")
WordT = TypeVar("WordT", bound=StrEnum)


def given(raw: Any) -> Any:
    """Return a parameter's value; ``None`` if it is not given. Templates render ``None`` as a text.

    :param raw: as a caller or a template gives it.
    """
    return None if isinstance(raw, str) and raw.strip() in ("", "None") else raw


def spelled(number: float | str, *, most_digits: int = 60) -> str:
    """Write a float, or a number as other programs spell it, as an amount in plain digits.

    :param number: the number.
    :param most_digits: significant digits that it may have.
    :returns: the digits; empty if they are too many, or if this is not an amount.
    """
    try:
        amount = Decimal(str(number))
    except ArithmeticError:
        return ""
    if not amount.is_finite() or abs(amount.adjusted()) > 30:
        return ""
    text = format(amount, "f")
    fits = re.fullmatch(AMOUNT, text) and len(amount.normalize().as_tuple().digits) <= most_digits
    return text if fits else ""


def quoted(number: float | str, example: str = "100.5") -> str:
    """Write a number, for an error text, as it may be written instead; an example, if it cannot be an amount."""
    text = spelled(number)
    return f'"{text}"' if text and Decimal(text) else f'for example "{example}"'


def read_amount(raw: object) -> Decimal:
    """Read an amount above zero: ``str``, ``int`` or ``Decimal``, plain digits.

    :raises WhiteBitValidationError: what is wrong with it, and how to write it.
    """
    amount = read_limit("amount", raw)
    if not amount:
        raise WhiteBitValidationError(f"amount is {shown(raw)}: it must be above zero.")
    return amount


def read_limit(name: str, raw: object) -> Decimal:
    """Read an amount that may be zero: ``str``, ``int`` or ``Decimal``, plain digits.

    :param name: of the parameter.
    :raises WhiteBitValidationError: what is wrong with it, and how to write it.
    """
    if isinstance(raw, float):
        raise WhiteBitValidationError(
            f"{name} is a float, {raw!r}: floats cannot hold decimal amounts exactly.",
            next_step=(
                f"Write it as a string, {quoted(raw)}.",
                "If a template renders it, set render_template_as_native_obj=False.",
            ),
        )
    if isinstance(raw, bool) or not isinstance(raw, str | int | Decimal):
        raise WhiteBitValidationError(f'{name} is {shown(raw)}: write it as a string, for example "100.5".')
    if not re.fullmatch(AMOUNT, text := _digits(raw)):
        raise WhiteBitValidationError(
            f'{name} is {shown(raw)}: write plain digits, for example "100.5" '
            "(no sign, no exponent, no thousands separators, a point for decimals)."
        )
    return Decimal(text)


def read_range(at_least: object, at_most: object) -> tuple[Decimal | None, Decimal | None]:
    """Read a lower and an upper limit. One of them may be left out.

    :raises WhiteBitValidationError: one is wrong, both are left out, or no amount is within both.
    """
    least = read_optional(read_limit, "at_least", at_least)
    most = read_optional(read_limit, "at_most", at_most)
    if least is most is None:
        raise WhiteBitValidationError("Give at_least, or at_most, or both.")
    if least is not None and most is not None and least > most:
        raise WhiteBitValidationError(f"at_least is {least:f} and at_most is {most:f}: no amount is within both.")
    return least, most


def read_rate(name: str, raw: object) -> Decimal:
    """Read an advertised rate: a fraction per year, above 0 and at most 1.

    :param name: of the parameter.
    :raises WhiteBitValidationError: what is wrong with it, and how to write it.
    """
    rate = read_limit(name, raw)
    if not 0 < rate <= 1:
        raise WhiteBitValidationError(
            f'{name} is {rate:f}: write a fraction per year above 0, for example "0.05" for 5 %.'
        )
    return rate


def _digits(raw: str | int | Decimal) -> str:
    """A number as it is written, without an exponent; empty if it has far too many digits."""
    if isinstance(raw, str):
        return raw.strip()
    if isinstance(raw, int):
        return str(raw) if abs(raw) < 10**_MOST_DIGITS else ""
    return format(raw, "f") if raw.is_finite() and _MOST_DIGITS > raw.adjusted() > -_MOST_DIGITS else ""


def _word(raw: object) -> str:
    """A word or a number in small letters; empty for anything else."""
    return _digits(raw).lower() if isinstance(raw, str | int) else ""


def read_amount_or_all(raw: object) -> Decimal | str:
    """An amount above zero, or :data:`ALL`.

    :raises WhiteBitValidationError: it is neither.
    """
    return ALL if isinstance(raw, str) and raw.strip().lower() == ALL else read_amount(raw)


def read_boolean(name: str, raw: object) -> bool:
    """Read a boolean, or its text as a template renders it.

    :param name: of the parameter.
    :raises WhiteBitValidationError: it is neither.
    """
    text = _word(raw)
    if text not in ("true", "false"):
        raise WhiteBitValidationError(f"{name} is {shown(raw)}: write true or false.")
    return text == "true"


def read_plan_id(raw: object) -> str:
    """Read a plan's id: a UUID, or a number as in some of the vendor's examples.

    :raises WhiteBitValidationError: it is neither.
    """
    text = _digits(raw) if isinstance(raw, str | int) and not isinstance(raw, bool) else ""
    if not re.fullmatch(r"[0-9]{1,30}", text) and not is_uuid(text):
        raise WhiteBitValidationError(
            f"plan_id is {shown(raw)}, which is no UUID and no number. Take it from the plans call, or give a ticker."
        )
    return text.lower()


def read_identifier(name: str, raw: object) -> str:
    """Read an identifier of the exchange.

    :param name: of the parameter.
    :raises WhiteBitValidationError: it cannot be one.
    """
    text = _digits(raw) if isinstance(raw, str | int) and not isinstance(raw, bool) else ""
    if not re.fullmatch(IDENTIFIER, text):
        raise WhiteBitValidationError(f"{name} is {shown(raw)}, which is not an identifier of the exchange.")
    return text


def read_key(name: str, raw: object) -> str:
    """Read the name of a move: a text, without the spaces around it, its accented letters in one spelling.

    :param name: of the parameter: ``key`` or ``idempotency_key``.
    :raises WhiteBitValidationError: it is not a text, empty but for spaces, too long, a template, or has characters
        that people cannot see or tell from a space.
    """
    if not isinstance(raw, str):
        raise WhiteBitValidationError(
            f"{name} is {shown(raw)}: write it as a string.",
            next_step="If a template renders it with render_template_as_native_obj, let it begin with a letter.",
        )
    # Two programs may write the same letter as one character or as two.
    text = unicodedata.normalize("NFC", raw.strip())
    if text.lower() in _NO_NAMES:
        raise WhiteBitValidationError(
            f"{name} is {shown(raw)}, which names no move.",
            next_step="Check its template, or leave the parameter out.",
        )
    if "{{" in text or "{%" in text:
        # Unnoticed, the key would be the same in every run, and only the first one would move.
        raise WhiteBitValidationError(
            f"{name} is {shown(raw)}, a template that was not rendered: Airflow renders no templates in "
            "mapped arguments, nor in calls of the hook."
        )
    if not text.isprintable() or re.search(_UNSEEN, text):
        # A byte order mark or another kind of space would make two names of one move. Databases do not keep NUL.
        raise WhiteBitValidationError(
            f"{name} is {shown(raw)}, with characters that people cannot see or tell from a space."
        )
    if len(text) > LONGEST_KEY:
        raise WhiteBitValidationError(
            f"{name} has {len(text)} characters: write at most {LONGEST_KEY}. It begins with {shown(text[:40])}."
        )
    return text


def read_account(name: str, raw: object) -> str:
    """Read the name of a balance: ``main``, ``spot`` (also ``trade``) or ``collateral``.

    :param name: of the parameter.
    :raises WhiteBitValidationError: it is not one of them.
    """
    text = raw.strip().lower() if isinstance(raw, str) else ""
    text = SPOT if text == "trade" else text
    if text not in ACCOUNTS:
        raise WhiteBitValidationError(f"{name} is {shown(raw)}: write one of {', '.join(ACCOUNTS)}.")
    return text


def read_direction(raw: object) -> str:
    """Read the direction of a transfer between Main and a sub-account.

    :raises WhiteBitValidationError: it is not one of :class:`~.models.Direction`.
    """
    text = raw.strip().lower() if isinstance(raw, str) else ""
    if text not in tuple(Direction):
        raise WhiteBitValidationError(f"direction is {shown(raw)}: write one of {', '.join(Direction)}.")
    return text


def read_ticker(raw: object) -> str:
    """Read a ticker; return it in capitals.

    :raises WhiteBitValidationError: it is not a ticker.
    """
    text = raw.strip() if isinstance(raw, str) else ""
    if not re.fullmatch(TICKER, text):
        raise WhiteBitValidationError(f"ticker is {shown(raw)}: write it like USDT.")
    return text.upper()


def read_moment(name: str, raw: Any) -> Any:
    """Read a time: ISO 8601 becomes a ``datetime``, digits become Unix seconds. Other values stay.

    A date means its first moment in UTC. Eight digits are a date (``ds_nodash``): as seconds, they would be in 1970.

    :param name: of the parameter.
    :raises WhiteBitValidationError: a text is neither.
    """
    raw = given(raw)
    if isinstance(raw, date) and not isinstance(raw, datetime):
        text = raw.isoformat()
    elif isinstance(raw, str | int) and not isinstance(raw, bool):
        text = _digits(raw)
    else:
        return raw
    if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_WHOLE and len(text) != _DATE_DIGITS:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise WhiteBitValidationError(
            f"{name} is {shown(raw)}: write a time like 2026-01-31T00:00:00+00:00, a date, or Unix seconds."
        ) from None
    return moment if len(text) > _LONGEST_DATE else moment.replace(tzinfo=UTC)


def exactly_one(plan_id: object, ticker: object) -> tuple[str | None, str | None]:
    """Read a plan id or a ticker.

    :returns: both; one of them is ``None``.
    :raises WhiteBitValidationError: both or neither are given, or the one is wrong.
    """
    has_plan, has_ticker = given(plan_id) is not None, given(ticker) is not None
    if has_plan == has_ticker:
        raise WhiteBitValidationError("Give either plan_id or ticker" + (", not both." if has_plan else "."))
    return (read_plan_id(plan_id), None) if has_plan else (None, read_ticker(ticker))


def one_investment(investment_id: object, plan_id: object, ticker: object) -> dict[str, str | None]:
    """Read what names a Fixed investment: its id, its plan or its asset.

    :returns: all three by name; two of them are ``None``.
    :raises WhiteBitValidationError: more than one or none of them is given, or the one is wrong.
    """
    if given(investment_id) is None:
        plan_id, ticker = exactly_one(plan_id, ticker)
        return {"investment_id": None, "plan_id": plan_id, "ticker": ticker}
    if given(plan_id) is not None or given(ticker) is not None:
        raise WhiteBitValidationError("Give either investment_id, or plan_id, or ticker.")
    return {"investment_id": read_identifier("investment_id", investment_id), "plan_id": None, "ticker": None}


def read_days(raw: object) -> int | None:
    """Read the term of a Fixed plan in whole days; ``None``: any term.

    :raises WhiteBitValidationError: this is not a whole number of days.
    """
    return None if raw is None else read_number("days", raw, most=99_999)


def transfer_route(source: str, target: str) -> list[tuple[str, str]]:
    """Return the transfers that lead from one balance to another: one, or two through Main.

    :raises WhiteBitValidationError: both are the same.
    """
    if source == target:
        raise WhiteBitValidationError(f"source and target are both {source}.")
    if MAIN in (source, target):
        return [(source, target)]
    return [(source, MAIN), (MAIN, target)]


def read_optional(read: Callable[..., T], *arguments: Any) -> T | None:
    """Read a parameter that may be left out.

    :param read: one of the readers of this module.
    :param arguments: the reader's own; the parameter's value is the last one.
    :raises WhiteBitValidationError: the reader's own.
    """
    return None if given(arguments[-1]) is None else read(*arguments)


def read_number(name: str, raw: object, *, least: int = 1, most: int | None = None) -> int:
    """Read a whole number.

    :param name: of the parameter.
    :param least: smallest number that is allowed.
    :param most: largest one.
    :raises WhiteBitValidationError: it is not a whole number, or out of range.
    """
    text = _digits(raw) if isinstance(raw, str | int) and not isinstance(raw, bool) else ""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_WHOLE else None
    if number is None or number < least or (most is not None and number > most):
        allowed = f"at least {least}" if most is None else f"from {least} to {most}"
        raise WhiteBitValidationError(f"{name} is {shown(raw)}: write a whole number, {allowed}.")
    return number


def read_word(name: str, words: type[WordT], raw: object) -> WordT:
    """Read one of some words.

    :param name: of the parameter.
    :raises WhiteBitValidationError: it is none of them; the error names them.
    """
    for word in words:
        if _word(raw) == word:
            return word
    raise WhiteBitValidationError(f"{name} is {shown(raw)}: write one of {', '.join(words)}.")


def read_words(name: str, words: type[WordT], raw: object) -> list[WordT]:
    """Read some words by :func:`read_list`, in their usual order and each once.

    :param name: of the parameter.
    :raises WhiteBitValidationError: there is none, or one is unknown; the error names those that exist.
    """
    found = {read_word(name, words, one) for one in read_list(raw)}
    if not found:
        raise WhiteBitValidationError(f"{name} is {shown(raw)}: write some of {', '.join(words)}.")
    return [word for word in words if word in found]


def read_choice(name: str, words: type[StrEnum], numbers: type[IntEnum], raw: object) -> int:
    """Read one of the exchange's numbers, given as a word or as the number itself.

    :param name: of the parameter.
    :param words: the words; their member names are those of the numbers.
    :param numbers: the numbers.
    :raises WhiteBitValidationError: it is neither; the error names the words.
    """
    text = _word(raw)
    for number in numbers:
        if text in (words[number.name], str(number.value)):
            return int(number)
    raise WhiteBitValidationError(f"{name} is {shown(raw)}: write one of {', '.join(words)}.")


def read_list(raw: object) -> list[Any]:
    """Return the entries of a list, a comma separated text, or a list as a template renders it: ``['BTC', 'USDT']``."""
    if isinstance(raw, str):
        entries: Iterable[Any] = (entry.strip(" '\"") for entry in raw.strip("[]() ").split(","))
    else:
        entries = raw if isinstance(raw, Iterable) else (raw,)
    return [entry for entry in entries if given(entry) is not None]


def read_tickers(raw: object) -> list[str] | None:
    """Read tickers by :func:`read_list`, each once. An empty list, which means all tickers, becomes ``None``.

    :raises WhiteBitValidationError: one is not a ticker.
    """
    return list(dict.fromkeys(map(read_ticker, read_list(raw)))) or None


def read_time(name: str, raw: Any) -> pendulum.DateTime | None:
    """Read a time by :func:`read_moment`; return it in UTC.

    :param name: of the parameter.
    :raises WhiteBitValidationError: it is neither, or has no time zone.
    """
    import pendulum

    moment = read_moment(name, raw)
    if moment is None:
        return None
    if isinstance(moment, int) and not isinstance(moment, bool):
        try:
            return pendulum.from_timestamp(moment, tz="UTC")
        except (ValueError, OverflowError, OSError):
            raise WhiteBitValidationError(f"{name} is {shown(raw)}, which is no time in Unix seconds.") from None
    if not isinstance(moment, datetime):
        raise WhiteBitValidationError(
            f"{name} is {shown(raw)}: write a time like 2026-01-31T00:00:00+00:00, or a date."
        )
    if moment.tzinfo is None:
        raise WhiteBitValidationError(
            f"{name} is {shown(raw)}, which has no time zone: write a time like 2026-01-31T00:00:00+00:00."
        )
    return pendulum.instance(moment).in_timezone("UTC")
