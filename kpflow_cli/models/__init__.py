"""Networks with configuration keys of their own, and any other of torch's."""
