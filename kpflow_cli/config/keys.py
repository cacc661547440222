"""What a constructor says of a parameter that is a configuration key:
``units: Annotated[int, Key("hidden units n", at_least=1)]``.
"""

from __future__ import annotations

import math
import operator
import pkgutil
from dataclasses import dataclass
from typing import Any

_LIMITS = {
    "at_least": operator.ge,
    "above": operator.gt,
    "at_most": operator.le,
    "below": operator.lt,
}


@dataclass(frozen=True)
class Key:
    """What a key means and which values of its type it takes; of a list, each of its elements.

    Attributes:
        choices: the only values.
        registry: ``module:name`` of a mapping whose keys are the choices.
        finder: ``module:name`` of a function that raises UserError for a name with a dot in it
            that can not stand beside the choices, one of the user's own.
        at_least, above, at_most, below: limits of a number, which has to be finite.

    Example:
        >>> from typing import Annotated
        >>> import kpflow_cli as kp
        >>> units = Annotated[int, kp.Key("hidden units", at_least=1)]
        >>> key = units.__metadata__[0]
        >>> key.valid_values(), key.takes(7), key.takes(0)
        ('at least 1', True, False)
    """

    meaning: str
    choices: tuple[Any, ...] = ()
    registry: str = ""
    finder: str = ""
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def allowed(self) -> tuple[Any, ...]:
        """The choices, empty where there are none to choose from."""
        return tuple(pkgutil.resolve_name(self.registry)) if self.registry else self.choices

    def valid_values(self) -> str:
        """The valid values in words; empty if any of its type will do."""
        limits = [
            f"{word.replace('_', ' ')} {limit if isinstance(limit, int) else f'{limit:g}'}"
            for word, limit in self._limits()
        ]
        own = ["package.module.function"] if self.finder else []
        return ", ".join([*map(str, self.allowed()), *own] or limits)

    def takes(self, value: Any) -> bool:
        """Whether a value of the key's type is valid. Raises UserError for one of the user's own
        that cannot be had.
        """
        if value is None:
            return True
        if self.finder and "." in value:
            pkgutil.resolve_name(self.finder)(value)
            return True
        if isinstance(value, int | float):
            inside = all(_LIMITS[word](value, limit) for word, limit in self._limits())
            if not (math.isfinite(value) and inside):
                return False
        return not self.allowed() or value in self.allowed()

    def _limits(self) -> list[tuple[str, float]]:
        return [(word, getattr(self, word)) for word in _LIMITS if getattr(self, word) is not None]
