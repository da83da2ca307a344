"""A table that stands on the page and beside it as CSV, made of the same rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

from gafcnn.report.formatters import NONE, Form, count, fine, percent, words

Row: TypeAlias = Mapping[str, Any]

INTERVAL = ("low", "high")


@dataclass(frozen=True)
class Column:
    """What a table tells of each of its rows.

    Attributes:
        key: Its name in the rows and in the CSV.
        head: Its heading on the page.
        form: How a value is written; None where each row brings its own, under "form".
        interval: The keys of the low and the high end, where values have an interval.
        kind: Numbers stand to the right; a badge is a verdict, to be seen from afar.
    """

    key: str
    head: str
    form: Form | None
    interval: tuple[str, str] | None = None
    kind: Literal["number", "words", "badge"] = "number"

    def names(self) -> tuple[str, ...]:
        """Its columns in the CSV."""
        return (self.key, *(self.interval or ()))

    def text(self, row: Row) -> str:
        """The value as the page writes it."""
        return self._form(row)(row[self.key])

    def interval_text(self, row: Row) -> str:
        """The interval as the page writes it; empty where the column, or the value, has none."""
        if self.interval is None:
            return ""
        low, high = (self._form(row)(row[end]) for end in self.interval)
        return "" if NONE in (low, high) else f"[{low}, {high}]"

    def _form(self, row: Row) -> Form:
        return row["form"] if self.form is None else self.form


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        name: The name of its CSV.
        columns: From the left; the first names the row.
        rows: From above, each a mapping that holds the columns' keys.
        groups: What each row belongs to; a rule is drawn where it changes.
    """

    name: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    groups: Sequence[Any] = ()

    def begins(self) -> list[bool]:
        """Whether a group begins at each row but the first."""
        groups = self.groups or [None] * len(self.rows)
        return [False, *(one != other for one, other in pairwise(groups))]

    def csv(self) -> str:
        """The table as CSV: every number in full, nothing where there is none."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        keys = [key for column in self.columns for key in column.names()]
        writer.writerow(keys)
        writer.writerows([row[key] for key in keys] for row in self.rows)
        return file.getvalue()


def estimated(figure: str, head: str, form: Form) -> Column:
    """A column of estimates, flattened by `flat`."""
    return Column(figure, head, form, (f"{figure}_low", f"{figure}_high"))


def flat(estimates: Mapping[str, Row], figures: Sequence[str]) -> dict[str, Any]:
    """Estimates by figure as one row: `sharpe`, `sharpe_low`, `sharpe_high`; None where absent."""
    return {
        key: estimates.get(figure, {}).get(end)
        for figure in figures
        for key, end in ((figure, "value"), (f"{figure}_low", "low"), (f"{figure}_high", "high"))
    }


def text(key: str, head: str, form: Form = words) -> Column:
    """A column of words."""
    return Column(key, head, form, kind="words")


MODEL = text("model", "model")
ROWS = Column("n", "rows", count)
ACCURACY = Column("accuracy", "accuracy", percent)
MAJORITY = Column("majority", "majority class", percent)
AUC = Column("auc", "AUC", fine)
