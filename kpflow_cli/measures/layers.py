"""How much of NTK_S comes from the parameters of each layer."""

from __future__ import annotations

import torch

from kpflow_cli.estimators.estimate import Estimate
from kpflow_cli.estimators.probes import probe_block_size, random_frame, range_sketch
from kpflow_cli.estimators.statistics import PROBES, SKETCH
from kpflow_cli.estimators.totals import vector_total
from kpflow_cli.ntk import GlobalNTK


def layer_shares(
    ntk: GlobalNTK, num_probes: int = PROBES, *, generator: torch.Generator | None = None
) -> dict[str, Estimate]:
    """tr NTK_l / tr NTK_S of each layer l, NTK_S being the sum of what each layer contributes.

    Every layer is estimated from the same probes, so that the shares add up to 1.

    Args:
        ntk: NTK_S of any network.
        num_probes: random vectors; as many as NTK_S has dimensions make the shares exact.
        generator: source of the draws, None for a fresh one of seed 0.

    Returns:
        The share of each layer by its name, within [0, 1]: of a recurrence each weight site, of
        any other network each module that holds parameters.

    Example:
        >>> import torch, kpflow_cli as kp
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
        >>> ntk = kp.global_ntk(kp.linearize(network, torch.randn(5, 6, 3), state="1"))
        >>> shares = kp.layer_shares(ntk)
        >>> list(shares), round(sum(share.value for share in shares.values()), 6)
        (['0', '1'], 1.0)
    """
    generator = generator or torch.Generator().manual_seed(0)
    sketch = range_sketch(ntk, SKETCH, generator=generator)
    frame = random_frame(ntk, num_probes, generator=generator, sketch=sketch)
    blocks = [ntk.forms_by_layer(part) for part in frame.vectors.split(probe_block_size(ntk))]
    forms = {layer: torch.cat([block[layer].cpu() for block in blocks]) for layer in blocks[0]}
    whole = vector_total(torch.stack(list(forms.values())).sum(0), frame.sampling)
    return {
        layer: (vector_total(form, frame.sampling) / whole).estimate(upper=1.0)
        for layer, form in forms.items()
    }
