"""Small diffusions over toy spaces, and samples of them."""

import pytest
import torch
from support.denoisers import AnyKind
from support.toys import Choices, Graph, Grid, Points, Record, Tokens, samples_of

from molgen.backbone import make_build
from molgen.batch import Batch, Partial, collate, field_mask, levels_to_values
from molgen.data.standardise import standardise
from molgen.data.statistics import measure
from molgen.families.diffusion import Diffusion, DiffusionConfig
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real, axes, variable_axes

CONDITION = {"height": Real(), "kind": Categorical(classes=2)}
LEVELS = {"pixels": Real((Axis("row", 2, variable=False), Axis("column", 3, variable=False)), (1,), levels=4)}
TOYS = {toy.__name__: toy().space for toy in (Tokens, Grid, Graph, Points, Record)}
SPACES = TOYS | {
    "Levels": LEVELS,
    "Choices": Choices().space,
    "Directed": {
        "arc": Categorical((Axis("node", 3, ordered=False),) * 2, classes=2),
        "wind": Real((Axis("node", 3, ordered=False), Axis("leg", 4, minimum=2))),
    },
}
SMALL = {"steps": 4, "samples": 4}
MASKING, RESAMPLING = DiffusionConfig(**SMALL), DiffusionConfig(categorical="marginal", **SMALL)
QUANTISED = DiffusionConfig(real="quantised", **SMALL)


def cases(spaces):
    """Every space with masks, those that have classes with resampling too, and levels as classes."""
    found = {name: (space, MASKING) for name, space in spaces.items()}
    found |= {f"{name}, quantised": (space, QUANTISED) for name, space in spaces.items() if space is LEVELS}
    for name, space in spaces.items():
        if any(isinstance(field, Categorical) for field in space.values()):
            found[f"{name}, resampling"] = (space, RESAMPLING)
    return pytest.mark.parametrize(("space", "config"), found.values(), ids=found.keys())


every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
every_toy = pytest.mark.parametrize("space", TOYS.values(), ids=TOYS.keys())
every_case, every_toy_case = cases(SPACES), cases(TOYS)


def a_batch(space, rows=5):
    """Samples of a space by a seed, as families are given them."""
    for toy in (Tokens, Grid, Graph, Points, Record, Choices):
        if toy().space == space:
            batch = collate(space, (samples_of(toy) * 5)[:rows])
            return standardise(space, measure(space, [batch]), batch)
    generator = torch.Generator().manual_seed(0)
    sizes = {
        name: torch.arange(rows) % (axis.maximum - axis.minimum + 1) + axis.minimum
        for name, axis in variable_axes(space).items()
    }
    longest = {name: int(sizes[name].max()) if name in sizes else axis.maximum for name, axis in axes(space).items()}
    batch = Batch({name: _random(field, longest, rows, generator) for name, field in space.items()}, sizes)
    masks = {name: field_mask(space, batch, name) for name in space}
    return batch.with_fields(
        {
            name: x * masks[name].reshape(*masks[name].shape, *(1 for _ in space[name].channels_shape))
            for name, x in batch.fields.items()
        }
    )


def _random(field, longest, rows, generator):
    shape = (rows, *(longest[axis.name] for axis in field.axes), *field.channels_shape)
    if isinstance(field, Categorical):
        return torch.randint(field.classes, shape, generator=generator)
    if field.levels:
        return levels_to_values(field, torch.randint(field.levels, shape, generator=generator))
    return torch.randn(shape, generator=generator)


def a_family(space, config=MASKING, *, condition=None, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    family = Diffusion(space, make_build(AnyKind, None, condition), config, condition)
    statistics = measure(space, [a_batch(space)])
    family.initialise(a_batch(space), statistics)
    family.set_statistics(statistics)
    with torch.no_grad():
        for parameter in family.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return family.to(dtype).eval()


def rng_of(batch, seed=0):
    return Rng(seed, range(len(batch)))


def asked(rows, height=1.5, kind=1, given=True):
    batch = Batch({"height": torch.full((rows,), height), "kind": torch.full((rows,), kind)}, {})
    return Partial(batch, {name: torch.full((rows,), given) for name in CONDITION})
