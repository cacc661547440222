"""Arrays from files of people's own: what is read is what was saved, and nothing in them is run."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from kpflow_cli.array_files import array_checksum, read_array, read_arrays
from kpflow_cli.errors import UserError

NUMBERS = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    ("saved", "dtype"),
    [
        (NUMBERS, torch.float64),
        (NUMBERS.astype("float16"), torch.float32),
        (NUMBERS.astype(">f4"), torch.float32),
        (NUMBERS.astype("uint16"), torch.int64),
        (NUMBERS.astype("int32"), torch.int64),
        (NUMBERS > 2, torch.bool),
    ],
)
def test_numpy_arrays_keep_their_values(
    tmp_path: Path, saved: np.ndarray, dtype: torch.dtype
) -> None:
    np.save(tmp_path / "x.npy", saved)
    found = read_array(str(tmp_path / "x.npy"), "inputs")
    assert found.dtype == dtype
    assert np.array_equal(found.numpy(), saved)


def test_one_of_several_is_chosen_by_its_role_or_by_its_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", inputs=NUMBERS, targets=-NUMBERS)
    torch.save((torch.ones(2), torch.zeros(3)), tmp_path / "x.pt")
    place = str(tmp_path / "x.npz")
    assert read_array(place, "inputs").numpy().tolist() == NUMBERS.tolist()
    assert read_array(place, "inputs", "targets").numpy().tolist() == (-NUMBERS).tolist()
    assert list(read_arrays(str(tmp_path / "x.pt"), "inputs")) == ["0", "1"]
    with pytest.raises(UserError, match=r"mask=.*: holds inputs, targets; name one with mask_key="):
        read_array(place, "mask")
    with pytest.raises(UserError, match=r"inputs_key=input: .* mean 'inputs'.*inputs, targets"):
        read_array(place, "inputs", "input")


def test_what_is_no_array_is_told_in_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    torch.save({"inputs": torch.ones(2), "name": "x"}, tmp_path / "mixed.pt")
    torch.save(Path("x"), tmp_path / "code.pt")
    torch.save(torch.ones(2, dtype=torch.complex64), tmp_path / "complex.pt")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "text.npz").write_text("not an archive")
    (tmp_path / "x.txt").write_text("1 2 3")
    (tmp_path / "pickled.pt").write_bytes(pickle.dumps(print))
    for name, told in {
        "words.npy": "not of numbers",
        "objects.npy": "cannot be read",
        "mixed.pt": "its name: is a str, not an array",
        "code.pt": "would run code",
        "complex.pt": "not of numbers",
        "empty.pt": "cannot be read",
        "text.npz": "cannot be read",
        "x.txt": r"valid: \*\.npy",
        "pickled.pt": "would run code",
        "missing.npy": "no such file",
    }.items():
        with pytest.raises(UserError, match=told) as error:
            read_array(str(tmp_path / name), "inputs")
        assert str(error.value).startswith(f"inputs={tmp_path / name}")
        assert "\n" not in str(error.value)


def test_a_checksum_is_of_the_content(tmp_path: Path) -> None:
    for name in ("x.npy", "y.npy"):
        np.save(tmp_path / name, NUMBERS)
    places = [str(tmp_path / name) for name in ("x.npy", "y.npy")]
    assert array_checksum(places[0], "inputs") == array_checksum(places[1], "inputs")
    np.save(places[1], NUMBERS + 1)
    assert array_checksum(places[0], "inputs") != array_checksum(places[1], "inputs")
