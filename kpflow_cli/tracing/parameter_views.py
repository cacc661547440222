"""Which tensors of a pass are trained parameters, or made of one alone by views and elementwise
functions, so that their derivative by it is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from kpflow_cli.tracing.elementwise import ELEMENTWISE, slopes_in
from kpflow_cli.tracing.linear_maps import LINEAR_MAPS, PRODUCTS
from kpflow_cli.tracing.row_order import function_name, tensors_in
from kpflow_cli.tracing.site_call import ParameterView

_VIEW_FUNCTIONS = [
    "t",
    "transpose",
    "permute",
    "reshape",
    "chunk",
    "split",
    "unbind",
    "unflatten",
    "flatten",
    "narrow",
    "select",
    "squeeze",
    "unsqueeze",
    "movedim",
]
VIEWS = {
    *(
        getattr(torch.Tensor, name)
        for name in (*_VIEW_FUNCTIONS, "__getitem__", "view", "expand", "contiguous")
    ),
    *(getattr(torch, name) for name in _VIEW_FUNCTIONS),
    *(getattr(torch.Tensor, name).__get__ for name in ("T", "mT", "H", "mH")),
}


class ParameterViews:
    """The tensors that are views of ``trained`` parameters, which are given by name.

    A tensor is looked up by what it is, not by its numbers.
    """

    def __init__(self, trained: Mapping[str, Tensor]) -> None:
        self._trained = trained
        # with the tensors themselves, so that no id is used again
        self._views = {
            id(parameter): (parameter, ParameterView(name)) for name, parameter in trained.items()
        }
        # of what the same functions made of the same parameter
        self._slopes: dict[tuple[Any, ...], list[Tensor]] = {}
        self._let_go: list[Tensor] = []

    def __contains__(self, value: Any) -> bool:
        return id(value) in self._views

    def get(self, value: Any) -> ParameterView | None:
        """What a tensor is a view of, None where it is none."""
        return self._views.get(id(value), (None, None))[1]

    def view(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of one of ``VIEWS``; of a parameter a view of it."""
        result = func(*args, **kwargs)
        by_keyword = not args
        subject = kwargs.get("input") if by_keyword else args[0]
        if id(subject) not in self._views or result is subject:
            return result
        base = self._views[id(subject)][1]
        others = {
            key: value for key, value in kwargs.items() if not (by_keyword and key == "input")
        }
        several = isinstance(result, tuple | list)
        for index, tensor in enumerate(result if several else [result]):

            def step(parameter: Tensor, index: int = index) -> Tensor:
                again = func(parameter, *args[1:], **others)
                return again[index] if several else again

            called = f"{function_name(func)}{args[1:] or ''}{others or ''}"
            path = f"{base.path}.{called}{f'[{index}]' if several else ''}"
            slope = None if base.slope is None else step(base.slope)
            self._views[id(tensor)] = (
                tensor,
                replace(base, steps=(*base.steps, step), path=path, slope=slope),
            )
        return result

    def make(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
        """What one of ``ELEMENTWISE``, or a product with a constant diagonal matrix, makes of a
        parameter and constants, as a view of it; None where it makes something else.
        """
        if func not in ELEMENTWISE and func not in PRODUCTS:
            return None
        given = {id(tensor): tensor for tensor in tensors_in((args, kwargs))}.values()
        variables = [tensor for tensor in given if tensor in self]
        constants = [tensor for tensor in given if tensor not in self]
        if "out" in kwargs or not self._is_elementwise(func, variables, constants):
            return None
        result = func(*args, **kwargs)
        if any(result is tensor for tensor in given) or not isinstance(result, Tensor):
            return result
        if result.shape != variables[0].shape:
            return None
        # in torch.no_grad it is a constant
        if not result.requires_grad:
            return result
        slope = torch.zeros_like(result, requires_grad=False)
        for own, each in zip(slopes_in(func, args, kwargs, variables), variables, strict=True):
            before = self._views[id(each)][1].slope
            slope += own if before is None else own * before
        # with no finite derivative it is left to automatic differentiation, which tells
        if not slope.isfinite().all():
            return None
        view = self._with_slope(self._views[id(variables[0])][1], slope, func)
        self._views[id(result)] = result, view
        return result

    def _is_elementwise(self, func: Any, variables: list[Tensor], constants: list[Tensor]) -> bool:
        """Whether the arguments are the same numbers of one parameter, perhaps several times, and
        constants.
        """
        if not variables or any(
            each.requires_grad or each.numel() > variables[0].numel() for each in constants
        ):
            return False
        views = [self._views[id(each)][1] for each in variables]
        if func in PRODUCTS and not (views[0].functions and _is_diagonal(constants)):
            return False
        # what a bias is added to may be constant too
        if func in LINEAR_MAPS and any(each.ndim for each in constants) and not views[0].functions:
            return False
        parameter = self._trained[views[0].name]
        return len(views) == 1 or all(
            view.name == views[0].name
            and variable.shape == variables[0].shape
            and torch.equal(view.numbers(parameter), views[0].numbers(parameter))
            for view, variable in zip(views, variables, strict=True)
        )

    def _with_slope(self, base: ParameterView, slope: Tensor, func: Any) -> ParameterView:
        functions = (*base.functions, function_name(func).strip("_"))
        if slope.dtype == self._trained[base.name].dtype and bool((slope == 1).all()):
            return replace(base, slope=None, functions=functions)
        # a loop over time makes the same weight again and again: one site, one slope
        known = self._slopes.setdefault((base.name, base.path, functions, slope.dtype), [])
        variant = next(
            (index for index, each in enumerate(known) if torch.equal(each, slope)), len(known)
        )
        known[variant:] = known[variant:] or [slope]
        return replace(base, slope=known[variant], functions=functions, variant=variant)

    def let_go(self, made: Tensor) -> bool:
        """Forget what was made of a parameter, if it is not the parameter's own memory; whether it
        is not.
        """
        parameter = self._trained[self._views[id(made)][1].name]
        apart = made.untyped_storage().data_ptr() != parameter.untyped_storage().data_ptr()
        if apart:
            self._let_go.append(self._views.pop(id(made))[0])
        return apart


def _is_diagonal(constants: list[Tensor]) -> bool:
    """Whether this is one matrix that is 0 off its diagonal."""
    matrix = constants[0] if len(constants) == 1 else None
    return (
        matrix is not None
        and matrix.ndim == 2
        and torch.equal(matrix.triu(1) + matrix.tril(-1), torch.zeros_like(matrix))
    )
