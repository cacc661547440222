"""Elementwise functions of torch, by which a weight is made of a parameter: W * mask, |W|, relu(W).

The derivative of one is diagonal: the made weight moves by f'(W) dW, so that it is a view of the
parameter times a slope, and acts in a linear map as the parameter itself would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# of two tensors one may be a constant
_NAMES = """
abs absolute neg negative positive square sqrt rsqrt reciprocal exp exp2 expm1 log log1p log2 log10
sin cos tan sinh cosh tanh arcsin arccos arctan asin acos atan asinh acosh atanh erf erfc sigmoid
expit logit sign sgn round floor ceil trunc relu relu6 elu selu celu gelu silu mish softplus
softsign logsigmoid log_sigmoid leaky_relu hardtanh hardsigmoid hardswish hardshrink softshrink
tanhshrink threshold clamp clamp_min clamp_max clip nan_to_num pow float_power add mul multiply
sub subtract rsub div divide true_divide maximum minimum lerp where masked_fill copysign tril triu
clone to type type_as float double
__abs__ __neg__ __pos__ __pow__ __rpow__ __add__ __radd__ __mul__ __rmul__ __sub__ __rsub__ __div__
__rdiv__ __truediv__ __rtruediv__
"""
_NAMESPACES = (torch, torch.Tensor, torch.special, functional, torch._C._nn)
ELEMENTWISE: frozenset[Callable[..., Any]] = frozenset(
    getattr(namespace, name)
    for namespace in _NAMESPACES
    for name in _NAMES.split()
    if hasattr(namespace, name)
)


def slopes_in(
    func: Callable[..., Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    variables: Sequence[Tensor],
) -> list[Tensor]:
    """f' of an elementwise function in each of its ``variables``, of their shapes; all else in
    ``args`` and ``kwargs`` is constant.
    """
    leaves = {id(each): each.detach().requires_grad_() for each in variables}

    def constant(value: Any) -> Any:
        return leaves.get(id(value), value.detach()) if isinstance(value, Tensor) else value

    with torch.enable_grad():
        result = func(
            *(constant(value) for value in args),
            **{key: constant(value) for key, value in kwargs.items()},
        )
        # of the sum, as no number of the result depends on more than one
        gradients = torch.autograd.grad(
            result.sum(), [leaves[id(each)] for each in variables], materialize_grads=True
        )
    return list(gradients)
