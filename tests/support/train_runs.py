"""The file that tests of `molgen train` learn from, and settings of runs that take no time."""

GOOD = [f"{'C' * (k // 2 + 1)}{'NO'[k % 2]}" for k in range(30)]
BAD = ["C1CC", "", "CC(C)(C)(C)C", GOOD[0], "C!"]
#: The numbers in the column pIC50 of the rows that can be used.
NUMBERS = [k % 7 for k in range(len(GOOD)) if k % 4]
TINY = ["backbone.width=8", "backbone.layers=1", "backbone.embedding=4", "encoder.max_length=24"]
SHORT = ["training.steps=4", "training.batch_size=8", "training.check_every=2", "training.validation=0.1"]
