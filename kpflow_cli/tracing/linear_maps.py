"""The functions of torch that are linear in a weight and a bias, u = L_v(W) + M(b), with their site
variable v held fixed.

Each entry of ``LINEAR_MAPS`` reads the arguments of one function, by position or by keyword,
whatever module the call comes from. It is told which tensors are parameters, for the functions that
take a weight in either place. A call in a form that it does not know, such as one with ``out=``,
raises TypeError.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kpflow_cli.errors import UserError

IsParameter = Callable[[Any], bool]


def _nothing() -> None:
    return None


def _as_is(output: Tensor) -> Tensor:
    return output


def _transposed(output: Tensor) -> Tensor:
    return output.mT


def _matrix(weight: Tensor) -> Tensor:
    return weight.flatten(1) if weight.ndim > 1 else weight.unsqueeze(0)


def _transposed_matrix(weight: Tensor) -> Tensor:
    return weight.T if weight.ndim > 1 else weight.unsqueeze(0)


def _with_unit_axis(output: Tensor) -> Tensor:
    return output.unsqueeze(-1)


def _expand(bias: Tensor, shape: torch.Size) -> Tensor:
    return bias.expand(shape)


@dataclass(frozen=True)
class LinearMap:
    """One call u = L(W) + M(b).

    Attributes:
        function: what it is called, such as ``linear``.
        weight: the tensor in the place of W, None where there is none.
        bias: the tensor in the place of b, None where there is none.
        weight_part: L, a function of W.
        bias_part: M, a function of b and of the shape of u.
        variables: gives v by row, ``(*rows, d)``, where L(W) is a product of one matrix W with each
            row; None otherwise.
        elementwise: gives v by row, ``(*rows, d)``, where L(W) is the elementwise product of W
            ``(d,)`` with each; None otherwise.
        of_variables: u of other ``variables``, where they are what the function is called with;
            None otherwise.
        bias_factor: what the bias is multiplied by.
        as_matrix: brings what is shaped like W to ``(a, d)``, where ``variables`` gives v.
        by_row: brings what is shaped like u to ``(*rows, a)``, row by row as v is.
    """

    function: str
    weight: Tensor | None
    bias: Tensor | None
    weight_part: Callable[[Tensor], Tensor]
    bias_part: Callable[[Tensor, torch.Size], Tensor] = _expand
    variables: Callable[[], Tensor | None] = _nothing
    elementwise: Callable[[], Tensor | None] = _nothing
    of_variables: Callable[[Tensor], Tensor] | None = None
    by_row: Callable[[Tensor], Tensor] = _as_is
    bias_factor: float = 1.0
    as_matrix: Callable[[Tensor], Tensor] = _matrix

    @property
    def is_by_row(self) -> bool:
        """Whether u has this shape as it is."""
        return self.by_row is _as_is


def _linear(
    _: IsParameter,
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
) -> LinearMap:
    return LinearMap(
        "linear",
        weight,
        bias,
        lambda w: functional.linear(input, w),
        variables=lambda: input,
        of_variables=lambda v: functional.linear(v, weight, bias),
        by_row=_as_is if weight.ndim > 1 else _with_unit_axis,
    )


def _product(second_name: str) -> Callable[..., LinearMap]:
    """Of a function that calls its factors ``input`` and ``second_name``."""

    def read(is_parameter: IsParameter, *args: Tensor, **kwargs: Tensor) -> LinearMap:
        return _matmul(is_parameter, *_in_order(("input", second_name), args, kwargs))

    return read


def _in_order(
    names: tuple[str, ...], args: tuple[Tensor, ...], kwargs: dict[str, Tensor]
) -> list[Tensor]:
    """Arguments given by position or by keyword. Raises TypeError for others, or too few."""
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    if len(args) > len(names) or set(given) != set(names):
        raise TypeError(f"takes {', '.join(names)}")
    return [given[name] for name in names]


def _matmul(is_parameter: IsParameter, first: Tensor, second: Tensor) -> LinearMap:
    """x W or W x."""
    if is_parameter(second):
        return LinearMap(
            "product from the right",
            second,
            None,
            lambda w: first @ w,
            variables=lambda: first if second.ndim <= 2 else None,
            of_variables=lambda v: v @ second,
            by_row=_as_is if second.ndim > 1 else _with_unit_axis,
            as_matrix=_transposed_matrix,
        )
    rows = second.mT if second.ndim > 1 else second
    return LinearMap(
        "product from the left",
        first,
        None,
        lambda w: w @ second,
        variables=lambda: rows if first.ndim <= 2 else None,
        by_row=_with_unit_axis if first.ndim == 1 else _transposed if second.ndim > 1 else _as_is,
    )


def _convolution(function: Callable[..., Tensor]) -> Callable[..., LinearMap]:
    def read(
        _: IsParameter,
        input: Tensor,  # noqa: A002
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> LinearMap:
        space = weight.ndim - 2

        def patches() -> Tensor | None:
            """What lies under the kernel at each position, by convolution with every unit kernel; a
            row is a trial and a position.
            """
            if groups != 1:
                return None
            size = math.prod(weight.shape[1:])
            kernels = torch.eye(size, dtype=input.dtype, device=input.device).reshape(
                size, *weight.shape[1:]
            )
            return function(input, kernels, None, stride, padding, dilation).movedim(-space - 1, -1)

        return LinearMap(
            function.__name__,
            weight,
            bias,
            lambda w: function(input, w, None, stride, padding, dilation, groups),
            lambda b, shape: b.reshape(-1, *(1,) * space).expand(shape),
            variables=patches,
            by_row=lambda u: u.movedim(-space - 1, -1),
        )

    return read


def _embedding(
    _: IsParameter,
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> LinearMap:
    """The rows of W that the indices choose: v is one-hot, and 0 at the padding index, whose row
    does not train.
    """
    if scale_grad_by_freq:
        raise UserError(
            "an embedding with scale_grad_by_freq has gradients that are not those of any loss; "
            "set it to False"
        )
    del sparse

    def one_hot() -> Tensor:
        rows = functional.one_hot(indices.long(), len(weight)).to(weight.dtype)
        if padding_idx >= 0:
            rows[..., padding_idx] = 0
        return rows

    return LinearMap(
        "embedding",
        weight,
        None,
        lambda w: one_hot() @ w,
        variables=one_hot,
        as_matrix=_transposed_matrix,
        of_variables=lambda v: v @ weight,
    )


def _layer_norm(
    _: IsParameter,
    input: Tensor,  # noqa: A002
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_cudnn: bool,
) -> LinearMap:
    def normalize() -> Tensor:
        return torch.layer_norm(input, normalized_shape, None, None, eps)

    return LinearMap(
        "layer_norm",
        weight,
        bias,
        lambda w: normalize() * w,
        elementwise=lambda: normalize() if len(normalized_shape) == 1 else None,
    )


def _add(
    is_parameter: IsParameter,
    input: Tensor,  # noqa: A002
    other: Tensor,
    *,
    alpha: float = 1,
) -> LinearMap:
    """A bias added by hand, on either side; ``alpha`` times what stands on the right."""
    if not is_parameter(other):
        return LinearMap("sum", None, input, lambda w: w)
    return LinearMap(
        "sum",
        None,
        other,
        lambda w: w,
        lambda b, shape: (b if alpha == 1 else alpha * b).expand(shape),
        bias_factor=alpha,
    )


PRODUCTS: dict[Callable[..., Any], Callable[..., LinearMap]] = {
    **dict.fromkeys(
        (torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__), _product("other")
    ),
    **dict.fromkeys((torch.mm, torch.Tensor.mm), _product("mat2")),
}
LINEAR_MAPS: dict[Callable[..., Any], Callable[..., LinearMap]] = {
    functional.linear: _linear,
    torch.embedding: _embedding,
    torch.layer_norm: _layer_norm,
    torch.conv1d: _convolution(torch.conv1d),
    torch.conv2d: _convolution(torch.conv2d),
    torch.conv3d: _convolution(torch.conv3d),
    **PRODUCTS,
    **dict.fromkeys(
        (torch.add, torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.__radd__), _add
    ),
}
