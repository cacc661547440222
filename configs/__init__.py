"""Hydra configuration: config.yaml (kpflow run), verify.yaml (kpflow verify) and the groups."""
