"""The commands, one a file: each reads its arguments and hands over to who does the work."""
