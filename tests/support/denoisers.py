"""Networks for the tests of diffusion: two that know the truth, and a small one for every kind of field."""

from __future__ import annotations

from itertools import product
from math import log, pi, prod

import torch
from torch import nn

from molgen.backbone import Backbone, LinearHeads
from molgen.batch import field_mask, helmert, levels_to_values
from molgen.layers.condition_embedding import ConditionEmbedding
from molgen.space import Axis, Categorical, Layout, Real

LENGTH, CLASSES = 3, 3
WORDS = {"x": Categorical((Axis("n", LENGTH, variable=False),), classes=CLASSES)}
LEVELS = {"x": Real((Axis("n", 2, variable=False),), levels=3)}
POINT = {"x": Real((Axis("n", 2, variable=False),))}


def every_word():
    return torch.tensor(list(product(range(CLASSES), repeat=LENGTH)))


def word_probabilities():
    """A distribution over all words in which letters depend on each other, (27,) in float64."""
    generator = torch.Generator().manual_seed(3)
    return torch.softmax(1.5 * torch.randn(CLASSES**LENGTH, generator=generator, dtype=torch.float64), 0)


class Truth(Backbone):
    """No weights are learned; one parameter says where the network is and in which precision."""

    layouts = frozenset(Layout)

    def __init__(self, inputs, outputs, config=None, condition=None):
        super().__init__(inputs, outputs, config, condition)
        self.place = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.process = None


class TrueClasses(Truth):
    """The logits from which the process makes p(x_0 at a place | x_t) of `WORDS` under `word_probabilities`."""

    def forward(self, batch, time, condition):
        x, words = batch.fields["x"], every_word()
        if self.process.time_independent:
            fits = (x[:, None] == self.process.mask) | (x[:, None] == words)
            own, likelihood = 0.0, fits.log().sum(-1)
        else:
            q = self.process.forward_probability(x, time["x"]).log()
            own, likelihood = q, q.gather(2, words.T.expand(len(x), -1, -1)).sum(1)
        joint = (likelihood + word_probabilities().log()).softmax(-1)
        marginal = torch.stack([(joint[:, None] * (words == k).T).sum(-1) for k in range(CLASSES)], -1)
        return {"x": marginal.log() - own + 0 * self.place}


class Mixture:
    """Two normal distributions in the plane; together of mean 0 and unit scale, roughly."""

    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    means = torch.tensor([[1.2, -0.8], [-0.6, 0.4]], dtype=torch.float64)
    covariances = torch.tensor([[[0.3, 0.1], [0.1, 0.2]], [[0.4, -0.25], [-0.25, 0.5]]], dtype=torch.float64)

    def components(self, x, variance):
        """log p of each component with noise of variances (B, 1), (B, 2), and the posterior means, (B, 2, 2)."""
        variance = torch.as_tensor(variance, dtype=torch.float64).expand(len(x), 1)[..., None, None]
        noisy = self.covariances + variance * torch.eye(2, dtype=torch.float64)
        apart = x[:, None] - self.means
        scaled = torch.linalg.solve(noisy, apart)
        log_p = -(apart * scaled).sum(-1) / 2 - noisy.logdet() / 2 - log(2 * pi)
        means = self.means + torch.einsum("kij,bkj->bki", self.covariances, scaled)
        return log_p + self.weights.log(), means

    def log_density(self, x, variance=0.0):
        return self.components(x, variance)[0].logsumexp(1)

    def denoised(self, x, variance):
        log_p, means = self.components(x, variance)
        return (log_p.softmax(1)[..., None] * means).sum(1)

    def draw(self, count, seed=0):
        generator = torch.Generator().manual_seed(seed)
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        roots = torch.linalg.cholesky(self.covariances)[which]
        noise = torch.randn(count, 2, generator=generator, dtype=torch.float64)
        return self.means[which] + torch.einsum("bij,bj->bi", roots, noise)

    def moments(self):
        mean = self.weights @ self.means
        apart = self.means - mean
        return mean, torch.einsum("k,kij->ij", self.weights, self.covariances + apart[:, :, None] * apart[:, None])


class TrueMixture(Truth):
    """F of EDM such that the denoised numbers are the posterior mean under `Mixture`."""

    def forward(self, batch, time, condition):
        schedule = self.process.schedule
        sigma = schedule.lowest * (schedule.highest / schedule.lowest) ** time["x"][:, None]
        x = batch.fields["x"] * (1 + sigma**2) ** 0.5
        denoised = Mixture().denoised(x, sigma**2)
        return {"x": ((denoised - x / (1 + sigma**2)) * (1 + sigma**2) ** 0.5 / sigma)[..., None] + 0 * self.place}


CENTRED = {"x": Real((Axis("n", 4, variable=False),), (1,), centred=True)}


class Chain:
    """Four points on a line about their common centre; packed they are normal, and independent unless correlated."""

    mean = torch.tensor([1.2, -0.4, 0.9], dtype=torch.float64)

    def __init__(self, correlation=0.0):
        self.covariance = 0.8 * torch.tensor([[1, 0.5, -0.5], [0.5, 1, 0], [-0.5, 0, 1]], dtype=torch.float64)
        self.covariance = self.covariance.lerp(0.8 * torch.eye(3, dtype=torch.float64), 1 - correlation)

    def denoised(self, packed, variance):
        """The posterior means of packed elements, (B, 3), with noise of variances (B, 1)."""
        noisy = self.covariance + variance[..., None] * torch.eye(3, dtype=torch.float64)
        return self.mean + torch.linalg.solve(noisy, (packed - self.mean)[..., None]).squeeze(-1) @ self.covariance

    def given_distance(self, distance):
        """The mean and the covariance of all points, (4,) and (4, 4), where x_1 - x_0 is known."""
        basis = helmert(4)
        across = basis[:, 1] - basis[:, 0]
        gain = self.covariance @ across / (across @ self.covariance @ across)
        mean = self.mean + gain * (distance - across @ self.mean)
        covariance = self.covariance - torch.outer(gain, across @ self.covariance)
        return mean @ basis, basis.T @ covariance @ basis


class TrueChain(Truth):
    """F of EDM such that the denoised numbers are the posterior mean under a `Chain`."""

    chain = Chain()

    def forward(self, batch, time, condition):
        schedule, read = self.process.schedule, batch.fields["x"].squeeze(-1)
        sigma = schedule.lowest * (schedule.highest / schedule.lowest) ** time["x"][:, None]
        x = read * (1 + sigma**2) ** 0.5
        denoised = self.chain.denoised(x @ helmert(4).T, sigma**2) @ helmert(4)
        return {"x": ((denoised - x / (1 + sigma**2)) * (1 + sigma**2) ** 0.5 / sigma)[..., None] + 0 * self.place}


def level_probabilities():
    """A distribution over two levels of three each that depend on each other, (9,) in float64."""
    return torch.tensor([0.05, 0.2, 0.02, 0.1, 0.03, 0.25, 0.15, 0.12, 0.08], dtype=torch.float64)


def every_pair():
    return torch.tensor(list(product(range(3), repeat=2)))


class TrueLevels(Truth):
    """What the process makes the mean of p(x_0 | x_t) of `LEVELS` from, under `level_probabilities`."""

    def forward(self, batch, time, condition):
        schedule, read = self.process.schedule, batch.fields["x"]
        sigma = schedule.lowest * (schedule.highest / schedule.lowest) ** time["x"][:, None]
        x, values = (
            read * (1 + sigma**2) ** 0.5,
            self.process.to_state(levels_to_values(LEVELS["x"], every_pair()).double()),
        )
        each = -(((x[:, None] - values) / sigma[..., None]) ** 2) / 2
        if self.process.head.width == 3:
            own = torch.stack([level_probabilities().log() + each.sum(-1) - each[..., place] for place in range(2)], 1)
            logits = [own.masked_fill(k != every_pair().T, -torch.inf).logsumexp(-1) for k in range(3)]
            prior = self.process.to_state(levels_to_values(LEVELS["x"], torch.arange(3)).double()) ** 2 / 2
            return {"x": torch.stack(logits, -1) + prior + 0 * self.place}
        denoised = (level_probabilities().log() + each.sum(-1)).softmax(-1) @ values
        return {"x": ((denoised - x / (1 + sigma**2)) * (1 + sigma**2) ** 0.5 / sigma)[..., None] + 0 * self.place}


class AnyKind(LinearHeads, Backbone):
    """A small network over all fields: each place sees itself, the means of the fields, the time and the condition.

    It is not equivariant; it only takes fields that rotate.
    """

    layouts = frozenset(Layout)

    def __init__(self, inputs, outputs, config=None, condition=None, width=24):
        super().__init__(inputs, outputs, config, condition)
        self.read = nn.ModuleDict({name: nn.Linear(_numbers(field), width) for name, field in inputs.items()})
        self.time = nn.Linear(len(inputs), width)
        self.condition = ConditionEmbedding(condition, width) if condition else None
        self.where = nn.ParameterDict(
            {name: _places(field, width) for name, field in inputs.items() if _ordered(field)}
        )
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(width, head.width) for name, head in outputs.items()})

    def forward(self, batch, time, condition):
        kind, rows = self.time.weight.dtype, len(batch)
        own = {name: self.read[name](self._floats(name, batch).to(kind)) for name in self.inputs}
        for name, places in self.where.items():
            own[name] = own[name] + places[tuple(map(slice, own[name].shape[1:-1]))]
        masks = {name: field_mask(self.inputs, batch, name) for name in self.inputs}
        whole = self._times(time, rows, kind)
        for name, vectors in own.items():
            weight = masks[name][..., None].to(kind)
            total = (vectors * weight).reshape(rows, -1, vectors.shape[-1]).sum(1)
            whole = whole + total / weight.reshape(rows, -1).sum(1, keepdim=True).clamp(min=1)
        if self.condition is not None:
            whole = whole + self.condition(condition, rows)
        return {name: self._head(name, own[name], whole, masks[name]) for name in self.outputs}

    def _head(self, name, vectors, whole, mask):
        whole = whole.reshape(len(whole), *(1 for _ in range(vectors.ndim - 2)), -1)
        if isinstance(self.inputs[name], Categorical) and self.inputs[name].symmetric:
            vectors = vectors + vectors.transpose(1, 2)
        return torch.where(mask[..., None], self.heads[name](self.mix(vectors + whole)), 0.0)

    def _floats(self, name, batch):
        field, values = self.inputs[name], batch.fields[name]
        if isinstance(field, Categorical):
            return nn.functional.one_hot(values, field.classes)
        return values.reshape(*values.shape[: values.ndim - len(field.channels)], -1)

    def _times(self, time, rows, kind):
        time = time if isinstance(time, dict) else dict.fromkeys(self.inputs, time)
        times = [time.get(name) if time.get(name) is not None else torch.zeros(rows) for name in self.inputs]
        return self.time(torch.stack([one.to(kind) for one in times], dim=1))


def _ordered(field):
    return bool(field.axes) and all(axis.ordered for axis in field.axes)


def _places(field, width):
    return nn.Parameter(torch.randn(*(axis.maximum for axis in field.axes), width))


def _numbers(field):
    return field.classes if isinstance(field, Categorical) else prod(field.channels)
