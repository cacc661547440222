"""What is measured of NTK_S at a checkpoint, by name; what is written down of single checkpoints is
in ``records``.
"""
