"""A torch function mode that sees every call of a weight site while a module runs, and can change
the site's output.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from kpflow_cli.errors import UserError
from kpflow_cli.tracing.elementwise import ELEMENTWISE
from kpflow_cli.tracing.linear_maps import LINEAR_MAPS
from kpflow_cli.tracing.parameter_views import VIEWS, ParameterViews
from kpflow_cli.tracing.row_order import function_name, may_reorder, tensors_in
from kpflow_cli.tracing.site_call import ParameterView, SiteCall, Visit
from kpflow_cli.tracing.unrolled import TIME_STEP, UNROLLED

# what stops the derivative: what follows does not depend on the parameter
_DETACHED = {torch.detach, torch.Tensor.detach, getattr(torch.Tensor, "data").__get__}  # noqa: B009
_NOT_IN_PLACE = {"__invert__", "__index__", "__int__"}
_SAME_NUMBERS = {"clone", "to", "type", "type_as", "float", "double"}
# by which a Python function of torch's asks whether a mode is in force
_DISPATCHERS = {"has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"}


class SiteMode(TorchFunctionMode):
    """Sees every torch function of a pass; hands the calls of weight sites to ``visit``, which
    returns the output to go on with.

    ``trained`` are the trained parameters by name. Where one of them is used outside of a linear
    map, ``outside`` notes the functions, and its entry in ``shifts``, if there is one, is added to
    it. ``reorders`` says whether a function was called that may put the rows of a tensor in another
    order. Raises UserError where a parameter is changed in place or a number format cannot be
    measured.
    """

    def __init__(
        self, trained: Mapping[str, Tensor], shifts: Mapping[str, Tensor], visit: Visit
    ) -> None:
        super().__init__()
        self.outside: dict[str, str] = {}
        self.reorders = False
        self._shifts, self._visit = shifts, visit
        self._views = ParameterViews(trained)
        # with the tensors themselves, so that no id is used again
        self._detached: dict[int, tuple[Tensor, str]] = {}

    def __torch_function__(
        self,
        func: Any,
        _types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in UNROLLED:
            # keeps the order of time, however it is written
            reorders = self.reorders
            with self:
                result = UNROLLED[func](*args, **kwargs)
            self.reorders = reorders
            return result
        if _hands_over(func):
            with self:
                return _body(func)(*args, **kwargs)
        made = self._views.make(func, args, kwargs)
        if made is not None:
            return made
        self.reorders = self.reorders or may_reorder(func, args, kwargs)
        if _works_in_place(func) and args:
            self._change_in_place(func, args[0])
        if not any(
            self._is_parameter(tensor) or id(tensor) in self._detached
            for tensor in tensors_in((args, kwargs))
        ):
            return func(*args, **kwargs)
        if func in _DETACHED:
            return self._detach(func, args)
        if func in VIEWS:
            return self._views.view(func, args, kwargs)
        if func in LINEAR_MAPS:
            args, kwargs = self._free_inputs(func, args, kwargs)
            call = self._site_call(func, args, kwargs)
            if call is not None:
                output = func(*args, **kwargs)
                call = replace(call, shape=output.shape, dtype=_measurable(output.dtype, call.name))
                return self._visit(
                    call, LINEAR_MAPS[func](self._is_parameter, *args, **kwargs), output
                )
        return self._use_outside(func, args, kwargs)

    def _change_in_place(self, func: Any, changed: Any) -> None:
        """Refuse the change of a parameter; what was made of one is no view of it any more, and
        counts as used otherwise.
        """
        view = self._views.get(changed)
        detached = self._detached.get(id(changed), (None, None))[1]
        if view is not None and self._views.let_go(changed):
            self._note_outside(view, func)
            if view.name in self._shifts:
                with torch.enable_grad():
                    changed.add_(view.of(self._shifts))
        elif view is not None or detached is not None:
            raise UserError(
                f"forward changes the parameter {view.name if view else detached} in place "
                f"({function_name(func)}), so that each call is one of another network; change it "
                "outside of forward (an nn.Embedding: normalize its rows once, with max_norm=None)"
            )

    def _detach(self, func: Any, args: tuple[Any, ...]) -> Any:
        result = func(*args)
        view = self._views.get(args[0])
        name = self._detached[id(args[0])][1] if view is None else view.name
        self._detached[id(result)] = (result, name)
        return result

    def _free_inputs(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a linear function with parameters that stand elsewhere than in the place
        of W and b, such as an initial state, as used otherwise.
        """
        try:
            linear = LINEAR_MAPS[func](self._is_parameter, *args, **kwargs)
        except TypeError:
            return args, kwargs
        kept = {id(linear.weight), id(linear.bias)}

        def freed(value: Any) -> Any:
            view = self._views.get(value)
            if view is None or id(value) in kept:
                return value
            self._note_outside(view, func)
            if view.name in self._shifts:
                return value + view.of(self._shifts)
            # another tensor at least, which is no parameter
            return value.view_as(value)

        return tuple(freed(arg) for arg in args), {key: freed(arg) for key, arg in kwargs.items()}

    def _note_outside(self, view: ParameterView, func: Any) -> None:
        """The first function that stands between a parameter and a linear map."""
        made = [each for each in view.functions if each not in _SAME_NUMBERS]
        acting = made[:1] if func in ELEMENTWISE and made else [function_name(func)]
        self.outside.setdefault(view.name, acting[0])

    def _site_call(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> SiteCall | None:
        """The site of a linear function, None where parameters stand elsewhere than in the place of
        W and b, or the form is another.
        """
        fixed = [self._fixed(arg) for arg in args]
        fixed_kwargs = {key: self._fixed(arg) for key, arg in kwargs.items()}
        try:
            linear = LINEAR_MAPS[func](self._is_parameter, *fixed, **fixed_kwargs)
        except TypeError:
            return None
        in_place = [tensor for tensor in (linear.weight, linear.bias) if self._is_parameter(tensor)]
        # as a list: a parameter that stands in two places is not one site's
        if len(
            [tensor for tensor in tensors_in((args, kwargs)) if self._is_parameter(tensor)]
        ) > len(in_place):
            return None
        if not in_place:
            return None
        weight, bias = self._views.get(linear.weight), self._views.get(linear.bias)
        return SiteCall(
            linear, weight, bias, torch.Size(), torch.get_default_dtype(), TIME_STEP.get()
        )

    def _fixed(self, value: Any) -> Any:
        return (
            value.detach() if isinstance(value, Tensor) and not self._is_parameter(value) else value
        )

    def _is_parameter(self, value: Any) -> bool:
        return value in self._views

    def _use_outside(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        used: list[ParameterView] = []

        def shifted(value: Any) -> Any:
            view = self._views.get(value)
            if view is not None:
                used.append(view)
                return value + view.of(self._shifts) if view.name in self._shifts else value
            if isinstance(value, tuple | list):
                return type(value)(shifted(each) for each in value)
            return value

        result = func(*shifted(args), **{key: shifted(value) for key, value in kwargs.items()})
        # a parameter's shape, say, is no use of its values
        if any(tensor.requires_grad for tensor in tensors_in(result)):
            for view in used:
                self._note_outside(view, func)
        return result


def _works_in_place(func: Any) -> bool:
    name = function_name(func)
    return (
        name == "__setitem__"
        or (name.endswith("_") and not name.endswith("__"))
        or (name.startswith("__i") and name not in _NOT_IN_PLACE)
    )


def _measurable(dtype: torch.dtype, site: str) -> torch.dtype:
    """Raises UserError for a number format other than single and double precision."""
    if dtype not in (torch.float32, torch.float64):
        raise UserError(
            f"site {site} is of {str(dtype).removeprefix('torch.')}: NTK_S is measured in float32 "
            "and float64; convert the network, without torch.autocast"
        )
    return dtype


def _hands_over(func: Any) -> bool:
    """Whether it is one of the Python functions of torch.nn.functional that a mode in force gets
    instead of what they call.
    """
    of_torch = isinstance(func, types.FunctionType) and func.__module__ == functional.__name__
    return of_torch and not _DISPATCHERS.isdisjoint(func.__code__.co_names)


@cache
def _body(function: types.FunctionType) -> Callable[..., Any]:
    """A Python function of torch's that does not hand itself over to the mode in force, so that the
    functions it calls reach the mode.
    """

    def never(*_: Any) -> bool:
        return False

    undispatched = {**function.__globals__, **dict.fromkeys(_DISPATCHERS, never)}
    body = types.FunctionType(
        function.__code__,
        undispatched,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    body.__kwdefaults__ = function.__kwdefaults__
    return body
