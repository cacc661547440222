"""What runs there are: found, told apart, listed, removed."""
