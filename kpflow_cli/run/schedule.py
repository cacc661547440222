"""At which steps of training a network is measured."""

from __future__ import annotations


def geometric(steps: int, count: int) -> tuple[int, ...]:
    """``count`` different steps from 0 to ``steps``, ascending, dense early and sparse late: spaced
    geometrically, but at least 1 apart.

    All ``steps + 1`` of them where there are no more.

    Example:
        >>> import kpflow_cli as kp
        >>> kp.geometric(1500, 6)
        (0, 3, 18, 80, 347, 1500)
    """
    if count > steps:
        return tuple(range(steps + 1))
    schedule: list[int] = []
    for index in range(count):
        spaced = round((steps + 1) ** (index / (count - 1))) - 1
        schedule.append(max(spaced, index))
    return tuple(schedule)
