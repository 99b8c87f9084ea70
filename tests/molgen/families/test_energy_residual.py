"""A residual energy against enumeration: its partition function, its densities, its samples, what it learns.

Letters in shapes: B batch.
"""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from molgen import registry
from molgen.batch import Batch, Partial, separate
from molgen.families.autoregressive import Autoregressive
from molgen.families.energy import Energy
from molgen.families.energy.config import EnergyConfig
from molgen.families.energy.partition import log_mean_exp
from molgen.families.energy.rows import alike, repeated, together
from molgen.family import Density, Known
from molgen.seeding import Rng
from molgen.space import Categorical
from molgen.testing import SPACES, Case
from molgen.testing.fixtures import FamilyTrial, tiny_config
from molgen.testing.random_samples import enumerate_space

ASKED = {"asked": Categorical(classes=3)}


def over(base, space="words", condition=None, **settings):
    """A small energy, away from its first weights, over a small base."""
    cls = type("Over", (Energy,), {"molgen_trained": {"base": (base,)}})
    trial = FamilyTrial(cls, replace(tiny_config(Energy), **settings), Case.of(space, SPACES[space]))
    return trial.family(condition)


def all_of(space):
    """All samples of a space with classes, a batch for each size."""
    return [batch for batch, _ in enumerate_space(SPACES[space])]


def exact_log_z(family, space, condition=None):
    """log of the sum of q(x) exp(-E(x)) over all samples."""
    terms = []
    for batch in all_of(space):
        asked = condition.take(torch.zeros(len(batch), dtype=torch.long)) if condition else None
        log_q = family.variant.base.family.log_density(batch, family.variant.base.condition(asked)).value
        with torch.no_grad():
            terms.append(log_q - family.variant.energy(batch, asked))
    return torch.cat(terms).logsumexp(0).item()


@pytest.mark.parametrize("space", ["words", "graph"])
def test_the_partition_function_is_that_of_enumeration(space):
    family = over("autoregressive", space)
    draws, seeds = 500, 20
    errors = []
    for seed in range(seeds):
        log_z, error = family.variant._partition(2, None, seed, draws)
        errors.append((log_z[0].item() - exact_log_z(family, space)) / error[0].item())
    spread = torch.tensor(errors).square().mean().sqrt()
    assert 0.5 < spread < 1.6  # the errors are as large as it says
    value, density = (
        exact_log_z(family, space),
        family.log_density(all_of(space)[-1], rng=Rng(0, range(99)), draws=draws),
    )
    assert density.kind is Density.ESTIMATE
    assert (density.standard_error == density.standard_error[0]).all()
    assert density.standard_error[0] < 0.1
    total = sum(family.log_density(b, rng=Rng(0, range(99)), draws=draws).value.exp().sum() for b in all_of(space))
    estimate, _ = family.variant._partition(1, None, 0, draws)
    assert total.log().item() == pytest.approx(value - estimate.item(), abs=1e-4)


def frequencies(family, count=1500, **options):
    drawn = family.sample(count, rng=Rng(3, range(count)), **options).batch
    found = Counter(str(sample["letters"].tolist()) for sample in separate(SPACES["words"], drawn))
    return {word: number / count for word, number in found.items()}


def test_samples_follow_the_energy_the_more_proposals_there_are():
    family = over("autoregressive")
    family.variant.energy.register_forward_hook(lambda module, inputs, output: 2 * output)
    log_z, expected, of_base = exact_log_z(family, "words"), {}, {}
    for batch in all_of("words"):
        log_q = family.variant.base.family.log_density(batch).value
        with torch.no_grad():
            log_p = log_q - family.variant.energy(batch, None) - log_z
        words = [str(sample["letters"].tolist()) for sample in separate(SPACES["words"], batch)]
        expected |= dict(zip(words, log_p.exp().tolist(), strict=True))
        of_base |= dict(zip(words, log_q.exp().tolist(), strict=True))

    def distance(found, due):
        return sum(abs(found.get(word, 0) - chance) for word, chance in due.items()) / 2

    apart = distance(of_base, expected)
    assert apart > 0.2
    assert distance(frequencies(family, proposals=24), expected) < apart / 2
    assert distance(frequencies(family, proposals=24, strength=0), of_base) < apart / 2
    assert distance(frequencies(family, proposals=1), of_base) < apart / 2
    # Each row has the same proposals, whatever is drawn at a time.
    whole = family.sample(40, rng=Rng(0, range(40)), proposals=5).batch
    alone = family.sample(1, rng=Rng(0, [17]), proposals=5).batch
    assert torch.equal(whole.sizes["length"][17:18], alone.sizes["length"])


def test_it_learns_what_the_base_has_wrong():
    family = over("autoregressive", "classes", draws=4000)
    space = SPACES["classes"]
    (batch,) = all_of("classes")
    before = family.variant.base.family.log_density(batch).value
    truth = (-before / 2).softmax(0)  # what the base has least of
    weights = {name: tensor.clone() for name, tensor in family.variant.base.state_dict().items()}
    optimiser = torch.optim.Adam([p for p in family.parameters() if p.requires_grad], lr=0.01)
    family.train()
    assert not family.variant.base.family.training
    for step in range(70):
        rng = Rng(0, range(256)).fold(f"step {step}")
        rows = rng.categorical(truth.expand(256, -1), "data")
        optimiser.zero_grad()
        family.loss(batch.take(rows), None, rng).total.mean().backward()
        optimiser.step()
    family.eval()
    density = family.log_density(batch, rng=Rng(0, range(6)))

    def divergence(log_p):
        return (truth * (truth.log() - log_p)).sum().item()

    assert divergence(before) > 0.15
    assert divergence(density.value) < 0.02
    assert density.value.exp().sum().item() == pytest.approx(1, abs=0.05)
    # The classifier normalises the energy by itself.
    assert family.variant._partition(1, None, 0, 4000)[0].item() == pytest.approx(0, abs=0.1)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in family.variant.base.state_dict().items())
    found = family.diagnose(batch.take(rows), None, rng)
    assert found.values["gain_nats"] > 0.1
    assert found.warnings == ()
    assert space.keys() == batch.fields.keys()


def test_an_energy_may_ask_for_what_its_base_does_not_know():
    """Each condition has a partition function of its own."""
    family = over("autoregressive", condition=ASKED)
    family.variant.base.family.condition_space = {}
    conditions = Partial(Batch({"asked": torch.tensor([0, 1, 2])}, {}), {"asked": torch.tensor([True, True, False])})
    log_z, _ = family.variant._partition(3, conditions, 0, 8000)
    for row in range(3):
        assert log_z[row].item() == pytest.approx(
            exact_log_z(family, "words", conditions.take(torch.tensor([row]))), abs=0.05
        )
    assert len(set(log_z.tolist())) == 3


KINDS = {"autoregressive": Density.ESTIMATE, "diffusion": Density.ESTIMATE, "gan": Density.CRITIC}


@pytest.mark.parametrize("base", KINDS)
def test_a_density_is_as_good_as_that_of_its_base(base):
    family = over(base)
    batch = all_of("words")[-1]
    density = family.log_density(batch, rng=Rng(0, range(len(batch))))
    assert density.kind is family.capability.density is KINDS[base]
    if base == "gan":  # whose critic is no density to be added
        log_z, _ = family.variant._partition(1, None, 0, family.config.draws)
        with torch.no_grad():
            ratio = -family.variant.energy(batch, None) - log_z
        torch.testing.assert_close(density.value, ratio.double(), atol=1e-5, rtol=0)


def test_it_can_do_what_its_base_can():
    family = over("diffusion")
    assert family.capability.guidance
    assert family.capability.known is registry.get("family", "diffusion").capability.known
    assert over("autoregressive").capability.known is Known.PREFIX
    assert len(family.sample(2, rng=Rng(0, range(2)), proposals=2, steps=3).batch) == 2
    known = Partial(all_of("words")[-1].take(torch.arange(2)), {})
    gan = over("gan")
    with pytest.raises(ValueError, match="a gan makes all elements at once"):
        gan.sample(2, known=known)


@pytest.mark.parametrize(
    ("settings", "trained", "message"),
    [
        ({}, (), r"type family\.base=RUN"),
        ({}, ("base", "start"), r"family\.start is for family\.variant=contrastive, not residual"),
        ({"variant": "boltzmann"}, (), r"variant must be one of residual"),
        ({"moves": ("gibbs", "jump")}, (), r"moves are some of gibbs, block, swap, not jump"),
        ({"proposals": 0}, (), r"proposals must be at least 1, not 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(settings, trained, message):
    space = SPACES["words"]
    trial = FamilyTrial(Autoregressive, tiny_config(Autoregressive), Case.of("words", space))
    given = {name: trial.family() for name in trained}
    with pytest.raises(ValueError, match=message):
        Energy(space, trial._build(None), EnergyConfig(**settings), None, **given)


def test_rows_are_told_apart_by_what_is_asked_of_them():
    first, number = alike([torch.tensor([1, 2, 1, 2]), torch.tensor([0.5, 1.0, 0.5, 2.0])], 4)
    assert first.tolist() == [0, 1, 3]
    assert number.tolist() == [0, 1, 0, 2]
    items = repeated(Rng(0, range(300)), 16).items
    assert len(set(items.tolist())) == 300 * 16
    assert repeated(Rng(0, [7]), 2, 3).items.tolist() == repeated(Rng(0, [7]), 8).items.tolist()[3:5]
    words = all_of("words")
    assert [len(batch) for batch in words] == [1, 3, 9, 27]
    joined = together(SPACES["words"], words)
    assert (
        separate(SPACES["words"], joined)[5]["letters"].tolist()
        == separate(SPACES["words"], words[2])[1]["letters"].tolist()
    )


def test_a_mean_of_exponentials_has_an_error():
    values = torch.tensor([0.0, 1.0, 2.0, 1.0], dtype=torch.float64)[:, None]
    value, error = log_mean_exp(values)
    assert value.exp().item() == pytest.approx(values.exp().mean().item())
    assert error.item() == pytest.approx((values.exp().std() / 2 / values.exp().mean()).item())
