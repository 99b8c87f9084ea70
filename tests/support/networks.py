"""What tests of networks do with batches and outputs."""

import torch
from torch.nn.functional import one_hot

from molgen.space import Categorical


def relaxed(space, batch):
    """The same batch with classes as one-hot floats."""
    return batch.with_fields(
        {
            name: one_hot(tensor, space[name].classes).double() if isinstance(space[name], Categorical) else tensor
            for name, tensor in batch.fields.items()
        }
    )


def cropped(space, batch):
    """The same batch without the padding that no sample needs."""
    lengths = {name: int(size.max()) for name, size in batch.sizes.items()}
    return batch.with_fields(
        {
            name: batch.fields[name][(slice(None), *(slice(lengths.get(axis.name)) for axis in field.axes))]
            for name, field in space.items()
        }
    )


def close(first, second, tolerance=1e-10):
    """Outputs of the same names are equal but for rounding."""
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=tolerance)
