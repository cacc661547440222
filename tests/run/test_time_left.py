"""The time left of a run, by a clock that goes as steps and measurements are made to take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from kpflow_cli.run.schedule import geometric
from kpflow_cli.run.time_left import TimeLeft

STEPS, STEP, MEASUREMENT = 1500, 0.02, 12.0
SCHEDULE = geometric(STEPS, 20)


class Made:
    """A run whose steps and measurements all take the same time."""

    def __init__(self, seconds: dict[str, float], schedule: Sequence[int] = SCHEDULE) -> None:
        self.seconds, self._schedule = seconds, schedule

    def go(self, first: int, recorded: int) -> Iterator[tuple[int, float]]:
        """Each step that it comes to with the seconds that are left from there."""
        at = sum(self.seconds.values())
        whole = at + (STEPS - first) * STEP
        whole += sum(step > recorded for step in self._schedule) * MEASUREMENT
        for step in range(first, STEPS + 1):
            yield step, whole - sum(self.seconds.values())
            if step in self._schedule and step > recorded:
                self.seconds["measuring"] += MEASUREMENT
            self.seconds["training"] += STEP


def _left(made: Made, first: int, recorded: int, schedule: Sequence[int] = SCHEDULE) -> TimeLeft:
    return TimeLeft(
        schedule,
        steps=STEPS,
        first_step=first,
        recorded_step=recorded,
        seconds=lambda: dict(made.seconds),
    )


def test_an_even_run_is_told_from_the_first_measurement_on() -> None:
    made = Made({"training": 0.0, "measuring": 0.0})
    left = _left(made, 0, -1)
    for step, really in made.go(0, -1):
        told = left.seconds(step)
        if step == 0:
            assert told is None
            continue
        assert told == pytest.approx(really, rel=0.02)
        if step == 1:
            # as what the mean rate of steps makes of it is not
            rate = (STEP + MEASUREMENT) / 1
            assert rate * (STEPS - step) > 50 * really


def test_a_run_that_continues_is_told_at_once() -> None:
    """By the means of the session before, then by its own."""
    first = 300
    done = sum(step <= first for step in SCHEDULE)
    made = Made({"training": first * STEP, "measuring": done * MEASUREMENT, "starting": 50.0})
    left = _left(made, first, first)
    for step, really in made.go(first, first):
        assert left.seconds(step) == pytest.approx(really, rel=0.02)


def test_a_run_that_continues_elsewhere_is_told_by_its_own_steps() -> None:
    first = 300
    done = sum(step <= first for step in SCHEDULE)
    made = Made({"training": first * STEP * 50, "measuring": done * MEASUREMENT * 50})
    left = _left(made, first, first)
    later = {step: (left.seconds(step), really) for step, really in made.go(first, first)}
    told, really = later[next(step for step in SCHEDULE if step > first) + 1]
    assert told == pytest.approx(really, rel=0.02)


def test_what_is_not_known_is_not_told() -> None:
    made = Made({"training": 0.0, "measuring": 0.0}, (700,))
    left = _left(made, 0, -1, (700,))
    told = {step: left.seconds(step) for step, _ in made.go(0, -1)}
    # a measurement is to come, and nobody knows how long that takes
    assert told[700] is None
    assert told[701] == pytest.approx((STEPS - 701) * STEP)
    assert told[STEPS] == 0


def test_without_measurements_steps_are_all_there_is() -> None:
    made = Made({"training": 0.0}, ())
    left = _left(made, 0, -1, ())
    for step, really in made.go(0, -1):
        assert step == 0 or left.seconds(step) == pytest.approx(really)


def test_what_took_how_long() -> None:
    made = Made({"training": 75.0, "measuring": 600.0, "starting": 5.0})
    assert _left(made, 0, -1).spent() == "training 75 s, measuring 10 min"
