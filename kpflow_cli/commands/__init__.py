"""The commands, one a file: ``HELP`` is its line in the overview; ``execute`` reads its arguments
and hands over to the room that does the work.
"""
