"""Files of journal entries. A period that was written before is never written differently without saying so.

Each period has a manifest beside its files: balances, accounts and the digest of each file. With the manifest the
period is complete. It also is what the books of the next period continue.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby, zip_longest
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from airflow_provider_whitebit.client.errors import WhiteBitValidationError, clean
from airflow_provider_whitebit.client.models import parse_amount, plain, to_json
from airflow_provider_whitebit.operators.export import replace_file
from airflow_provider_whitebit.treasury.amounts import exact
from airflow_provider_whitebit.treasury.beancount_text import beancount_lines
from airflow_provider_whitebit.treasury.chart_of_accounts import BookFormat, Chart
from airflow_provider_whitebit.treasury.hledger_text import hledger_lines
from airflow_provider_whitebit.treasury.journal_entries import Balances, Books, Role
from airflow_provider_whitebit.treasury.valued_csv import ValuedCsv

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

_VERSION = 1
_TEXTS = {BookFormat.BEANCOUNT: beancount_lines, BookFormat.HLEDGER: hledger_lines}
#: Characters in one write. A write to a file of ObjectStoragePath takes longer than making a line.
_BATCH = 200_000
#: Differences that an error names, and characters of each line.
_NAMED, _LONGEST_LINE = 3, 160


def balances_to_json(balances: Balances) -> dict[str, dict[str, str]]:
    """Return balances as plain JSON: role -> ticker -> amount."""
    found: dict[str, dict[str, str]] = {}
    for (role, ticker), amount in sorted(balances.items()):
        found.setdefault(str(role), {})[ticker] = plain(amount)
    return found


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is kept about the files of a period.

    :param start: its beginning, as ISO 8601 text.
    :param end: its end.
    :param opening: balances at its start, as :func:`balances_to_json` returns them.
    :param closing: balances at its end, likewise.
    :param accounts: by format, the accounts that its files and those before have declared.
    :param files: name of each file -> its SHA-256.
    """

    start: str
    end: str
    opening: Mapping[str, Mapping[str, str]]
    closing: Mapping[str, Mapping[str, str]]
    accounts: Mapping[str, Sequence[str]]
    files: Mapping[str, str]

    def to_text(self) -> str:
        """Return the text of the manifest's file."""
        document = {
            "version": _VERSION,
            "start": self.start,
            "end": self.end,
            "opening": self.opening,
            "closing": self.closing,
            "accounts": {form: list(names) for form, names in sorted(self.accounts.items())},
            "files": dict(sorted(self.files.items())),
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_text(cls, text: str, path: object) -> Self:
        """Read the text of a manifest's file.

        :raises WhiteBitValidationError: it is none.
        """
        try:
            raw = json.loads(text)
            if raw["version"] != _VERSION:
                raise ValueError(f"its version is {raw['version']!r}")
            accounts = {str(form): [str(name) for name in names] for form, names in raw["accounts"].items()}
            files = {str(name): str(digest) for name, digest in raw["files"].items()}
            opening, closing = (balances_to_json(_balances(raw[when])) for when in ("opening", "closing"))
            return cls(str(raw["start"]), str(raw["end"]), opening, closing, accounts, files)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WhiteBitValidationError(
                f"{path} is no manifest of journal entries ({type(error).__name__}: {clean(str(error))}).",
                next_step="Give continues the path of the .json file beside the entries of the period before.",
            ) from None

    @property
    def balances(self) -> Balances:
        """The closing balances, with which the next period begins."""
        return _balances(self.closing)


def _balances(raw: Any) -> dict[tuple[Role, str], Decimal]:
    return {
        (Role(role), str(ticker)): parse_amount(amount) for role, sums in raw.items() for ticker, amount in sums.items()
    }


@dataclass(slots=True)
class BookFolder:
    """The folder in which books are kept.

    :param path: of the folder: any path of Airflow's ``ObjectStoragePath``.
    :param stem: of the names of a period's files.
    :param conn_id: Airflow connection of the storage, if the path does not name one.
    """

    path: str
    stem: str
    conn_id: str | None = None

    def at(self, name: str) -> ObjectStoragePath:
        """Return the path of a file in this folder, or of any file if ``name`` is absolute."""
        from airflow.sdk import ObjectStoragePath

        options = {} if self.conn_id is None else {"conn_id": self.conn_id}
        return ObjectStoragePath(name if "/" in name else f"{self.path.rstrip('/')}/{name}", **options)

    @property
    def manifest(self) -> str:
        """The name of the period's manifest."""
        return f"{self.stem}.json"

    def read_manifest(self, name: str) -> Manifest | None:
        """Read a manifest; ``None`` if there is no such file.

        :raises WhiteBitValidationError: it is no manifest.
        """
        path = self.at(name)
        return Manifest.from_text(path.read_text(encoding="utf-8"), path) if path.exists() else None

    def before(self, prefix: str, start: str) -> str | None:
        """Return the name of the manifest of the period that ends where this one begins; ``None`` if there is none.

        :param prefix: of the names of files, before their periods.
        :param start: the start of this period as file names contain it.
        :raises WhiteBitValidationError: there are several.
        """
        folder = self.at(f"{self.path.rstrip('/')}/")
        if not folder.exists():
            return None
        names = sorted(one.name for one in folder.iterdir())
        found = [name for name in names if name.startswith(f"{prefix}-") and name.endswith(f"-{start}.json")]
        # Other assets have other prefixes: between prefix and end there is only the other period's start.
        found = [name for name in found if name[len(prefix) + 1 : -len(f"-{start}.json")].isdecimal()]
        if len(found) > 1:
            raise WhiteBitValidationError(
                f"Several books in {self.path} end at {start}: {', '.join(found)}.",
                next_step="Name the one to continue with continues.",
            )
        return found[0] if found else None


@dataclass(slots=True)
class BookWriter:
    """Writes the files of a period.

    :param folder: where to.
    :param charts: the accounts of each format.
    :param prices: for the formats that keep one currency.
    :param tax_rate: for Xero.
    :param before: the manifest that the books continue.
    :param replace: write differently what was written before, and keep the former files.
    """

    folder: BookFolder
    charts: Sequence[Chart]
    prices: Mapping[str, Decimal]
    tax_rate: str
    before: Manifest | None = None
    replace: bool = False
    #: Entries whose value is part of a later one, by format.
    left_out: dict[str, int] = field(default_factory=dict)
    #: Names of the files, by format.
    files: dict[str, list[str]] = field(default_factory=dict)
    #: Former files that were kept.
    former: list[str] = field(default_factory=list)

    def write(self, books: Books, scratch: Path) -> bool:
        """Write the files, the manifest last.

        :param scratch: an empty local folder for what is not complete yet.
        :returns: whether anything was written. What is there already, byte by byte the same, is left alone.
        :raises WhiteBitValidationError: an account or a price is missing, or the period was written differently.
        """
        for chart in self.charts:
            chart.require(books.accounts)
        made = {name: digest for chart in self.charts for name, digest in self._make(books, chart, scratch).items()}
        path = self.folder.at(self.folder.manifest)
        kept = self.folder.read_manifest(self.folder.manifest)
        manifest = self._manifest(books, made, kept)
        differences = list(self._differences(made, kept, manifest, scratch))
        if differences and not self.replace:
            more = f" And {len(differences) - _NAMED} more." if len(differences) > _NAMED else ""
            raise WhiteBitValidationError(
                f"{self.folder.stem} was written before, and differs now. Nothing was written. "
                + " ".join(text for _, text in differences[:_NAMED])
                + more,
                next_step=(
                    "Find out why: a record that came late, other accounts or prices, a later version of this package.",
                    "To write it again and keep the former files, set replace=True.",
                ),
            )
        _put(scratch / self.folder.manifest, [manifest.to_text()])
        if not differences and kept == manifest and all(self.folder.at(name).exists() for name in made):
            return False
        for name in dict.fromkeys([name for name, _ in differences] + ([self.folder.manifest] if differences else [])):
            self._keep_former(name)
        for name in made:
            if not self.folder.at(name).exists():
                self._publish(name, scratch)
        path = self.folder.at(self.folder.manifest)
        if not path.exists() or kept != manifest:
            self._publish(self.folder.manifest, scratch)
        return True

    def _make(self, books: Books, chart: Chart, scratch: Path) -> dict[str, str]:
        """Write the files of one format into the scratch folder; return their digests by name."""
        form = str(chart.form)
        found: dict[str, str] = {}
        with exact():
            if chart.form in _TEXTS:
                name = f"{self.folder.stem}.{form}"
                declared = () if self.before is None else self.before.accounts.get(form, ())
                found[name] = _put(scratch / name, _TEXTS[chart.form](books, chart, declared))
            else:
                valued = ValuedCsv(chart, self.prices, self.tax_rate)
                for number, texts in groupby(valued.parts(books), key=lambda part: part[0]):
                    name = f"{self.folder.stem}.{form}-{number:03}.csv"
                    found[name] = _put(scratch / name, (text for _, text in texts))
                self.left_out[form] = valued.left_out
        self.files[form] = list(found)
        return found

    def _manifest(self, books: Books, made: Mapping[str, str], kept: Manifest | None) -> Manifest:
        """The manifest of the period. What it says of files of other formats stays."""
        declared = {} if self.before is None else self.before.accounts
        accounts: dict[str, Sequence[str]] = {
            str(chart.form): sorted({*declared.get(chart.form, ()), *chart.declare(books.accounts)})
            for chart in self.charts
        }
        files = dict(made)
        if kept is not None:
            accounts = {**kept.accounts, **accounts}
            files |= {name: digest for name, digest in kept.files.items() if not self._is_mine(name)}
        times = (str(to_json(books.start)), str(to_json(books.end)))
        balances = (balances_to_json(books.opening), balances_to_json(books.closing))
        return Manifest(*times, *balances, accounts, files)

    def _is_mine(self, name: str) -> bool:
        return any(name.startswith(f"{self.folder.stem}.{chart.form}") for chart in self.charts)

    def _differences(
        self, made: Mapping[str, str], kept: Manifest | None, manifest: Manifest, scratch: Path
    ) -> Iterator[tuple[str, str]]:
        """What differs from what was written before: the name of a file, and in words how."""
        # A file that no manifest names was left by a run that ended before its manifest, or is another program's.
        named = {} if kept is None else {name: one for name, one in kept.files.items() if self._is_mine(name)}
        left = (name for name in made if name not in named and self.folder.at(name).exists())
        there = {**named, **{name: _digest(self.folder.at(name)) for name in left}}
        if kept is not None:
            for when in ("opening", "closing"):
                old, new = getattr(kept, when), getattr(manifest, when)
                for role, ticker in sorted({(one, name) for sums in (old, new) for one in sums for name in sums[one]}):
                    was, now = (sums.get(role, {}).get(ticker, "0") for sums in (old, new))
                    if was != now:
                        text = f"The {when} balance of {role} {ticker} was {was} and is now {now}."
                        yield self.folder.manifest, text
        for name, digest in sorted(there.items()):
            path = self.folder.at(name)
            if name not in made:
                yield name, f"{name} would no longer be there."
            elif digest != made[name] and not path.exists():
                yield name, f"{name} was moved away since, and would be different."
            elif digest != made[name]:
                with path.open("rb") as old_file, (scratch / name).open("rb") as new_file:  # type: ignore[no-untyped-call]
                    yield name, f"{name}: {_first_difference(old_file, new_file)}"
            elif name in named and path.exists() and _digest(path) != digest:
                yield name, f"{name} was changed since it was written."

    def _keep_former(self, name: str) -> None:
        path, number = self.folder.at(name), 1
        if path.exists():
            while self.folder.at(f"{name}.former-{number}").exists():
                number += 1
            path.fs.mv(path.path, self.folder.at(f"{name}.former-{number}").path)
            self.former.append(f"{name}.former-{number}")

    def _publish(self, name: str, scratch: Path) -> None:
        def write(file: IO[bytes]) -> None:
            with (scratch / name).open("rb") as made:
                shutil.copyfileobj(made, file, 1 << 20)

        replace_file(self.folder.at(name), write, conn_id=self.folder.conn_id)


def _put(path: Path, texts: Iterable[str]) -> str:
    """Write texts into a local file; return its SHA-256."""
    digest, size = hashlib.sha256(), 0
    waiting: list[str] = []
    with path.open("wb") as file:

        def flush() -> None:
            data = "".join(waiting).encode()
            digest.update(data)
            file.write(data)
            waiting.clear()

        for text in texts:
            waiting.append(text)
            size += len(text)
            if size > _BATCH:
                flush()
                size = 0
        flush()
    return digest.hexdigest()


def _digest(path: ObjectStoragePath) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:  # type: ignore[no-untyped-call]
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()


def _first_difference(old: IO[bytes], new: IO[bytes]) -> str:
    for number, (was, now) in enumerate(zip_longest(_lines(old), _lines(new)), 1):
        if was != now:
            return f"line {number} {_line(was, 'was')}, {_line(now, 'is now')}."
    return "the digest that was kept differs, because the file was changed since."


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file. Those of ObjectStoragePath are not iterable before Airflow 3.1."""
    rest = b""
    while data := file.read(1 << 20):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
    yield rest


def _line(line: bytes | None, verb: str) -> str:
    if line is None:
        return f"{verb} missing"
    return f"{verb} {clean(line.decode(errors='replace').rstrip(), _LONGEST_LINE)!r}"
