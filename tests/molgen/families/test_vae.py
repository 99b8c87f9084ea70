"""The variational autoencoder: decoders that are distributions, and its contract."""

import math

import numpy as np
import pytest
import torch
from support.orderings import CONDITION, SPACES, asked, chi_square_p, every_sample, keys
from support.small_vaes import DECODERS, TINY, a_batch, a_model, constant, every_decoder, every_space, rows_of, words
from support.toys import TOYS, Choices, Graph, Points, Tokens, samples_of
from torch import nn

from molgen.backbone import Backbone, make_build
from molgen.backbones.recurrent.causal import Recurrent, RecurrentConfig
from molgen.backbones.transformer.config import TransformerConfig
from molgen.backbones.transformer.network import Transformer
from molgen.batch import Batch, Partial, collate, field_mask, pack, separate
from molgen.data.statistics import measure
from molgen.errors import UnsupportedSpace
from molgen.families.parts.latent import LATENT
from molgen.families.vae import VAE, VAEConfig
from molgen.family import Known
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Layout, Real

# --- decoders are distributions ---------------------------------------------------------------------


@every_space
@every_decoder
def test_under_every_latent_the_probabilities_of_all_samples_sum_to_one(space, decoder):
    """Sizes included: they are charged once."""
    family = a_model(space, decoder, condition=CONDITION)
    total = torch.zeros(3, dtype=torch.float64)
    for batch in every_sample(space):
        for k, condition in enumerate((None, asked(len(batch)), asked(len(batch), given=False))):
            z = constant(family, k - 0.7, len(batch))
            found = family.decoder.log_likelihood(batch, z, condition, rows_of(batch))
            total[k] += found.double().exp().sum()
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-9)


@every_decoder
@pytest.mark.parametrize("name", ["empty allowed", "Graph", "word with columns"])
def test_draws_from_a_latent_are_as_frequent_as_their_probabilities(name, decoder):
    space, count = SPACES[name], 4000
    family = a_model(space, decoder)
    drawn = family.decode(constant(family, 0.4, count), rng=Rng(1, range(count))).batch
    expected = {}
    for batch in every_sample(space):
        found = family.decoder.log_likelihood(batch, constant(family, 0.4, len(batch)), None, rows_of(batch)).exp()
        expected |= dict(zip(keys(space, batch), found.tolist(), strict=True))
    seen = keys(space, drawn)
    assert set(seen) <= set(expected)
    assert chi_square_p(seen, expected, count) > 1e-3


@every_decoder
def test_without_rng_every_choice_is_the_likeliest(decoder):
    family = a_model(words(0, 3), decoder)
    latents = constant(family, 1.0, 3)
    first, again = (separate(family.space, family.decode(latents).batch) for _ in range(2))
    assert len({str(sample) for sample in (*first, *again)}) == 1
    # From likely draws alone: no draw is likelier under a one-shot decoder.
    batch = family.decode(latents.take(torch.tensor([0]))).batch
    best = family.decoder.log_likelihood(batch, latents.take(torch.tensor([0])), None, Rng(0, [0]))
    sizes = {name: size.expand(3) for name, size in batch.sizes.items()}
    others = family.decode(latents, rng=Rng(0, range(3)), sizes=sizes).batch
    found = family.decoder.log_likelihood(others, latents, None, rows_of(others))
    assert decoder == "autoregressive" or (found <= best + 1e-9).all()


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
    longest = {name: int(size.max()) for name, size in batch.sizes.items()}
    shape = (len(batch), *(longest[axis.name] if axis.variable else axis.maximum for axis in field.axes), 2)
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
        ({"decoder": "two_shot"}, "no decoder 'two_shot'; known: one_shot, matched, autoregressive"),
        ({"beta": -1.0}, "beta"),
        ({"free_bits": math.inf}, "free_bits"),
        ({"word_dropout": 1.0}, "word_dropout"),
        ({"warmup": 1.5}, "warmup"),
        ({"warmup_power": 0.0}, "warmup_power"),
        ({"search_after": -0.1}, "search_after"),
        ({"draws": 0}, "draws"),
        ({"slots": 0}, "slots"),
    ],
)
def test_settings_without_meaning_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        a_model(Tokens().space, **settings)


def test_numbers_that_rotate_are_decoded_in_no_order():
    points = {"places": Real((Axis("atom", 3),), channels=(3,), centred=True, rotates=True)}
    with pytest.raises(UnsupportedSpace, match="rotat"):
        a_model(points, "autoregressive")


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
