"""The variational autoencoder: bounds against exact densities, decoders that are distributions, and its contract."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from toys import TOYS, Choices, Graph, Grid, Points, Record, Tokens, samples_of
from walks import CONDITION, SPACES, asked, chi_square_p, every_sample, keys

from molgen.backbone import Backbone, make_build
from molgen.backbones.recurrent import Recurrent, RecurrentConfig
from molgen.backbones.transformer import Transformer
from molgen.backbones.transformer_config import TransformerConfig
from molgen.batch import Batch, Partial, collate, field_mask, pack, separate
from molgen.families.latents import LATENT, Posterior
from molgen.families.vae import VAE, VAEConfig
from molgen.family import Density, Known, UnsupportedSpace
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Layout, Real
from molgen.statistics import measure
from molgen.walk import choices

TINY = {"slots": 2, "channels": 1, "components": 2}
DECODERS = ["one_shot", "autoregressive"]
every_decoder = pytest.mark.parametrize("decoder", DECODERS)
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())


def a_model(space, decoder="one_shot", *, condition=None, dtype=torch.float64, seed=0, away=0.3, **settings):
    """A small model with weights far from zero, so that nothing comes out right by symmetry."""
    torch.manual_seed(seed)
    build = make_build(Transformer, TransformerConfig(width=16, layers=1, heads=2), condition)
    family = VAE(space, build, VAEConfig(decoder=decoder, **{**TINY, **settings}), condition)
    with torch.no_grad():
        for parameter in family.parameters():
            parameter.add_(away * torch.randn_like(parameter))
        # Near the prior, so that few draws tell much of a density.
        for parameter in family.encoder.heads.parameters():
            parameter.mul_(0.1)
        family.encoder.heads[LATENT].bias[family.config.channels :] += 2
    return family.to(dtype).eval()


def words(minimum, maximum, classes=2):
    return {"x": Categorical((Axis("n", maximum, minimum=minimum),), classes=classes)}


def a_batch(toy):
    return collate(toy().space, samples_of(toy))


def rows_of(batch, seed=0):
    return Rng(seed, range(len(batch)))


# --- decoders are distributions ---------------------------------------------------------------------


@every_space
@every_decoder
def test_under_every_latent_the_probabilities_of_all_samples_sum_to_one(space, decoder):
    """Sizes included: they are charged once."""
    family = a_model(space, decoder, condition=CONDITION)
    total = torch.zeros(3, dtype=torch.float64)
    for batch in every_sample(space):
        for k, condition in enumerate((None, asked(len(batch)), asked(len(batch), given=False))):
            z = _constant(family, k - 0.7, len(batch))
            found = family.decoder.log_likelihood(batch, z, condition, rows_of(batch))
            total[k] += found.double().exp().sum()
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-9)


def _constant(family, value, rows):
    field = family.latent_space[LATENT]
    shape = (rows, *(axis.maximum for axis in field.axes), *field.channels)
    ramp = torch.linspace(-1, 1, math.prod(shape[1:]), dtype=torch.float64).view(shape[1:])
    return Batch({LATENT: (value + ramp).expand(shape)}, {})


@every_decoder
@pytest.mark.parametrize("name", ["empty allowed", "Graph", "word with columns"])
def test_draws_from_a_latent_are_as_frequent_as_their_probabilities(name, decoder):
    space, count = SPACES[name], 4000
    family = a_model(space, decoder)
    drawn = family.decode(_constant(family, 0.4, count), rng=Rng(1, range(count))).batch
    expected = {}
    for batch in every_sample(space):
        found = family.decoder.log_likelihood(batch, _constant(family, 0.4, len(batch)), None, rows_of(batch)).exp()
        expected |= dict(zip(keys(space, batch), found.tolist(), strict=True))
    seen = keys(space, drawn)
    assert set(seen) <= set(expected)
    assert chi_square_p(seen, expected, count) > 1e-3


@every_decoder
def test_without_rng_every_choice_is_the_likeliest(decoder):
    family = a_model(words(0, 3), decoder)
    latents = _constant(family, 1.0, 3)
    first, again = (separate(family.space, family.decode(latents).batch) for _ in range(2))
    assert len({str(sample) for sample in (*first, *again)}) == 1
    # From likely draws alone: no draw is likelier under a one-shot decoder.
    batch = family.decode(latents.take(torch.tensor([0]))).batch
    best = family.decoder.log_likelihood(batch, latents.take(torch.tensor([0])), None, Rng(0, [0]))
    sizes = {name: size.expand(3) for name, size in batch.sizes.items()}
    others = family.decode(latents, rng=Rng(0, range(3)), sizes=sizes).batch
    found = family.decoder.log_likelihood(others, latents, None, rows_of(others))
    assert decoder == "autoregressive" or (found <= best + 1e-9).all()


# --- exact densities --------------------------------------------------------------------------------


class Linear(Backbone):
    """A fixed linear map from latents to a normal decoder, or from samples to a posterior; nothing is learned."""

    layouts = frozenset(Layout)

    def __init__(self, inputs, outputs, config, condition=None):
        super().__init__(inputs, outputs, config, condition)
        self.source = next(iter(inputs))
        self.target = next(iter(outputs))
        self.weight = nn.Parameter(torch.zeros(3, 2, dtype=torch.float64))
        self.log_scale = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, batch, time, condition):
        values = batch.fields[self.source].double()
        mean = values.flatten(1) @ (self.weight.T if self.source == LATENT else self.weight)
        mean = mean.view(len(mean), -1, 1)
        return {self.target: torch.cat([mean, self.log_scale.expand_as(mean)], -1)}


NUMBERS = {"x": Real((Axis("n", 3, variable=False),))}


def a_linear_model(*, exact, seed=0):
    """p(x | z) = N(W z, s^2) with columns of W at right angles, so that p(z | x) has independent numbers."""
    torch.manual_seed(seed)
    family = VAE(NUMBERS, make_build(Linear, None, None), VAEConfig(slots=2, channels=1)).eval()
    columns = torch.linalg.qr(torch.randn(3, 2, dtype=torch.float64)).Q * 1.3
    raw = 0.4
    scale = 1e-3 + nn.functional.softplus(torch.tensor(raw, dtype=torch.float64))
    precision = 1 + 1.3**2 / scale**2
    log_scale = -0.5 * precision.log() + (0.0 if exact else 0.5)
    with torch.no_grad():
        family.decoder.network.weight.copy_(columns)
        family.decoder.network.log_scale.fill_(raw)
        family.encoder.weight.copy_(columns / scale**2 / precision * (1.0 if exact else 0.6))
        family.encoder.log_scale.copy_(_unbounded(log_scale))
    covariance = columns @ columns.T + scale**2 * torch.eye(3, dtype=torch.float64)
    return family, torch.distributions.MultivariateNormal(torch.zeros(3, dtype=torch.float64), covariance)


def _unbounded(log_scale):
    """What a network must say for a posterior to have this log-scale."""
    above = 2 - (2 - log_scale).expm1().log()
    return (above + 7).expm1().log() - 7 + 2


def normal_batch(exact, rows):
    torch.manual_seed(1)
    return Batch({"x": exact.sample((rows,))}, {})


def test_with_the_exact_posterior_every_draw_gives_the_exact_density():
    family, exact = a_linear_model(exact=True)
    batch = normal_batch(exact, 20)
    for draws in (1, 3):
        found = family.log_density(batch, rng=rows_of(batch), draws=draws)
        torch.testing.assert_close(found.value, exact.log_prob(batch.fields["x"]))
    torch.testing.assert_close(found.standard_error, torch.zeros(20, dtype=torch.float64), rtol=0, atol=1e-9)
    mean = -family.loss(batch, None, rows_of(batch)).total
    assert mean.mean().item() == pytest.approx(exact.log_prob(batch.fields["x"]).mean().item(), abs=0.5)


def test_bounds_of_a_linear_model_rise_to_its_exact_density():
    family, exact = a_linear_model(exact=False)
    batch = normal_batch(exact, 8)
    truth = exact.log_prob(batch.fields["x"])
    _require_rising_bounds(family, batch, truth)
    _require_convergence(family, batch, truth)
    found = family.log_density(batch, rng=rows_of(batch), draws=2000)
    assert found.kind is Density.LOWER_BOUND
    assert found.dims.tolist() == [3] * 8
    assert (found.standard_error > 0).all()
    assert ((found.value - truth).abs() < 4 * found.standard_error).all()


def _bounds(family, batch, draws, repetitions):
    """Independent bounds of each item, (repetitions, B)."""
    copies = torch.arange(len(batch)).repeat(repetitions)
    rng = Rng(3, range(len(copies)))
    return family.log_density(batch.take(copies), rng=rng, draws=draws).value.view(repetitions, -1)


def _require_rising_bounds(family, batch, truth, repetitions=200):
    """Means are at most the truth, and higher with more draws, each within three standard errors."""
    before = None
    for draws in (1, 4, 16):
        values = _bounds(family, batch, draws, repetitions)
        error = values.std(0) / repetitions**0.5
        assert (values.mean(0) <= truth + 3 * error + 1e-9).all()
        if before is not None:
            # The latents of fewer draws are among those of more, so the difference has little noise.
            rise = (values - before).mean(1)
            assert rise.mean() > 3 * rise.std() / repetitions**0.5
        before = values


def _require_convergence(family, batch, truth, repetitions=100):
    """The mean of 2,000 importance weights is the exact density within four standard errors."""
    found = _bounds(family, batch, 20, repetitions).exp()
    error = found.std(0) / repetitions**0.5
    assert ((found.mean(0) - truth.exp()).abs() < 4 * error).all()
    assert (error < 0.2 * truth.exp()).all()
    return found.mean(0), error


def test_the_bound_of_a_linear_model_is_the_reconstruction_less_the_divergence():
    """Against the closed form of E_q[log p(x | z)] for normal distributions."""
    family, exact = a_linear_model(exact=False)
    batch = normal_batch(exact, 10)
    copies = torch.arange(10).repeat(400)
    parts = family.loss(batch.take(copies), None, Rng(0, range(4000))).parts
    posterior = Posterior(family.encoder(batch, None, None))
    mean, scale = posterior.means[LATENT].flatten(1), posterior.log_scales[LATENT].exp().flatten(1)
    columns, s = family.decoder.network.weight, 1e-3 + nn.functional.softplus(family.decoder.network.log_scale)
    residual = (batch.fields["x"] - mean @ columns.T).square().sum(1) + (scale**2 @ columns.square().T).sum(1)
    expected = 0.5 * residual / s**2 + 3 * (s.log() + 0.5 * math.log(2 * math.pi))
    found = parts["reconstruction"].view(400, 10)
    assert ((found.mean(0) - expected).abs() < 4 * found.std(0) / 400**0.5).all()
    torch.testing.assert_close(parts["kl"][:10], posterior.divergence().sum(1))


def by_quadrature(family, batch, condition=None, nodes=24):
    """log p(x) of a model with two latent numbers, by Gauss-Hermite quadrature."""
    points, weights = torch.from_numpy(_hermite(nodes)).unbind(0)
    grid = torch.cartesian_prod(points, points)
    log_weights = torch.cartesian_prod(weights, weights).log().sum(1)
    rows = torch.arange(len(batch)).repeat_interleave(len(grid))
    latents = Batch({LATENT: grid.repeat(len(batch), 1)[..., None]}, {})
    some = condition.take(rows) if condition is not None else None
    found = family.decoder.log_likelihood(batch.take(rows), latents, some, Rng(0, range(len(rows))))
    return (found.double().view(len(batch), -1) + log_weights).logsumexp(1)


def _hermite(nodes):
    """The nodes and weights of the standard normal distribution."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return np.stack([points, weights / weights.sum()])


@every_decoder
@torch.no_grad()
def test_bounds_of_a_model_of_words_rise_to_its_exact_density(decoder):
    """All words up to two letters, sizes included, with an encoder that knows little."""
    space = words(0, 2)
    family = a_model(space, decoder, away=0.15)
    batch = collate(space, [sample for batch in every_sample(space) for sample in separate(space, batch)])
    truth = by_quadrature(family, batch)
    assert truth.exp().sum().item() == pytest.approx(1, abs=1e-6)
    _require_rising_bounds(family, batch, truth)
    found, error = _require_convergence(family, batch, truth)
    assert abs(found.sum() - 1) < 3 * error.square().sum().sqrt()
    bounds = _bounds(family, batch, 4, 250)
    doubt = (bounds.std(0) / 250**0.5 * bounds.mean(0).exp()).square().sum().sqrt()
    assert bounds.mean(0).exp().sum() <= 1 + 3 * doubt


@every_decoder
@torch.no_grad()
def test_samples_are_as_frequent_as_the_exact_density_says(decoder):
    space, count = words(0, 2), 4000
    family = a_model(space, decoder, condition=CONDITION, away=0.15)
    batch = collate(space, [sample for batch in every_sample(space) for sample in separate(space, batch)])
    chances = by_quadrature(family, batch, asked(len(batch))).exp().tolist()
    seen = keys(space, family.sample(count, condition=asked(count), rng=Rng(5, range(count))).batch)
    assert chi_square_p(seen, dict(zip(keys(space, batch), chances, strict=True)), count) > 1e-3


# --- the loss ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("toy", [Tokens, Grid, Graph, Record, Choices])
def test_the_loss_is_of_each_item_alone(toy):
    space, batch = toy().space, a_batch(toy)
    family = a_model(space, free_bits=0.4, beta=0.7)
    together = family.loss(batch, None, rows_of(batch)).total
    samples = separate(space, batch)
    for row, sample in enumerate(samples):
        alone = family.loss(collate(space, [sample]), None, Rng(0, [row])).total
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-6)


@every_decoder
def test_the_loss_weighs_the_divergence(decoder):
    batch = a_batch(Tokens)
    losses = {
        (beta, free): a_model(Tokens().space, decoder, beta=beta, free_bits=free).loss(batch, None, rows_of(batch))
        for beta in (1.0, 0.5)
        for free in (0.0, 100.0)
    }
    plain = losses[1.0, 0.0]
    torch.testing.assert_close(plain.total, plain.parts["reconstruction"] + plain.parts["kl"])
    half = losses[0.5, 0.0]
    torch.testing.assert_close(half.total, plain.parts["reconstruction"] + 0.5 * plain.parts["kl"])
    # Two places of the latent, each of which may hold 100 nats.
    torch.testing.assert_close(losses[0.5, 100.0].total, plain.parts["reconstruction"] + 0.5 * 2 * 100)


def test_the_weight_rises_with_the_steps_of_training():
    batch = a_batch(Tokens)
    family = a_model(Tokens().space, beta=0.8, warmup=0.5)
    weights = [family.beta]
    for step in (0, 10, 25, 50, 99):
        family.begin_step(step, 100)
        weights.append(family.beta)
    assert weights == pytest.approx([0.8, 0, 0.16, 0.4, 0.8, 0.8])
    family.begin_step(10, 100)
    loss = family.loss(batch, None, rows_of(batch))
    torch.testing.assert_close(loss.total, loss.parts["reconstruction"] + 0.16 * loss.parts["kl"])
    constant = a_model(Tokens().space, beta=0.8)
    constant.begin_step(0, 100)
    assert constant.beta == 0.8


def test_free_bits_leave_what_is_below_them_alone():
    batch = a_batch(Tokens)
    for free, moved in ((0.0, True), (100.0, False)):
        family = a_model(Tokens().space, free_bits=free)
        loss = family.loss(batch, None, rows_of(batch))
        (loss.total - loss.parts["reconstruction"]).sum().backward()
        gradients = [p.grad for p in family.encoder.parameters() if p.grad is not None]
        assert any(gradient.abs().sum() > 0 for gradient in gradients) is moved


def test_words_are_dropped_in_training_only_and_by_the_seed():
    batch = a_batch(Tokens)
    family = a_model(Tokens().space, "autoregressive", word_dropout=0.5)
    plain = a_model(Tokens().space, "autoregressive")
    whole = plain.loss(batch, None, rows_of(batch)).total
    torch.testing.assert_close(family.loss(batch, None, rows_of(batch)).total, whole)
    family.train()
    dropped = family.loss(batch, None, rows_of(batch)).total
    torch.testing.assert_close(family.loss(batch, None, rows_of(batch)).total, dropped)
    # A word of one letter is read before its END only.
    assert not torch.allclose(dropped[1:], whole[1:])
    assert torch.isfinite(dropped).all()


def test_dropped_words_are_other_classes_and_never_end():
    family = a_model(words(1, 6, classes=3), "autoregressive", word_dropout=0.9).decoder.family
    batch = Batch({"x": torch.zeros(200, 6, dtype=torch.long)}, {"n": torch.arange(200) % 6 + 1})
    made = choices(family.space, batch)
    read = family._half_read(made, Rng(0, range(200)))
    assert torch.equal(read.ids == 3, made.ids == 3)
    share = (read.ids != made.ids)[made.ids < 3].double().mean().item()
    # Two of three classes differ from the one that was there.
    assert share == pytest.approx(0.9 * 2 / 3, abs=0.05)


@every_space
@every_decoder
def test_every_parameter_learns(space, decoder):
    family = a_model(space, decoder, condition=CONDITION, slots=3, channels=2).train()
    for given in (True, False):
        for batch in every_sample(space):
            family.loss(batch, asked(len(batch), given=given), rows_of(batch)).total.sum().backward()
    for name, parameter in family.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().sum() > 0, name


def test_conditions_reach_encoder_and_decoder():
    batch = a_batch(Tokens)
    for decoder in DECODERS:
        family = a_model(Tokens().space, decoder, condition=CONDITION)
        one, other = asked(len(batch)), asked(len(batch), height=-2.0, kind=0)
        means = [family.encode(batch, condition).fields[LATENT] for condition in (one, other)]
        assert not torch.allclose(*means)
        z = _constant(family, 0.1, len(batch))
        found = [family.decoder.log_likelihood(batch, z, condition, rows_of(batch)) for condition in (one, other)]
        assert not torch.allclose(*found)
        nothing = family.loss(batch, asked(len(batch), given=False), rows_of(batch)).total
        torch.testing.assert_close(nothing, family.loss(batch, None, rows_of(batch)).total)


@every_decoder
def test_training_learns_to_reconstruct(decoder):
    """A few words by heart: they come back from their latents, and draws from the prior are mostly among them."""
    items = ["a", "bb", "cba"]
    batch = collate(Tokens().space, samples_of(Tokens, items))
    family = trained(batch, steps=80, decoder=decoder, beta=0.3)
    back = [Tokens().decode(sample) for sample in separate(family.space, family.decode(family.encode(batch)).batch)]
    assert back == items
    drawn = [Tokens().decode(s) for s in separate(family.space, family.sample(200, rng=Rng(0, range(200))).batch)]
    assert sum(item in items for item in drawn) > 150
    bound = family.log_density(batch, rng=rows_of(batch), draws=50).value.exp().sum()
    assert 0.1 < bound < 1.01


def trained(batch, steps, toy=Tokens, **settings):
    """A family of the space of a toy that has learned a batch by heart."""
    torch.manual_seed(0)
    build = make_build(Transformer, TransformerConfig(width=32, layers=1, heads=2), None)
    family = VAE(toy().space, build, VAEConfig(slots=2, channels=2, **settings))
    statistics = measure(family.space, [batch])
    family.initialise(batch, statistics)
    family.observe(statistics)
    optimiser = torch.optim.Adam(family.parameters(), 1e-2)
    many = batch.take(torch.arange(len(batch)).repeat(4))
    for step in range(steps):
        optimiser.zero_grad()
        family.loss(many, None, rows_of(many, step)).total.mean().backward()
        optimiser.step()
    return family.eval()


def test_a_graph_is_decoded_in_its_canonical_order():
    """A decoder that could not tell the atoms apart could not learn one graph with different ones by heart."""
    batch = collate(Graph().space, samples_of(Graph, [("xyy", ((1, 0),))]))
    family = trained(batch, steps=60, toy=Graph)
    assert family.log_density(batch, rng=rows_of(batch)).value.item() > -0.5


# --- the contract -----------------------------------------------------------------------------------


class Pooling(Backbone):
    """Reads and writes every arrangement, points too, in the plainest way: sums in, a vector for each place out."""

    layouts = frozenset(Layout)

    def __init__(self, inputs, outputs, config, condition=None):
        super().__init__(inputs, outputs, config, condition)
        self.read = nn.ModuleDict({name: nn.LazyLinear(8) for name in inputs})
        self.write = nn.ModuleDict({name: nn.Linear(8 + len(head.axes), head.width) for name, head in outputs.items()})

    def forward(self, batch, time, condition):
        total = 0.0
        for name, field in self.inputs.items():
            x = batch.fields[name].float()
            total = total + self.read[name](x.reshape(len(batch), -1, math.prod(field.channels_shape)).sum(1)).tanh()
        found = {}
        for name, head in self.outputs.items():
            lengths = [int(batch.sizes[a.name].max()) if a.variable else a.maximum for a in head.axes]
            places = torch.ones(lengths).nonzero().float().view(*lengths, len(lengths))
            vector = total.view(len(batch), *(1 for _ in lengths), 8).expand(len(batch), *lengths, 8)
            found[name] = self.write[name](torch.cat([vector, places.expand(len(batch), *places.shape)], -1))
        return found


@pytest.mark.parametrize("toy", TOYS)
def test_encode_and_decode_have_their_shapes_over_every_toy(toy):
    torch.manual_seed(0)
    space, batch = toy().space, a_batch(toy)
    family = VAE(space, make_build(Pooling, None, None), VAEConfig(slots=3, channels=2, coarseness=2)).eval()
    field = family.latent_space[LATENT]
    shape = (len(batch), *(axis.maximum for axis in field.axes), 2)
    mean, drawn = family.encode(batch), family.encode(batch, rng=rows_of(batch))
    assert mean.fields[LATENT].shape == drawn.fields[LATENT].shape == shape
    assert not torch.equal(mean.fields[LATENT], drawn.fields[LATENT])
    for rng in (None, rows_of(batch)):
        for sizes in (None, batch.sizes):
            decoded = family.decode(mean, rng=rng, sizes=sizes or None).batch
            _require_in_space(space, decoded, len(batch))
            for name, size in (sizes or {}).items():
                assert torch.equal(decoded.sizes[name], size)
    _require_in_space(space, family.sample(7, rng=Rng(0, range(7))).batch, 7)
    density = family.log_density(batch, rng=rows_of(batch), draws=3)
    assert torch.isfinite(density.value).all()
    assert density.dims.tolist() == sum(packed.mask.sum(1) for packed in pack(space, batch).values()).tolist()
    assert torch.isfinite(family.loss(batch, None, rows_of(batch)).total).all()


def _require_in_space(space, batch, rows):
    assert len(batch) == rows
    for name, field in space.items():
        tensor, exists = batch.fields[name], field_mask(space, batch, name)
        assert tensor.shape == (*exists.shape, *field.channels_shape)
        if isinstance(field, Categorical):
            assert tensor.dtype == torch.int64
            assert ((tensor >= 0) & (tensor < field.classes)).all()
            assert not field.symmetric or torch.equal(tensor, tensor.transpose(1, 2))
        elif field.centred:
            torch.testing.assert_close(tensor.sum(1), torch.zeros_like(tensor[:, 0]), rtol=0, atol=1e-4)


def test_points_with_a_network_that_is_not_made_for_them_are_refused():
    with pytest.raises(UnsupportedSpace, match="equivariant"):
        a_model(Points().space)


@every_decoder
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_seed_gives_the_same_samples_in_batches_of_any_size(decoder, dtype):
    for space in (Tokens().space, Graph().space, SPACES["label, frame and word"]):
        family = a_model(space, decoder, dtype=dtype)
        whole = keys(space, family.sample(60, rng=Rng(5, range(60))).batch)
        parts = [family.sample(20, rng=Rng(5, range(k, k + 20))).batch for k in range(0, 60, 20)]
        assert [key for part in parts for key in keys(space, part)] == whole
        assert whole != keys(space, family.sample(60, rng=Rng(6, range(60))).batch)


@every_decoder
def test_densities_depend_on_neither_padding_nor_neighbours(decoder):
    space = words(0, 5)
    batch = collate(space, [{"x": np.arange(n) % 2} for n in (3, 0, 1, 2)])
    family = a_model(space, decoder)
    together = family.log_density(batch, rng=rows_of(batch)).value
    for row, sample in enumerate(separate(space, batch)):
        alone = family.log_density(collate(space, [sample]), rng=Rng(0, [row])).value
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-6)
    longer = batch.with_fields({"x": nn.functional.pad(batch.fields["x"], (0, 2))})
    torch.testing.assert_close(family.log_density(longer, rng=rows_of(batch)).value, together)


@every_decoder
def test_sizes_that_are_asked_for_come_out(decoder):
    family = a_model(Graph().space, decoder)
    sizes = torch.tensor([1, 2, 3] * 10)
    drawn = family.sample(30, rng=Rng(0, range(30)), sizes={"atom": sizes}).batch
    assert torch.equal(drawn.sizes["atom"], sizes)
    with pytest.raises(ValueError, match=r"atom.* from 1 to 3|between 1 and 3"):
        family.sample(1, sizes={"atom": torch.tensor([4])})


def test_a_beginning_is_kept_by_the_autoregressive_decoder_and_refused_by_the_other():
    space = Tokens().space
    part = collate(space, samples_of(Tokens, ["ba"])).take(torch.zeros(20, dtype=torch.long))
    known = Partial(part, {"letters": field_mask(space, part, "letters")})
    family = a_model(space, "autoregressive")
    assert family.capability.known is Known.PREFIX
    drawn = separate(space, family.sample(20, rng=Rng(0, range(20)), known=known).batch)
    assert all(sample["letters"][:2].tolist() == [1, 0] for sample in drawn)
    one_shot = a_model(space)
    assert one_shot.capability.known is Known.NONE
    with pytest.raises(ValueError, match="decoder=autoregressive"):
        one_shot.sample(20, known=known)


def test_colder_samples_vary_less():
    for decoder in DECODERS:
        family = a_model(Tokens().space, decoder, away=0.1)
        options = {"temperature": 1e-6, "prior_temperature": 0.0}
        assert len(set(keys(family.space, family.sample(40, rng=Rng(0, range(40))).batch))) > 5
        coldest = set(keys(family.space, family.sample(40, rng=Rng(0, range(40)), **options).batch))
        assert len(coldest) <= (3 if decoder == "one_shot" else 1)


@pytest.mark.parametrize(
    ("decoder", "options", "words"),
    [
        ("one_shot", {"heat": 2}, r"no option heat; known: temperature"),
        ("one_shot", {"top_k": 2}, r"no option top_k"),
        ("autoregressive", {"heat": 2}, r"no option heat; known: temperature, top_k, top_p"),
        ("one_shot", {"temperature": 0}, "temperature must be above 0"),
        ("autoregressive", {"temperature": 0}, "temperature must be above 0"),
        ("one_shot", {"prior_temperature": -1}, "prior_temperature must be at least 0"),
    ],
)
def test_options_without_meaning_are_refused(decoder, options, words):
    with pytest.raises(ValueError, match=words):
        a_model(Tokens().space, decoder).sample(2, **options)


def test_the_density_takes_draws_and_nothing_else():
    family, batch = a_model(Tokens().space, draws=3), a_batch(Tokens)
    default = family.log_density(batch, rng=rows_of(batch))
    torch.testing.assert_close(default.value, family.log_density(batch, rng=rows_of(batch), draws=3).value)
    assert family.log_density(batch, draws=1).standard_error is None
    with pytest.raises(ValueError, match="no option samples; known: draws"):
        family.log_density(batch, samples=3)
    with pytest.raises(ValueError, match="draws must be at least 1"):
        family.log_density(batch, draws=0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"decoder": "two_shot"}, "no decoder 'two_shot'; known: one_shot, autoregressive"),
        ({"beta": -1.0}, "beta"),
        ({"free_bits": math.inf}, "free_bits"),
        ({"word_dropout": 1.0}, "word_dropout"),
        ({"warmup": 1.5}, "warmup"),
        ({"draws": 0}, "draws"),
        ({"slots": 0}, "slots"),
    ],
)
def test_settings_without_meaning_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        a_model(Tokens().space, **settings)


def test_numbers_cannot_go_along_a_walk():
    with pytest.raises(UnsupportedSpace, match="Real field"):
        a_model({"height": Real()}, "autoregressive")


def test_the_first_samples_have_the_frequencies_of_the_data():
    torch.manual_seed(0)
    batch = collate(Choices().space, samples_of(Choices, [(0, 0)] * 70 + [(1, 1)] * 30))
    build = make_build(Transformer, TransformerConfig(width=12, layers=1, heads=2), None)
    family = VAE(Choices().space, build, VAEConfig(**TINY)).eval()
    with torch.no_grad():
        for head in family.decoder.network.heads.values():
            head.weight.zero_()
    family.initialise(batch, measure(family.space, [batch]))
    drawn = family.sample(2000, rng=Rng(0, range(2000))).batch.fields
    assert (drawn["colour"] == 1).double().mean().item() == pytest.approx(0.3, abs=0.03)
    assert (drawn["member"] == 1).double().mean().item() == pytest.approx(0.3, abs=0.03)


def test_a_last_layer_may_speak_for_several_places():
    """The recurrent network says all places of a fixed axis at once, with one row of weights for each."""
    torch.manual_seed(0)
    space = SPACES["fixed size"]
    batch = Batch({"x": (torch.rand(400, 3) < 0.25).long()}, {})
    build = make_build(Recurrent, RecurrentConfig(width=8, layers=1, embedding=4), None)
    family = VAE(space, build, VAEConfig(**TINY)).eval()
    family.initialise(batch, measure(space, [batch]))
    with torch.no_grad():
        family.decoder.network.heads["x"].weight.zero_()
    drawn = family.sample(2000, rng=Rng(0, range(2000))).batch.fields["x"]
    assert drawn.double().mean(0).tolist() == pytest.approx([0.25] * 3, abs=0.05)
