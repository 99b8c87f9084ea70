"""What the tests of everything in the generation order share: spaces that can be enumerated, small models.

Letters in shapes: B batch.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from support.toys import CATEGORICAL_TOYS

from molgen.backbone import make_build
from molgen.backbones.recurrent.causal import Recurrent, RecurrentConfig
from molgen.backbones.transformer.config import TransformerConfig
from molgen.backbones.transformer.network import Transformer
from molgen.backbones.unet.config import UNetConfig
from molgen.backbones.unet.network import CAUSAL, UNet
from molgen.backbones.wavenet import WaveNet, WaveNetConfig
from molgen.batch import Batch, Partial, mask, pack_field, separate, unpack
from molgen.families.autoregressive import Autoregressive, AutoregressiveConfig
from molgen.ordering import from_tokens, vocabulary_size
from molgen.space import Axis, Categorical, Grammar, GrammarState, Layout, Real, axes, layout

CONDITION = {"height": Real(), "kind": Categorical(classes=2)}
ROW, COLUMN = Axis("row", 2, variable=False), Axis("column", 2, variable=False)


def words(minimum, maximum):
    return {"x": Categorical((Axis("n", maximum, minimum=minimum),), classes=2)}


@dataclass(frozen=True)
class Brackets(Grammar):
    """Class 1 opens what class 2 closes, and all is closed in the end."""

    classes: int

    def start(self):
        return Depth(self.classes, 0)


class Depth(GrammarState):
    def __init__(self, classes, depth):
        self.classes, self.depth = classes, depth

    def possible(self):
        found = np.ones(self.classes + 1, bool)
        if self.depth >= 0:
            found[2], found[-1] = self.depth > 0, self.depth == 0
        return found

    def toward_end(self):
        return np.arange(self.classes + 1) == (2 if self.depth > 0 else -1)

    def after(self, choice):
        lost = self.depth < 0 or not self.possible()[choice]
        return Depth(self.classes, -1 if lost else self.depth + (0, 1, -1)[choice])


AXIS = Axis("n", 4, minimum=0)
GRAMMARS = {
    "brackets": {"x": Categorical((AXIS,), classes=3, grammar=Brackets(3))},
    "brackets at fixed size": {"x": Categorical((replace(AXIS, variable=False),), classes=3, grammar=Brackets(3))},
    "brackets after a label": {
        "label": Categorical(classes=2),
        "x": Categorical((replace(AXIS, minimum=1),), classes=3, grammar=Brackets(3)),
    },
}
CLASSES = {toy.__name__: toy().space for toy in CATEGORICAL_TOYS} | {
    "empty allowed": words(0, 3),
    "minimum above one": words(2, 4),
    "one size": words(3, 3),
    "fixed size": {"x": Categorical((Axis("n", 3, variable=False),), classes=2)},
    "pairs first": {
        "bonds": Categorical((Axis("n", 3),) * 2, classes=2, symmetric=True),
        "atoms": Categorical((Axis("n", 3),), classes=2),
    },
    "directed pairs": {"x": Categorical((Axis("n", 2),) * 2, classes=2)},
    "label, frame and word": {
        "label": Categorical(classes=2),
        "frame": Categorical((Axis("m", 2, variable=False),), classes=2),
        **words(0, 2),
    },
    "word with columns": {"x": Categorical((Axis("n", 2), Axis("m", 2, variable=False)), classes=2)},
}
LEVELS = {
    "shades alone": {"grey": Real(levels=4), "colour": Real(channels=(2,), levels=2)},
    "signal": {"x": Real((Axis("n", 3, minimum=0),), levels=3)},
    "signal of two channels": {"kind": Categorical(classes=2), "x": Real((Axis("n", 2),), channels=(2,), levels=2)},
    "picture": {"pixels": Real((ROW, COLUMN), channels=(2,), levels=2)},
    "two pictures": {"depth": Categorical((ROW, COLUMN), classes=2), "pixels": Real((ROW, COLUMN), levels=2)},
    "picture under labels": {
        "label": Categorical(classes=2),
        "light": Real(channels=(2,), levels=2),
        "pixels": Real((ROW, COLUMN), levels=2),
    },
    "levels of pairs": {
        "atoms": Categorical((Axis("n", 3),), classes=2),
        "near": Real((Axis("n", 3),) * 2, channels=(1,), levels=2, symmetric=True),
    },
    "growing picture": {"pixels": Real((Axis("n", 3, minimum=0), COLUMN), levels=2)},
}
SPACES = CLASSES | LEVELS | GRAMMARS

NETWORKS = {
    "gru": (Recurrent, RecurrentConfig(cell="gru", width=12, layers=2, embedding=6)),
    "lstm": (Recurrent, RecurrentConfig(cell="lstm", width=12, layers=2, embedding=6)),
    "transformer": (Transformer, TransformerConfig(width=16, layers=2, heads=2)),
    "unet": (UNet, UNetConfig(width=8, levels=2, blocks=1, heads=0)),
    "wavenet": (WaveNet, WaveNetConfig(width=8, context=3, embedding=4, kernel=3, levels=2)),
}


def takes(network, space):
    found = {"unet": tuple(CAUSAL), "wavenet": (Layout.SEQUENCE,)}.get(network)
    return found is None or layout(space) in found


def a_model(space, network="gru", *, condition=None, dtype=torch.float64, seed=0):
    """A small network with weights far from zero, so that nothing comes out right by symmetry."""
    torch.manual_seed(seed)
    build = make_build(*NETWORKS[network], condition)
    family = Autoregressive(space, build, AutoregressiveConfig(), condition)
    with torch.no_grad():
        for parameter in family.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return family.to(dtype).eval()


def asked(rows, height=1.5, kind=1, given=True):
    """A condition of which every row, or none, gives both fields."""
    batch = Batch({"height": torch.full((rows,), height), "kind": torch.full((rows,), kind)}, {})
    return Partial(batch, {name: torch.full((rows,), given) for name in CONDITION})


def every_sample(space):
    """All samples of a space of classes and levels, as one batch for each size."""
    ending = [axis for axis in axes(space).values() if axis.variable]
    for size in range(ending[0].minimum, ending[0].maximum + 1) if ending else [0]:
        lengths = {name: size if axis.variable else axis.maximum for name, axis in axes(space).items()}
        free = {name: _free(field, [lengths[axis.name] for axis in field.axes]) for name, field in space.items()}
        places = [range(vocabulary_size(space[name])) for name, count in free.items() for _ in range(count)]
        numbers = torch.tensor(list(product(*places)), dtype=torch.long)
        packed = dict(zip(free, numbers.split(list(free.values()), dim=1), strict=True))
        values = {name: from_tokens(space[name], tensor) for name, tensor in packed.items()}
        yield unpack(space, values, {axis.name: torch.full((len(numbers),), size) for axis in ending}, lengths)


def _free(field, shape):
    """How many free elements a field of this shape has."""
    sizes = {axis.name: torch.tensor([length]) for axis, length in zip(field.axes, shape, strict=True)}
    return int(
        pack_field(field, torch.zeros(1, *shape, *field.channels_shape), mask(field, sizes, shape, 1)).mask.sum()
    )


def log_densities(family, space, condition=None):
    parts = [
        family.log_density(batch, condition(len(batch)) if condition else None).value for batch in every_sample(space)
    ]
    return torch.cat(parts)


def keys(space, batch):
    """The samples of a batch as something that can be counted."""
    return [str({name: array.tolist() for name, array in sample.items()}) for sample in separate(space, batch)]


def exact_probabilities(family, space, condition=None):
    found = [key for batch in every_sample(space) for key in keys(space, batch)]
    return dict(zip(found, log_densities(family, space, condition).exp().tolist(), strict=True))


def chi_square_p(found, expected, count):
    """The probability of a larger chi-square statistic; cells that expect few are taken together."""
    cells, rest = [], [0.0, 0.0]
    for key, probability in expected.items():
        if count * probability >= 5:
            cells.append([found.count(key), count * probability])
        else:
            rest = [rest[0] + found.count(key), rest[1] + count * probability]
    cells += [rest] if rest[1] >= 5 else []
    statistic = sum((seen - due) ** 2 / due for seen, due in cells)
    return float(torch.special.gammaincc(torch.tensor((len(cells) - 1) / 2), torch.tensor(statistic / 2)))


def slice_by_slice(network, made, condition=None):
    """The outputs of `start` and `step` for given tokens, (B, S, W) for each field."""
    found = {name: [] for name in made.ordering.steps}
    state, previous = network.start(condition, len(made.ids)), None
    for t, step in enumerate(made.ordering.slices):
        output, state = network.step(step, state, previous)
        found[step.field].append(output)
        previous = (step, made.ids[:, t])
    return {name: torch.stack(outputs, dim=1) for name, outputs in found.items()}
