"""What every report is made with: pictures that a page holds itself, templates, files on disk."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from gafcnn.atomic_io import write_bytes
from gafcnn.report.formatters import moment
from gafcnn.report.plotting import png
from gafcnn.report.tables import Sheet

PAGE, TABLES, FIGURES = "report.html", "tables", "figures"

CSS_DPI = 96  # a CSS inch


@dataclass(frozen=True)
class Picture:
    """A figure as PNG.

    Attributes:
        name: Of its file.
        title: What is to be seen, in a line.
        png: Its bytes.
        width: How wide it is on a screen, in CSS pixels.
    """

    name: str
    title: str
    png: bytes
    width: int

    @classmethod
    def of(cls, name: str, title: str, figure: Figure) -> Picture:
        """Draw a figure."""
        return cls(name, title, png(figure), round(CSS_DPI * figure.get_figwidth()))

    @property
    def address(self) -> str:
        """The bytes as an address of their own, so that a page holds them itself."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode('ascii')}"


def rendered(template: str, **shown: Any) -> str:
    """A page from its template; whatever is not given is an error, never an empty place."""
    environment = Environment(
        loader=PackageLoader("gafcnn.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = moment
    return environment.get_template(template).render(**shown)


def published(
    folder: Path, page: str, tables: Mapping[str, Sheet], pictures: Iterable[Picture]
) -> Path:
    """Write a page, its tables as CSV and its figures as PNG; each whole or not at all, page last.

    Tables and figures of an earlier report that this one does not have are removed then.

    Returns:
        The path of the page.
    """
    texts = {f"{TABLES}/{name}.csv": sheet.csv().encode() for name, sheet in tables.items()}
    images = {f"{FIGURES}/{picture.name}.png": picture.png for picture in pictures}
    for name, content in {**texts, **images, PAGE: page.encode()}.items():
        write_bytes(folder / name, content)
    written = {folder / name for name in (*texts, *images)}
    for path in (*(folder / TABLES).glob("*.csv"), *(folder / FIGURES).glob("*.png")):
        if path not in written:
            path.unlink()
    return folder / PAGE
