"""The weight sites of any module, found by watching it run; checked against its own gradient."""
