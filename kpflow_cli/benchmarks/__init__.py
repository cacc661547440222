"""Time and memory of NTK_S products and statistics against torch.func and the machine's own limit, side by side."""
