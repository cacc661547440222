"""How long a run will still take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kpflow_cli.durations import in_words

Seconds = Mapping[str, float]


class TimeLeft:
    """Training and measuring counted apart, for their shares change along a run: it is measured
    often early and seldom late.

    What is left is the steps still to take, each as long as the mean step of this session, and the
    measurements still to make, each as long as its mean measurement. A step's time includes
    evaluations and saves between measurements, a measurement's the saving of what it found. Where
    this session has no step or no measurement yet, the mean of the sessions before stands in, and
    where they have none either nothing is known.

    Args:
        schedule: steps at which the run is measured, ascending; all up to ``recorded_step`` were.
        first_step: that this session starts from.
        seconds: spent until now on ``training`` and ``measuring``, sessions before included.
    """

    def __init__(
        self,
        schedule: Sequence[int],
        *,
        steps: int,
        first_step: int,
        recorded_step: int,
        seconds: Callable[[], Seconds],
    ) -> None:
        self._schedule, self._steps = schedule, steps
        self._first_step, self._recorded_step = first_step, recorded_step
        self._seconds, self._before = seconds, dict(seconds())

    def seconds(self, step: int) -> float | None:
        """Seconds left from the moment on that the run comes to a step, before it is measured
        there; None where that is not known yet.
        """
        now = self._seconds()
        new = [each for each in self._schedule if each > self._recorded_step]
        measured = sum(each < step for each in new)
        trained = self._mean(
            "training", now, step - self._first_step, before=max(self._first_step, 0)
        )
        each = self._mean("measuring", now, measured, before=len(self._schedule) - len(new))
        return _product(self._steps - step, trained, len(new) - measured, each)

    def spent(self) -> str:
        """Time spent on either, in words."""
        now = self._seconds()
        return ", ".join(
            f"{activity} {in_words(now[activity])}"
            for activity in ("training", "measuring")
            if activity in now
        )

    def _mean(self, activity: str, now: Seconds, done: int, *, before: int) -> float | None:
        """Seconds of each of so many as this session has done, else of those before it."""
        earlier = self._before.get(activity, 0.0)
        if done > 0:
            return (now.get(activity, 0.0) - earlier) / done
        return earlier / before if before > 0 and earlier > 0 else None


def _product(
    steps: int, step: float | None, measurements: int, measurement: float | None
) -> float | None:
    """Seconds of so many steps and measurements; of what there is none no mean is asked."""
    parts = [(steps, step), (measurements, measurement)]
    known = [count * mean for count, mean in parts if count and mean is not None]
    return sum(known) if len(known) == sum(count > 0 for count, _ in parts) else None
