"""The cells of a notebook, one after another, as Jupyter runs them: `python notebook.py PATH`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell


class Shell(InteractiveShell):
    """One without a window; what is shown is drawn all the same."""

    def enable_gui(self, gui: str | None = None) -> None:
        """There is none to be enabled."""


if __name__ == "__main__":
    notebook = Path(sys.argv[1])
    shell = Shell.instance()
    shown = shell.display_formatter
    assert shown is not None
    shown.active_types = shown.format_types
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            shell.run_cell("".join(cell["source"])).raise_error()
