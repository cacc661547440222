"""Networks whose weight sites are known: GRU, continuous-time RNN, vanilla RNN."""
