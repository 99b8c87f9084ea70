"""Words that `molgen evaluate` is given in tests, and the figures that it gives."""

GENERATED = "cat\nCat\n\nhouse\n7\ndog\n"
COUNTS = {"rows": 6, "valid": 4}


def values(figures):
    return {label: figure["value"] for label, figure in figures.items()}
