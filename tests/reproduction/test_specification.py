"""What configs/figure may say: a figure like another adds to it; mistakes are told in a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpflow_cli.errors import UserError
from kpflow_cli.reproduction import specification
from kpflow_cli.reproduction.specification import read_figure_specs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the YAML files of figures are read from; there is a figure 1."""
    monkeypatch.setattr(specification.resources, "files", lambda _: tmp_path)
    (tmp_path / "figure").mkdir()
    (tmp_path / "figure" / "fig1.yaml").write_text(
        "shows: one\noverrides: [model=gru]\nruns: {gru: [seed=1]}\n"
        "profiles: {quick: {minutes: 1, overrides: [model.units=9]}}\n"
    )
    return tmp_path / "figure"


def test_a_figure_like_another_says_only_what_differs(folder: Path) -> None:
    (folder / "fig10.yaml").write_text("shows: ten\nlike: fig2\n")
    (folder / "fig2.yaml").write_text(
        "shows: two\nlike: fig1\nruns: {more: [seed=2]}\nprofiles: {quick: {minutes: 5}}\n"
    )
    one, two, ten = read_figure_specs().values()
    assert (one.shows, two.shows, ten.shows) == ("one", "two", "ten")
    assert one.runs == {"gru": ["seed=1"]}
    assert two.runs == ten.runs == {"gru": ["seed=1"], "more": ["seed=2"]}
    assert two.overrides == one.overrides
    assert two.profiles["quick"].overrides == one.profiles["quick"].overrides
    assert (one.profiles["quick"].minutes, two.profiles["quick"].minutes) == (1, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shows: two\nlike: fig11", r"fig2.yaml: like=fig11: unknown \(did you mean 'fig1'\?\)"),
        ("shows: two\nrunz: {}", r"fig2.yaml: Key 'runz' not in 'FigureSpec'"),
        ("shows: two\nruns: [3]", r"fig2.yaml: .*"),
        ("like: fig1\nshows: [a]", r"fig2.yaml: .*"),
        ("runs: {}", r"fig2.yaml: .*shows"),
    ],
)
def test_mistakes_are_told_in_a_line(text: str, message: str, folder: Path) -> None:
    (folder / "fig2.yaml").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_figure_specs()
    assert "\n" not in str(caught.value)
