"""Keys are read off any constructor: by annotation, by Key, or taken as they come."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, TypedDict, Unpack

import pytest

from kpflow_cli.config.declarations import keys_of
from kpflow_cli.config.keys import Key
from kpflow_cli.config.validation import check_keys
from kpflow_cli.errors import UserError

if TYPE_CHECKING:
    from nowhere import Unknown


class Draws(TypedDict):
    gain: Annotated[float, Key("factor", at_least=0)]
    scale: NotRequired[Annotated[float, Key("another", above=0)]]


@dataclass
class Base:
    size: Annotated[int, Key("how large", at_least=1)]


@dataclass
class Derived(Base):
    """Its first field is annotated in its base class."""

    kind: Literal["a", "b"] = "a"
    sizes: Annotated[list[int], Key("of each", at_least=2)] | None = None
    made: Unknown | None = None


class Plain:
    def __init__(
        self,
        bare,
        number: float,
        words: list[Literal["one", "two"]],
        maybe: Literal["x"] | None,
        unit: Annotated[float, Key("a share", at_least=0, below=1)] = 0.5,
        **draws: Unpack[Draws],
    ) -> None:
        pass


class Anything:
    def __init__(self, size: int = 1, **others: Any) -> None:
        pass


GOOD = {"bare": {1: "x"}, "number": 2, "words": ["two"], "maybe": None, "gain": 1}


def test_each_parameter_is_a_key() -> None:
    declared = keys_of(Plain).declared
    assert list(declared) == ["bare", "number", "words", "maybe", "unit", "gain", "scale"]
    assert [name for name, key in declared.items() if not key.required] == ["unit", "scale"]
    assert declared["unit"].meaning == "a share (at least 0, below 1)"
    assert declared["words"].meaning == "(one, two)"
    assert declared["number"].meaning == ""


def test_fields_of_base_classes_are_keys() -> None:
    assert keys_of(Derived).declared["size"].meaning == "how large (at least 1)"
    assert check_keys(keys_of(Derived), {"size": 1, "made": {"of": "anything"}})
    with pytest.raises(UserError, match=r"^size=0: impossible; valid: at least 1$"):
        check_keys(keys_of(Derived), {"size": 0})


def test_values_come_in_their_type_and_order() -> None:
    checked = check_keys(keys_of(Plain), GOOD)
    assert checked == GOOD
    assert list(checked) == list(GOOD)
    assert isinstance(checked["number"], float)
    assert isinstance(checked["gain"], float)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"number": "x"}, r"number=x: Value 'x' of type 'str' could not be converted to Float"),
        ({"words": ["three"]}, r"words=three: impossible.*; valid: one, two, each once"),
        ({"words": ["one", "one"]}, r"words=\['one', 'one'\]: impossible; valid: one, two, each"),
        ({"maybe": "y"}, r"maybe=y: impossible; valid: x"),
        ({"unit": 1}, r"unit=1: impossible; valid: at least 0, below 1"),
        ({"unit": float("nan")}, r"unit=nan: impossible"),
        ({"gain": -1}, r"gain=-1: impossible; valid: at least 0"),
        ({"scale": 0}, r"scale=0: impossible; valid: above 0"),
        ({"gian": 1}, r"no key 'gian' \(did you mean 'gain'\?\); keys there: bare, number"),
        ({"gain": "???"}, r"gain: no value; it is factor"),
        ({"bare": "???"}, r"bare: no value$"),
    ],
)
def test_bad_values_are_told(change: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=rf"^{told}"):
        check_keys(keys_of(Plain), GOOD | change)


def test_a_number_without_a_key_may_be_any() -> None:
    assert check_keys(keys_of(Plain), GOOD | {"number": float("inf")})["number"] == float("inf")


def test_a_key_that_is_not_there_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"^task\.number: no value$"):
        check_keys(keys_of(Plain), {"bare": 1}, "task")


def test_keywords_of_any_name_take_any_value() -> None:
    assert check_keys(keys_of(Anything), {"size": 2, "more": [1, {"a": None}]})["more"][1]
    with pytest.raises(UserError, match=r"^size=x: Value 'x'"):
        check_keys(keys_of(Anything), {"size": "x"})


def test_what_is_no_class_has_keys_too() -> None:
    def build(*, size: Annotated[int, Key("how large", at_least=1)]) -> None:
        pass

    assert keys_of(build).declared["size"].meaning == "how large (at least 1)"
    assert not keys_of(functools.partial(build, size=1)).declared["size"].required


def test_choices_can_be_those_of_a_registry() -> None:
    key = Key("a function of time", registry="time:__dict__")
    assert key.takes("sleep")
    assert not key.takes("slep")
    assert "sleep" in key.valid_values()
