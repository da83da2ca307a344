"""Extension of griffe, which reads docstrings: settings classes are shown like dataclasses."""

from __future__ import annotations

from typing import Any

import griffe


class SettingsExtension(griffe.Extension):
    """Treats `@gafcnn.settings.settings(...)` like `@dataclass`."""

    def on_class_instance(self, *, cls: griffe.Class, **_: Any) -> None:
        """Replace the decorator before signatures are derived from it."""
        for decorator in cls.decorators:
            path = getattr(decorator.value, "canonical_path", "")
            if path == "gafcnn.settings.settings":
                decorator.value = griffe.ExprName("dataclasses.dataclass")
