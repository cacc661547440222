"""A run watched from outside while it works: its folder is read, and nothing in it touched."""
