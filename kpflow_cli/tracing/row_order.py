"""Which functions of torch leave the rows of a tensor in their order: an allow-list, for what is
not known may not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

# by name: elementwise functions, sums and products over other axes, axes moved or split, tensors
# made, attributes
_NAMES = """
linear matmul mm bmm baddbmm addmm __matmul__ __rmatmul__ conv1d conv2d conv3d embedding layer_norm
einsum rms_norm group_norm batch_norm softmax log_softmax scaled_dot_product_attention
_scaled_dot_product_attention_math dropout relu gelu silu elu leaky_relu softplus tanh sigmoid
hardtanh sin cos exp expm1 log log1p sqrt rsqrt square pow abs sign neg reciprocal clamp clamp_min
clamp_max maximum minimum add sub mul div true_divide rsub remainder floor round frac fmod lerp
where masked_fill isfinite isnan __add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__
__rtruediv__ __div__ __rdiv__ __pow__ __rpow__ __neg__ __mod__ __and__ __or__ __eq__ __ne__ __lt__
__le__ __gt__ __ge__ eq ne lt le gt ge add_ sub_ mul_ div_ relu_ tanh_ sigmoid_ clamp_ masked_fill_
zero_ fill_ mean sum prod var std norm amax amin max min any all logsumexp cumsum t T mT transpose
permute movedim swapaxes reshape view view_as flatten unflatten squeeze unsqueeze expand expand_as
broadcast_to contiguous clone detach to type double float type_as chunk split unbind select narrow
requires_grad_ item zeros ones full empty arange eye zeros_like ones_like full_like empty_like
new_zeros new_ones new_full new_empty new_tensor triu tril one_hot shape ndim dtype device is_cuda
requires_grad size dim numel stride is_nested is_sparse is_floating_point is_complex layout
is_contiguous storage_offset grad_fn is_leaf grad data real imag is_quantized is_mkldnn is_cpu
__len__ __bool__ __hash__ __get__ __format__ __repr__ dropout_ _is_view is_inference
broadcast_tensors
"""
_KEEPS_ROWS = frozenset(_NAMES.split())
_JOINING = frozenset({"stack", "cat", "concat", "concatenate", "hstack", "vstack"})


def function_name(func: Any) -> str:
    """Of a function, for people; of an attribute such as T what is called is its getter."""
    return str(
        getattr(
            func.__self__ if getattr(func, "__name__", "") == "__get__" else func, "__name__", func
        )
    )


def may_reorder(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether it may put rows in another order, as far as is known; features side by side, ``(...,
    rows, d)``, keep theirs.
    """
    name = function_name(func)
    if name == "__getitem__":
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        return any(isinstance(each, Tensor | list) for each in index)
    if name in _JOINING:
        tensors = list(tensors_in((args[:1], kwargs)))
        dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
        return dim != -1 or any(tensor.ndim < 3 for tensor in tensors)
    return name not in _KEEPS_ROWS


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from tensors_in(each)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
