"""Time and memory of NTK_S products and statistics against torch.func and the machine's own limit,
and of SGD steps, side by side.
"""
