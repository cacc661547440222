"""The paper's figures: their runs, their drawing, and claims as predicates."""
