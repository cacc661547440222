"""A torch function mode that sees every call of a weight site while a module runs, and can change the site's output."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from kpflow_cli.models.linear_maps import LINEAR_MAPS, LinearMap
from kpflow_cli.models.unrolled import TIME_STEP, UNROLLED

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
_VIEWS = {
    *(getattr(torch.Tensor, name) for name in (*_VIEW_FUNCTIONS, "__getitem__", "view", "expand", "contiguous")),
    *(getattr(torch, name) for name in _VIEW_FUNCTIONS),
    *(getattr(torch.Tensor, name).__get__ for name in ("T", "mT")),
}

# by which a Python function of torch's asks whether a mode is in force
_DISPATCHERS = {"has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"}


@dataclass(frozen=True)
class ParameterView:
    """A trained parameter as it stands at a site: itself, or what views made of it."""

    name: str
    steps: tuple[Callable[[Tensor], Tensor], ...] = ()
    path: str = ""

    def of(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The same view of other values of the parameters."""
        tensor = parameters[self.name]
        for step in self.steps:
            tensor = step(tensor)
        return tensor


@dataclass(frozen=True)
class SiteCall:
    """One evaluation of a site.

    Attributes:
        map: the linear map, which holds the site variable as it was.
        weight: the trained parameter in the place of W, None if there is none or it does not train.
        bias: likewise for b.
        shape: of the output u.
        time_step: of a recurrent layer's own products, None for others.
        arrange: brings site variables, row by row, from the order of rows within torch's attention to that of its inputs.
    """

    map: LinearMap
    weight: ParameterView | None
    bias: ParameterView | None
    shape: torch.Size
    time_step: int | None = None
    arrange: Callable[[Tensor], Tensor] | None = None

    @property
    def site(self) -> str:
        """What all calls of one site have in common: a function, and the parameters in the places of W and b."""
        return f"{self.map.function} of " + ", ".join(view.name + view.path for view in (self.weight, self.bias) if view is not None)

    @property
    def name(self) -> str:
        """Of the site, for people: that of its layer, or of its parameter where it is no layer's ``weight``."""
        view = self.weight or self.bias
        return self.map.function if view is None else view.name.removesuffix(".weight") + view.path

    def rows(self, values: Tensor) -> Tensor:
        """Values by row within the call, such as site variables, ``(*rows, d)``, in the order of the rows of torch's attention's inputs."""
        return values if self.arrange is None else self.arrange(values)

    def output(self, parameters: Mapping[str, Tensor], *, biases: bool = True) -> Tensor:
        """u as a linear function of the parameters, ``shape``; without ``biases`` of the weight only."""
        parts = [] if self.weight is None else [self.map.weight_part(self.weight.of(parameters))]
        if self.bias is not None and biases:
            parts.append(self.map.bias_part(self.bias.of(parameters), self.shape))
        return sum(parts[1:], parts[0]) if parts else next(iter(parameters.values())).new_zeros(self.shape)


# a call, its map with the site variable as the graph has it, and its output
Visit = Callable[[SiteCall, LinearMap, Tensor], Tensor]


class SiteMode(TorchFunctionMode):
    """Sees every torch function of a pass; hands the calls of weight sites to ``visit``, which returns the output to go on with.

    ``trained`` are the trained parameters by name. Where one of them is used outside of a linear map, ``outside`` notes the function, and
    its entry in ``shifts``, if there is one, is added to it.
    """

    def __init__(self, trained: Mapping[str, Tensor], shifts: Mapping[str, Tensor], visit: Visit) -> None:
        super().__init__()
        self.outside: dict[str, str] = {}
        self._shifts, self._visit = shifts, visit
        # with the tensors themselves, so that no id is used again
        self._views = {id(parameter): (parameter, ParameterView(name)) for name, parameter in trained.items()}
        self._batch_first = True
        self._arrange: Callable[[Tensor], Tensor] | None = None

    @contextmanager
    def watching(self, module: nn.Module) -> Iterator[None]:
        """In force, and aware of the order of axes of each attention layer."""

        def note(attention: nn.Module, *_: Any) -> None:
            self._batch_first = bool(attention.batch_first)

        hooks = [each.register_forward_pre_hook(note) for each in module.modules() if isinstance(each, nn.MultiheadAttention)]
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def __torch_function__(self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func in UNROLLED:
            with self:
                return UNROLLED[func](*args, **kwargs)
        if _hands_over(func):
            return self._enter(func, args, kwargs)
        if not any(self._is_parameter(tensor) for tensor in _tensors((args, kwargs))):
            return func(*args, **kwargs)
        if func in _VIEWS:
            return self._view(func, args, kwargs)
        call = self._site_call(func, args, kwargs) if func in LINEAR_MAPS else None
        if call is not None:
            output = func(*args, **kwargs)
            return self._visit(replace(call, shape=output.shape), LINEAR_MAPS[func](self._is_parameter, *args, **kwargs), output)
        return self._use_outside(func, args, kwargs)

    def _enter(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a Python function of torch.nn.functional so that what it calls is seen too."""
        if func is not functional.multi_head_attention_forward:
            with self:
                return _body(func)(*args, **kwargs)
        # its inputs are (time, trial, unit), its last product has both in one axis
        rows, swap = args[0].shape[:2], self._batch_first
        self._arrange = lambda variables: _arranged(variables, rows, swap)
        try:
            with self:
                return _body(func)(*args, **kwargs)
        finally:
            self._arrange = None

    def _view(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        if id(args[0]) not in self._views:
            return result
        base = self._views[id(args[0])][1]
        several = isinstance(result, tuple | list)
        for index, tensor in enumerate(result if several else [result]):

            def step(parameter: Tensor, index: int = index) -> Tensor:
                again = func(parameter, *args[1:], **kwargs)
                return again[index] if several else again

            # of an attribute such as T what is called is the getter
            name = getattr(func.__self__ if getattr(func, "__name__", "") == "__get__" else func, "__name__", "view")
            path = f"{base.path}.{name}{args[1:] or ''}{f'[{index}]' if several else ''}"
            self._views[id(tensor)] = tensor, ParameterView(base.name, (*base.steps, step), path)
        return result

    def _site_call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> SiteCall | None:
        """The site of a linear function, None where parameters stand elsewhere than in the place of W and b."""
        fixed = [self._fixed(arg) for arg in args]
        fixed_kwargs = {key: self._fixed(arg) for key, arg in kwargs.items()}
        linear = LINEAR_MAPS[func](self._is_parameter, *fixed, **fixed_kwargs)
        weight, bias = (None if tensor is None else self._views.get(id(tensor)) for tensor in (linear.weight, linear.bias))
        in_place = {id(tensor) for tensor in (linear.weight, linear.bias) if tensor is not None}
        if any(self._is_parameter(tensor) and id(tensor) not in in_place for tensor in _tensors((args, kwargs))):
            return None
        return SiteCall(linear, weight and weight[1], bias and bias[1], torch.Size(), time_step=TIME_STEP.get(), arrange=self._arrange)

    def _fixed(self, value: Any) -> Any:
        return value.detach() if isinstance(value, Tensor) and not self._is_parameter(value) else value

    def _is_parameter(self, value: Any) -> bool:
        return id(value) in self._views

    def _use_outside(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def shifted(value: Any) -> Any:
            if isinstance(value, Tensor) and id(value) in self._views:
                view = self._views[id(value)][1]
                self.outside.setdefault(view.name, getattr(func, "__name__", str(func)))
                return value + view.of(self._shifts) if view.name in self._shifts else value
            if isinstance(value, tuple | list):
                return type(value)(shifted(each) for each in value)
            return value

        return func(*shifted(args), **{key: shifted(value) for key, value in kwargs.items()})


def _arranged(variables: Tensor, rows: torch.Size, swap: bool) -> Tensor:
    if variables.shape[:-1] == (rows.numel(),):
        variables = variables.unflatten(0, rows)
    return variables.transpose(0, 1) if swap and variables.shape[:2] == rows else variables


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor among arguments, in tuples, lists and dicts too."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _hands_over(func: Any) -> bool:
    """Whether it is one of the Python functions of torch.nn.functional that a mode in force gets instead of what they call."""
    of_torch = isinstance(func, types.FunctionType) and func.__module__ == functional.__name__
    return of_torch and not _DISPATCHERS.isdisjoint(func.__code__.co_names)


@cache
def _body(function: types.FunctionType) -> Callable[..., Any]:
    """A Python function of torch's that does not hand itself over to the mode in force, so that the functions it calls reach the mode."""

    def never(*_: Any) -> bool:
        return False

    undispatched = {**function.__globals__, **dict.fromkeys(_DISPATCHERS, never)}
    body = types.FunctionType(function.__code__, undispatched, function.__name__, function.__defaults__, function.__closure__)
    body.__kwdefaults__ = function.__kwdefaults__
    return body
