"""Settings classes, registries, lengths of time and errors."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import pytest
from pydantic import Field

from gafcnn import errors
from gafcnn.durations import Duration, format_duration, parse_duration
from gafcnn.errors import ConfigError
from gafcnn.registry import Registry
from gafcnn.settings import as_plain, create, settings


@settings("label")
class Rule:
    horizon: Duration
    kind_of_move: Literal["up", "down"] = "up"
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    names: tuple[str, ...] = ("a",)
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.kind_of_move == "down" and self.share > 0.9:
            raise ConfigError("too much", expected="less", instead="set label.share=0.5")


def test_a_settings_class_is_a_frozen_dataclass() -> None:
    rule = Rule("15min", share=0.25)  # pyright: ignore[reportArgumentType]
    assert rule.horizon == pd.Timedelta("15min")
    assert rule == create(Rule, "label", {"horizon": "15min", "share": 0.25})
    assert hash(rule) == hash(Rule(pd.Timedelta("15min"), share=0.25))
    assert "share=0.25" in repr(rule)
    with pytest.raises(AttributeError):
        rule.share = 0.3  # pyright: ignore[reportAttributeAccessIssue]


def test_plain_data_creates_the_same_settings() -> None:
    rule = Rule("1h", names=("a", "b"), folder=Path("data"))  # pyright: ignore[reportArgumentType]
    plain = as_plain(rule)
    expected = {"horizon": "1h", "kind_of_move": "up", "share": 0.5, "names": ["a", "b"]}
    assert plain == {**expected, "folder": "data"}
    assert create(Rule, "label", plain) == rule


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"horizon": 15}, ["label.horizon is 15", "15min"]),
        ({}, ["label.horizon has no value"]),
        ({"share": 1}, ["label.share is 1", "less than 1", "0.5"]),
        ({"share": "much"}, ["label.share is 'much'"]),
        ({"shares": 0.3}, ["label.shares is not an option", "did you mean share"]),
        ({"kind_of_move": "flat"}, ["label.kind_of_move is 'flat'", "'up' or 'down'"]),
        ({"names": ["a", 3]}, ["label.names.1 is 3"]),
        ({"kind_of_move": "down", "share": 0.95}, ["too much", "set label.share=0.5"]),
    ],
)
def test_invalid_options_are_named(options: dict[str, Any], facts: list[str]) -> None:
    complete = ({"horizon": "15min"} | options) if options else {}
    for build in (lambda: create(Rule, "label", complete), lambda: Rule(**complete)):
        with pytest.raises(ConfigError) as caught:
            build()
        assert all(fact in str(caught.value) for fact in facts), str(caught.value)


@settings("label")
class Product:
    factor: int

    def __post_init__(self) -> None:
        assert pd.Timedelta("1D") * self.factor


def test_a_failing_calculation_is_an_error_of_the_options() -> None:
    with pytest.raises(ConfigError, match=r"^label of .*1000000000.* fails \(Overflow"):
        Product(10**9)


# --- registries -----------------------------------------------------------------------------------


@pytest.fixture
def rules() -> Registry[Any]:
    rules: Registry[Any] = Registry("rule")

    @rules.register("rule")
    @settings("label")
    class Registered:
        horizon: Duration

    return rules


def test_a_registry_is_a_mapping(rules: Registry[Any]) -> None:
    assert list(rules) == ["rule"]
    assert len(rules) == 1
    assert "rule" in rules
    assert rules["rule"].kind == "rule"
    found = rules.create({"kind": "rule", "horizon": "30min"}, "label")
    assert as_plain(found)["kind"] == "rule"
    assert rules.create(as_plain(found), "label") == found


def test_an_unknown_name(rules: Registry[Any]) -> None:
    with pytest.raises(ConfigError, match="did you mean rule"):
        rules["rules"]
    with pytest.raises(ConfigError, match=r"imports=\[my_file.py\]"):
        rules.create({"kind": "mine"}, "label")
    assert rules.get("mine") is None


def test_a_name_belongs_to_one_module(rules: Registry[Any]) -> None:
    rules.register("mine")(test_an_unknown_name)
    rules.register("mine")(test_a_registry_is_a_mapping)  # of the same module
    with pytest.raises(ConfigError, match="'mine' is registered already"):
        rules.register("mine")(Path.exists)


def test_modules_are_imported_at_the_first_lookup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raises_here.py").write_text("raise ZeroDivisionError")
    monkeypatch.syspath_prepend(tmp_path)
    registry: Registry[Any] = Registry("rule", ("raises_here",))
    with pytest.raises(ZeroDivisionError):
        registry["rule"]


# --- lengths of time ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["15min", "90min", "64h", "1D", "30s", "250ms", "0D"])
def test_lengths_of_time_keep_their_spelling(text: str) -> None:
    assert format_duration(parse_duration("label.horizon", text)) == text


@pytest.mark.parametrize("value", [15, "15", "soon", "-1min", None])
def test_lengths_of_time_need_a_unit(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"label.horizon is .*label.horizon=15min"):
        parse_duration("label.horizon", value)


# --- errors ---------------------------------------------------------------------------------------


def test_tree() -> None:
    assert issubclass(errors.DownloadError, errors.BarsError)
    assert issubclass(errors.StoreError, errors.ImagesError)
    assert issubclass(errors.LeakError, errors.SamplesError)
    kinds = [one for name, one in vars(errors).items() if name.endswith("Error")]
    assert all(issubclass(kind, errors.GafcnnError) for kind in kinds)


def test_pickle() -> None:
    error = errors.DownloadError("no answer", expected="bars", instead="try market=simulated")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is errors.DownloadError
    assert str(copy) == str(error) == "no answer; expected bars; try market=simulated."
    assert copy.instead == "try market=simulated"
