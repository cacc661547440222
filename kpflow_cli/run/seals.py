"""The checksum of a checkpoint in its own file: the comment of the archive that ``torch.save``
makes, which all that reads such archives passes over.
"""

from __future__ import annotations

import re

from kpflow_cli.run.manifest import checksum

_SEAL = re.compile(rb"kpflow sha256 ([0-9a-f]{64})\Z")
_LENGTH = len(b"kpflow sha256 ") + 64
# of an archive without comment: its last record, whose last two bytes are the comment's length
_END_OF_ARCHIVE = b"PK\x05\x06"
_END_LENGTH = 22


def seal(archive: bytes) -> bytes:
    """An archive without comment, with its checksum as its comment."""
    end = archive[-_END_LENGTH:]
    assert end.startswith(_END_OF_ARCHIVE)
    archive = archive[:-2] + _LENGTH.to_bytes(2, "little")
    return archive + b"kpflow sha256 " + checksum(archive).encode()


def intact_seal(written: bytes) -> str | None:
    """The checksum in the content of a checkpoint's file, in hexadecimal digits; None where there
    is none, or the content has another.
    """
    found = _SEAL.search(written[-_LENGTH:])
    sealed = found is not None and found[1].decode() == checksum(written[:-_LENGTH])
    return found[1].decode() if found and sealed else None
