"""Run the cells of a notebook in order, as Jupyter does: `python notebook.py PATH`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell


class Shell(InteractiveShell):
    """A shell that renders figures without a window."""

    def enable_gui(self, gui: str | None = None) -> None:
        """Do nothing: there is no event loop."""


if __name__ == "__main__":
    notebook = Path(sys.argv[1])
    shell = Shell.instance()
    formatter = shell.display_formatter
    assert formatter is not None
    formatter.active_types = formatter.format_types
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            shell.run_cell("".join(cell["source"]), store_history=True).raise_error()
