"""One run: its plan, its training, its measurements, its folder."""
