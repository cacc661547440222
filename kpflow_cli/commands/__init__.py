"""The commands, one a file: each reads its arguments and hands over to the room that does the work."""
