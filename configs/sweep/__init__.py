"""Named grids: `kpflow run -m +sweep=<name>` runs every combination of what it sweeps."""
