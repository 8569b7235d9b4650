"""What an answer of the exchange proves: refusals by name, and what no success has. Pure.

The successes of calls that move money: ``calls.py``.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_whitebit.client import meanings
from airflow_provider_whitebit.client.endpoints import FIXED, FLEX, TRANSFER
from airflow_provider_whitebit.client.errors import SHORTAGE, FieldErrors, WhiteBitError
from airflow_provider_whitebit.client.meanings import Meaning

#: The fields of the exchange's own refusal. Gateways add others: ``details``, ``request_id``, ``statusCode``.
_OWN_FIELDS = {"code", "message", "errors"}
#: The numbers that are the exchange's own (vendor pages: 0 to 5, 10, 30). Gateways write the HTTP status there.
_CODES = range(100)
#: Fields of refusals, the exchange's and others'. No success of the exchange has one of them.
_OF_FAILURES = frozenset({"code", "detail", "details", "error", "errors", "exception", "fault", "message", "warning"})

#: Meanings that are looked for in pages. Pages have too few words to recognise the others.
_OF_PAGES = (meanings.RATE_LIMIT, meanings.BLOCKED, meanings.LEGAL, meanings.REGION, meanings.MAINTENANCE)
#: What the status of a gateway's answer means. The exchange itself refuses with JSON.
_OF_STATUSES = {
    **dict.fromkeys((301, 302, 303, 307, 308), meanings.REDIRECTED),
    401: meanings.BLOCKED,
    403: meanings.BLOCKED,
    429: meanings.RATE_LIMIT,
    451: meanings.LEGAL,
}
#: The code by which each call says that the balance does not cover the amount, in whatever language. The same numbers
#: mean something else on other calls.
_SHORTAGES = {(f"{FLEX}/investments", "invest"): 4, (FIXED, "investment"): 4, tuple(TRANSFER.rsplit("/", 1)): 3}
#: The code by which all calls say that the key lacks a right.
_NO_RIGHT = 4
#: Bytes of a page that are looked at.
_PAGE = 16 * 1024
_TITLE = re.compile(r"<title[^<>]*>([^<]*)", re.IGNORECASE)
#: What a page does not show.
_MARKUP = re.compile(r"<(script|style|title)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)|<[^<>]*>", re.DOTALL | re.IGNORECASE)


def tells_failure(answer: object) -> bool:
    """Whether a JSON answer tells a failure, whatever its status says.

    :param answer: the decoded body.
    """
    if not isinstance(answer, Mapping):
        return False
    names = {name.lower() for name in answer}
    return not names.isdisjoint(_OF_FAILURES) or ("success" in names and answer.get("success") is not True)


def error_from_answer(path: str, status: int, answer: object) -> WhiteBitError | None:
    """The refusal in an answer of the exchange, or ``None`` if the answer is not an error object.

    Without a refusal, the caller decides by the contents whether it is a success.

    Only a refusal of the exchange itself proves that the call did not run: a 4xx whose fields are ``message``,
    ``code`` and perhaps ``errors``. ``code`` is one of the exchange's numbers; it may be missing beside a known text.
    A gateway in between sends ``{"message": "Forbidden"}`` or ``{"code": 403, "message": "Forbidden"}``, which prove
    nothing.

    :param path: API path of the call.
    :param status: HTTP status.
    :param answer: the decoded JSON body.
    :returns: an error with ``money_moved=False`` if it proves that the call did not run, else with ``None``.
    """
    if not isinstance(answer, Mapping) or not isinstance(answer.get("message"), str):
        return None
    message: str = answer["message"]
    errors = _field_errors(answer.get("errors"))
    own = _is_own_refusal(status, answer)
    code = answer["code"] if type(answer.get("code")) is int else None
    meaning = _meaning(message.strip(), status, errors, _by_code(path, status, code) if own else None, own=own)
    if meaning is None:
        return None
    return _error(meaning, path, status, message, errors, code, money_moved=False if own else None)


def error_from_page(path: str, status: int, headers: Mapping[str, str], body: bytes) -> WhiteBitError:
    """The error of an answer that is not JSON. It is a gateway's, and proves nothing about a request that was sent.

    :param path: API path of the call.
    :param status: HTTP status.
    :param headers: of the answer.
    :param body: of the answer.
    :returns: an error with ``money_moved=None``.
    """
    title, shown = _page_words(body)
    words = f"{title} {shown}".strip()
    meaning = meanings.known([words], _OF_PAGES) if status >= 400 else None
    if meaning is None and status >= 400 and "cf-mitigated" in {name.lower() for name in headers}:
        meaning = meanings.BLOCKED
    meaning = meaning or _OF_STATUSES.get(status) or (meanings.NOT_JSON if body.strip() else meanings.EMPTY)
    # The title of a page about maintenance often is the status.
    return _error(meaning, path, status, shown or title if meaning is meanings.MAINTENANCE else words)


def unusable(path: str, status: int, answer: object) -> WhiteBitError:
    """The error of a JSON answer that is neither a success nor a refusal.

    :param path: API path of the call.
    :param status: HTTP status.
    :param answer: the decoded JSON body.
    :returns: an error with ``money_moved=None``.
    """
    texts = _words(answer)
    errors = _field_errors(answer.get("errors")) if isinstance(answer, Mapping) else {}
    meaning = meanings.known([*texts, *(text for by_field in errors.values() for text in by_field)])
    if meaning is None:
        meaning = meanings.SERVER_FAULT if status >= 500 else _OF_STATUSES.get(status, meanings.UNCLEAR)
    return _error(meaning, path, status, "; ".join(texts), errors)


def _error(
    meaning: Meaning,
    path: str,
    status: int,
    said: str,
    errors: FieldErrors | None = None,
    code: int | None = None,
    *,
    money_moved: bool | None = None,
) -> WhiteBitError:
    error = meaning.error(
        meaning.sentence, path=path, status=status, code=code, said=said, errors=errors, money_moved=money_moved
    )
    error.meaning = meaning.name
    error.advice = error.next_step = meaning.next_step or error.advice
    return error


def _is_own_refusal(status: int, answer: Mapping[str, Any]) -> bool:
    message, code, errors = answer["message"].strip(), answer.get("code"), answer.get("errors")
    # PHP writes an empty object as an empty list.
    if not 400 <= status < 500 or not answer.keys() <= _OWN_FIELDS or not (errors in (None, []) or _is_fields(errors)):
        return False
    if "code" in answer:
        return type(code) is int and code in _CODES and bool(message)
    return message in meanings.TEXTS


def _is_fields(errors: object) -> bool:
    return isinstance(errors, Mapping) and all(isinstance(texts, list) for texts in errors.values())


def _by_code(path: str, status: int, code: int | None) -> Meaning | None:
    """The row that status and code name by themselves; ``None`` if the words have to decide."""
    if status == 422 and code is not None and _SHORTAGES.get(tuple(path.rsplit("/", 1))) == code:
        return meanings.SHORT_OF_BALANCE
    return meanings.KEY_LACKS_RIGHT if status in (401, 403) and code == _NO_RIGHT else None


def _meaning(message: str, status: int, errors: FieldErrors, by_code: Meaning | None, *, own: bool) -> Meaning | None:
    """The row of a refusal; ``None`` if neither its words nor its status are those of a refusal.

    :param by_code: the row for words that no other one knows: they can be in any language.
    """
    if message in meanings.TEXTS:
        return meanings.TEXTS[message]
    if status == 429 and message.lower().startswith("too many requests"):
        # Gateways write the name of this status. The exchange's own words, with these capitals, are about the nonce.
        return meanings.RATE_LIMIT
    by_field = [text for texts in errors.values() for text in texts]
    if found := meanings.known([message, *by_field]):
        return found
    if not own and status >= 400 and (status in _OF_STATUSES or meanings.BLOCKED.fits(meanings.folded(message))):
        return _OF_STATUSES.get(status, meanings.BLOCKED)
    if by_code is not None:
        return by_code
    if status == 422 and any(SHORTAGE.search(text) for text in by_field):
        return meanings.SHORT_OF_BALANCE
    if errors and status in (400, 422):
        return meanings.PARAMETER if status == 400 else meanings.RULE
    return _OF_STATUSES.get(status) if status in (429, 451) else meanings.UNKNOWN.get(status)


def _field_errors(raw: object) -> dict[str, list[str]]:
    if isinstance(raw, str | list) and raw:
        raw = {"errors": raw}
    if not isinstance(raw, Mapping):
        return {}
    return {
        field: [_text(text) for text in texts] if isinstance(texts, list) else [_text(texts)]
        for field, texts in raw.items()
    }


def _text(raw: object) -> str:
    """A text in a refusal. What is nested deeper is left out: writing it down could overflow the stack."""
    return "..." if isinstance(raw, list | Mapping) else str(raw)


#: Fields in which answers of others say what is wrong.
_SAYING = ("message", "error", "description", "detail", "details", "reason", "title", "warning", "status")


def _words(answer: object) -> list[str]:
    """The texts of a JSON answer of unknown shape, as far as they can be told from its data."""
    if isinstance(answer, str):
        return [answer]
    if not isinstance(answer, Mapping):
        return []
    inner = answer.get("error")
    texts = [*(answer.get(name) for name in _SAYING), *(inner.values() if isinstance(inner, Mapping) else ())]
    return [text for text in texts if isinstance(text, str) and text.strip()]


def _page_words(body: bytes) -> tuple[str, str]:
    """The title of a page, and what it shows. Both are empty for JSON that broke off, and for bytes that are no text.

    ``html.parser`` raises AssertionError for some malformed pages.
    """
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(body[:_PAGE]).strip()
    except ValueError:
        return "", ""
    if text.startswith(("{", "[")):
        return "", ""
    title = _TITLE.search(text)
    return html.unescape(title[1]).strip() if title else "", html.unescape(_MARKUP.sub(" ", text)).strip()
