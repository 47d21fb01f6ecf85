"""Full-size runs: each script writes one ``results/NAME.json``."""
