"""The variational autoencoder: what its loss is made of, and that it learns."""

import pytest
import torch
from support.orderings import CONDITION, asked, every_sample
from support.small_vaes import DECODERS, a_batch, a_model, constant, every_decoder, every_space, rows_of, words
from support.toys import Choices, Graph, Grid, Record, Tokens, samples_of

from molgen.backbone import make_build
from molgen.backbones.transformer.config import TransformerConfig
from molgen.backbones.transformer.network import Transformer
from molgen.batch import Batch, collate, separate
from molgen.data.statistics import measure
from molgen.families.parts.latent import LATENT
from molgen.families.vae import VAE, VAEConfig
from molgen.ordering import batch_to_tokens
from molgen.seeding import Rng


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
    unrisen = a_model(Tokens().space, beta=0.8)
    unrisen.begin_step(0, 100)
    assert unrisen.beta == 0.8


def test_a_power_keeps_the_weight_low_for_longer():
    family = a_model(Tokens().space, beta=0.8, warmup=0.5, warmup_power=2)
    weights = []
    for step in (0, 10, 25, 50, 99):
        family.begin_step(step, 100)
        weights.append(family.beta)
    assert weights == pytest.approx([0, 0.8 * 0.2**2, 0.8 * 0.5**2, 0.8, 0.8])


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
    made = batch_to_tokens(family.space, batch)
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
        z = constant(family, 0.1, len(batch))
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
    family.set_statistics(statistics)
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
