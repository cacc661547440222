"""A run in words: each sentence from tables of known content."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_runs import small_config

from kpflow_cli.errors import FailedRunError
from kpflow_cli.run.layout import SUMMARY
from kpflow_cli.run.manifest import checksum, read_manifest
from kpflow_cli.run.reading import is_complete, read_status, read_tables
from kpflow_cli.run.runner import run
from kpflow_cli.run.summary import lay_out, summarize

SGD = {"status": "complete", "config": {"training": {"optimizer": "sgd", "loss": "mse"}}}


def _training(losses: dict[int, float], **columns: Sequence[float]) -> pd.DataFrame:
    return pd.DataFrame({"step": list(losses), "evaluation_loss": list(losses.values()), **columns})


def _modes(*fractions: Sequence[float], steps: Sequence[int] = (0, 100)) -> pd.DataFrame:
    """Of each mode its learned fraction at each step."""
    columns = {f"learned_fraction_{mode}": each for mode, each in enumerate(fractions, start=1)}
    return _training(dict.fromkeys(steps, 1.0), **columns)


def _measured(quantity: str, *rows: tuple[Any, ...], reduction: str = "full") -> pd.DataFrame:
    """Rows ``step, value, stderr, probes`` of NTK_S."""
    columns = ["step", "value", "stderr", "probes"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(operator="ntk", quantity=quantity, reduction=reduction)


def _quotients(steps: dict[int, Sequence[float]], error: float = 0.0) -> pd.DataFrame:
    """Of each step the Rayleigh quotient at each mode."""
    parts = [
        _measured(f"rayleigh_quotient_{mode}", (step, value, error, 0))
        for step, values in steps.items()
        for mode, value in enumerate(values, start=1)
    ]
    return pd.concat(parts, ignore_index=True)


def _say(status: dict[str, Any] = SGD, /, **tables: pd.DataFrame) -> str:
    return " ".join(summarize(tables, status))


def test_of_nothing_nothing_is_said() -> None:
    assert summarize({}, {}) == []
    assert summarize({"training": pd.DataFrame(), "measurements": pd.DataFrame()}, SGD) == []


def test_loss_and_accuracy_from_first_to_last_step() -> None:
    training = _training({0: 0.36, 1000: 0.2, 2000: 0.09}, accuracy=[0.0, 0.1, 0.25])
    assert _say(training=training) == (
        "Mean squared error on the evaluation trials fell from 0.36 at step 0 to 0.09 at step "
        "2000, by 75 %; accuracy rose from 0 at step 0 to 0.25 at step 2000."
    )
    assert "rose from 0.09 at step 0 to 0.36 at step 7." in _say(
        training=_training({0: 0.09, 7: 0.36})
    )
    assert "was 0.5 at step 0 and is 0.5 at step 7" in _say(training=_training({0: 0.5, 7: 0.5}))
    assert "by 99.99 %" in _say(training=_training({0: 1.0, 7: 0.00001}))


def test_one_evaluated_step_is_no_change() -> None:
    assert _say(training=_training({500: 0.36})) == (
        "Mean squared error on the evaluation trials is 0.36 at step 500."
    )


def test_a_loss_that_was_lower_before() -> None:
    risen = _training({0: 1.0, 50: 0.2, 100: 0.4})
    assert "It was lowest at step 50: 0.2." in _say(training=risen)
    # noise around the end of a fall
    assert "lowest" not in _say(training=_training({0: 1.0, 50: 0.2, 100: 0.21}))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"training": {"loss": "cross_entropy", "optimizer": "adam"}}, "Cross-entropy on"),
        ({"loss": "cross_entropy", "targets": "y.npy"}, "Cross-entropy on"),
        ({"recorded": {"loss": "cross_entropy"}}, "Cross-entropy on"),
        ({"training": {"steps": 3}}, "Mean squared error on"),
    ],
)
def test_the_loss_is_called_by_its_name(config: dict[str, Any], words: str) -> None:
    assert words in _say({"config": config}, training=_training({0: 0.36}))


def test_loss_of_a_loop_without_targets() -> None:
    training = pd.DataFrame({"step": [0, 4], "loss": [2.0, 1.0]})
    told = "Mean squared error on the training batch fell from 2 at step 0 to 1 at step 4, by 50 %."
    assert _say(training=training) == told
    assert _say(training=training.assign(loss=math.nan)) == ""


def test_what_is_learned_of_each_mode() -> None:
    training = _modes([0.3, 0.98], [0.0, 0.85], [0.0, 0.4], [0.0, -0.5], [0.0, 1.4], [0.0, 0.05])
    assert (
        "Target modes 1 and 2 are learned (0.98 from 0.3, 0.85); target mode 3 is learned in part "
        "(0.4); target mode 4 is of the wrong sign (-0.5); target mode 5 is overshot (1.4); target "
        "mode 6 is not learned (0.05)."
    ) in _say(training=training)
    many = _modes(*([0.0, fraction] for fraction in (0.81, 0.9, 0.99, 1.0)))
    assert "4 of 4 target modes are learned (0.81 to 1)." in _say(training=many)


def test_fractions_of_a_single_step_are_no_learning() -> None:
    training = _modes([0.9], [-0.2], steps=[0])
    told = _say(training=training, measurements=_quotients({0: [1.0, 1e-9]}))
    assert "Of target modes 1 and 2 its outputs hold 0.9, -0.2." in told
    assert "learned" not in told
    assert "says why" not in told


STALLED = _modes([0.0, 0.98], [0.0, 1e-8], [0.0, 2e-8])


def test_why_modes_stalled() -> None:
    measured = _quotients({0: [4000.0, 8e-10, 1.01e-9], 100: [3000.0, 1e-10, 2e-10]}, error=1e-13)
    assert (
        "NTK_S says why: its overlap with modes 2 and 3 was at most 2.6e-13 of that with mode 1 at "
        "each measured step, so that gradient descent hardly moves the state there."
    ) in _say(training=STALLED, measurements=measured)


def test_an_overlap_that_grew_tells_of_the_beginning_alone() -> None:
    measured = _quotients({0: [4000.0, 8e-10, 1e-9], 100: [3000.0, 1e-10, 900.0]})
    told = _say(training=STALLED, measurements=measured)
    assert "at step 0, but 0.3 at step 100: that tells why they began slowly, not why" in told
    assert "says why" not in told


def test_an_overlap_like_that_of_what_is_learned_does_not_tell() -> None:
    measured = _quotients({0: [4000.0, 80.0, 10.0], 100: [3000.0, 0.0, 0.0]})
    told = _say(training=STALLED, measurements=measured)
    assert "was 0.02 of that with mode 1 at step 0: it does not tell why." in told
    assert "says why" not in told


def test_the_least_overlap_of_a_learned_mode_counts() -> None:
    training = _modes([0.0, 0.98], [0.0, 0.9], [0.0, 1e-8])
    measured = _quotients({0: [4000.0, 1e-9, 1e-10]})
    assert "it does not tell why" in _say(training=training, measurements=measured)


def test_an_error_across_the_threshold_is_undecided() -> None:
    told = _say(training=STALLED, measurements=_quotients({0: [4000.0, 30.0, 30.0]}, error=20.0))
    assert "small against that with mode 1 is undecided" in told
    # all that the quotients are known to is a bound beyond the threshold
    told = _say(training=STALLED, measurements=_quotients({0: [1.0, 0.0, 0.0]}, error=2.0))
    assert "is undecided" in told


def test_what_is_not_known_is_not_explained() -> None:
    for measured in (
        # the readout does not see every mode, or no error is known
        _quotients({0: [4000.0, 8e-10]}),
        _quotients({0: [4000.0, 8e-10, 1e-9]}, error=math.nan),
        pd.DataFrame(),
    ):
        told = _say(training=STALLED, measurements=measured)
        assert told.endswith("modes 2 and 3 are not learned (1e-08, 2e-08).")
        assert "why" not in told


def test_a_mode_on_its_way_is_what_others_are_held_against() -> None:
    training = _modes([0.0, 0.5], [0.0, 1e-8])
    measured = _quotients({0: [4000.0, 1e-9]})
    assert "NTK_S says why: its overlap with mode 2 was at most 2.5e-13 of that with mode 1" in (
        _say(training=training, measurements=measured)
    )


def test_where_no_mode_moves_there_is_nothing_to_compare_with() -> None:
    training = _modes([0.0, 0.01], [0.0, 1e-8])
    told = _say(training=training, measurements=_quotients({0: [4000.0, 1e-9]}))
    assert "With no mode learned there is none" in told
    assert "says why" not in told


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"training": {"optimizer": "adam"}}, "but adam follows another direction"),
        ({"weights": "ckpt_*.pt"}, "but what trained it is unknown"),
    ],
)
def test_what_is_not_gradient_descent_is_not_explained_by_it(
    config: dict[str, Any], words: str
) -> None:
    told = _say(
        {"config": config},
        training=STALLED,
        measurements=_quotients({0: [4000.0, 8e-10, 1e-9]}),
    )
    assert words in told
    assert "says why" not in told


def test_ranks_with_their_errors() -> None:
    measured = pd.concat(
        [
            _measured("effective_rank", (0, 73.6, 2.4, 20), (9, 6.83, 0.3, 20)),
            _measured(
                "effective_rank", (0, 1.5, 0.0, 0), (9, 2.5, 0.1, 20), reduction="spatial_mean"
            ),
            _measured(
                "effective_rank", (0, 5.2, 0.2, 20), (9, 5.4, 0.4, 20), reduction="temporal_trace"
            ),
            _measured(
                "effective_rank", (0, 9.0, 0.2, 20), (9, 1.0, 0.4, 20), reduction="temporal_mean"
            ),
        ]
    )
    assert _say(measurements=measured) == (
        "From step 0 to step 9 the effective rank of NTK_S fell from 73.6 +- 2.4 to 6.83 +- 0.30; "
        "that in trials and time (partial trace) is 5.40 +- 0.40, unchanged within the error; "
        "that over units (mean) rose from 1.5 to 2.50 +- 0.10."
    )


def test_rank_of_one_step_and_of_unknown_error() -> None:
    assert _say(measurements=_measured("effective_rank", (3, 6.83, 0.3, 20))) == (
        "At step 3 the effective rank of NTK_S is 6.83 +- 0.30."
    )
    unknown = _measured("effective_rank", (3, 6.0, math.nan, 1), (9, 600.0, math.nan, 1))
    assert "is 600 (error unknown), unchanged within the error" in _say(measurements=unknown)


def test_leading_eigenvalues() -> None:
    shares = pd.DataFrame(
        {"step": 9, "operator": "ntk", "index": [1, 2, 3], "cumulative": [0.5, 0.92, 0.99]}
    )
    assert _say(spectra=shares) == "Its 2 largest eigenvalues carry 92 % of its trace at step 9."
    assert "Its largest eigenvalue carries 50 %" in _say(spectra=shares.iloc[:1])
    assert _say(spectra=shares.assign(operator="k")) == ""


def test_alignment_beside_chance() -> None:
    measured = pd.concat(
        [
            _measured("alignment", (0, 0.82, 0.001, 20), (9, 0.41, 0.002, 20)),
            _measured("random_core_alignment", (0, 0.002, 0.0001, 20), (9, 0.0014, 0.0001, 20)),
        ]
    )
    assert _say(measurements=measured) == (
        "From step 0 to step 9 its cosine with the Kronecker core fell from 0.8200 +- 0.0010 to "
        "0.4100 +- 0.0020; with a core in a random basis it would be 0.0014."
    )


def test_networks_with_fresh_weights() -> None:
    control = _measured("effective_rank", (0, 300.0, 4.0, 20), (1, 340.0, 4.0, 20))
    control = control.rename(columns={"step": "draw"})
    measured = _measured("effective_rank", (70, 12.0, 1.0, 20))
    told = _say({"config": {}}, measurements=measured, control=control)
    assert "With fresh weights, 2 times, it has effective ranks of 300 to 340." in told
    told = _say({"config": {}}, measurements=measured, control=control.iloc[:1])
    assert "With fresh weights it has an effective rank of 300.0 +- 4.0." in told


def test_a_run_that_diverged_says_so_first() -> None:
    status = {
        "status": "diverged",
        "error": "FailedRunError: training diverged: loss nan at step 7",
    }
    told = summarize({"training": _training({0: 0.36})}, status)
    assert told[0] == "The run broke off: training diverged: loss nan at step 7."


def test_a_run_leaves_its_summary_and_tells_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    run(small_config(), folder, plots={})
    told = capsys.readouterr().out
    written = (folder / SUMMARY).read_text()
    assert written.rstrip() == lay_out(summarize(read_tables(folder), read_status(folder)))
    assert told.endswith(f"{written}{folder}\n")
    assert (read_manifest(folder) or {})[SUMMARY] == checksum(written.encode())
    assert all(len(line) <= 100 for line in written.splitlines())
    assert "Mean squared error on the evaluation trials fell from " in written
    # the same again, also where it is lost or damaged
    for change in (lambda: None, (folder / SUMMARY).unlink, lambda: _damage(folder / SUMMARY)):
        change()
        run(small_config(), folder, plots={})
        assert capsys.readouterr().out.endswith(f"{written}{folder}\n")
        assert (folder / SUMMARY).read_text() == written
        assert is_complete(folder)


def _damage(path: Path) -> None:
    path.write_text(path.read_text().replace("fell", "rose"))


def test_a_diverged_run_leaves_a_summary_too(tmp_path: Path) -> None:
    with pytest.raises(FailedRunError):
        run(small_config("training.learning_rate=1e30"), tmp_path / "run", plots={})
    written = (tmp_path / "run" / SUMMARY).read_text()
    assert "- The run broke off: " in written
    assert "at step 0" in written
    assert (read_manifest(tmp_path / "run") or {})[SUMMARY] == checksum(written.encode())
