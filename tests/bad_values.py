"""Values that no key, path or file can mean, for every command: each is exit 2 or 1 with one line,
or a run that works.
"""

from __future__ import annotations

NUMBERS = ("nan", "inf", "-inf", "0", "-1", "1e308", "1e-320", f"{10**9}", f"{10**18}", f"{10**30}")
WORDS = (
    "''", "null", "[]", "[1]", "[null]", "[[ntk]]", "[ntk,ntk]", "{}", "{a:1}", "'a\nb'", "\"a'b\"",
    "a=b", "é", "true", "1.5", "' '", "a.b", "'.'", "'../x'", "os.path", "builtins.print", "'${'",
    "'${nope}'", "[x", "x" * 300,
)  # fmt: skip
PATHS = (
    "", ".", "..", "a\nb", "é", "/dev/null", "/dev/null/x", "/proc/nope/x", "~nope/x", "x" * 300,
    "a\0b", "\udcff",
)  # fmt: skip
SWEEP_FILES = ('{"runs": 3}', "[1]", '{"runs":[1]}', '{"runs":["a\\u0000b"]}', "[" * 100_000)
CLAIMS_FILES = ("", "\xff\xfe,groups\n1", "groups\n1\n")
