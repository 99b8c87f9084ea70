"""The decoder of samples without order: what it rates, against all orders by brute force."""

from itertools import permutations

import pytest
import torch
from support.orderings import SPACES, every_sample, keys
from support.small_vaes import a_model, by_quadrature, constant, rows_of
from support.toys import Graph

from molgen.batch import Batch, collate, lengths
from molgen.errors import UnsupportedSpace
from molgen.families.parts.latent import LATENT
from molgen.families.vae.assignment import Table, exchanged, hardened, likely_order
from molgen.families.vae.matching import reordered
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real

ATOM, COLUMN = Axis("atom", 4, ordered=False), Axis("column", 2, variable=False)
UNORDERED = {
    "graph": {
        "atoms": Categorical((ATOM,), classes=3),
        "bonds": Categorical((ATOM, ATOM), classes=3, symmetric=True),
    },
    "pairs alone": {"bonds": Categorical((ATOM, ATOM), classes=2, symmetric=True)},
    "two kinds of pairs": {
        "label": Categorical(classes=2),
        "near": Categorical((ATOM, ATOM), classes=2, symmetric=True),
        "atoms": Categorical((ATOM,), classes=2),
        "bonds": Categorical((ATOM, ATOM), classes=3, symmetric=True),
    },
    "rows of columns": {
        "kind": Categorical((ATOM, COLUMN), classes=2),
        "shade": Real((COLUMN, ATOM), channels=(2,), levels=3),
    },
    "numbers": {"x": Real((Axis("atom", 4, variable=False, ordered=False),), channels=(2,))},
}
every_unordered = pytest.mark.parametrize("space", UNORDERED.values(), ids=UNORDERED.keys())


def a_batch(space, rows=40, seed=1):
    """Samples at random, as a one-shot decoder with random weights draws them."""
    return a_model(space, seed=seed).sample(rows, rng=Rng(seed, range(rows))).batch


def rated(family, batch, value=0.4, condition=None):
    """log p(x | z) at one latent."""
    return family.decoder.log_likelihood(batch, constant(family, value, len(batch)), condition, rows_of(batch))


def in_all_orders(space, batch):
    """The batch of rows of one size in every order of its atoms, one batch each."""
    axis = next(axis for field in space.values() for axis in field.axes if axis.name == "atom")
    size = int(batch.sizes["atom"][0]) if batch.sizes else axis.maximum
    length = lengths(space, batch)["atom"]
    for order in permutations(range(size)):
        whole = torch.tensor([*order, *range(size, length)]).repeat(len(batch), 1)
        yield reordered(space, batch, axis, whole)


def of_each_size(batch):
    """The rows of every size by themselves."""
    if not batch.sizes:
        return [batch]
    return [batch.take((batch.sizes["atom"] == n).nonzero()[:, 0]) for n in batch.sizes["atom"].unique()]


@every_unordered
@torch.no_grad()
def test_the_order_found_is_at_most_the_likeliest_and_at_least_the_one_that_came(space):
    one_shot, matched = a_model(space), a_model(space, "matched")
    as_likely = []
    for batch in of_each_size(a_batch(space)):
        every = torch.stack([rated(one_shot, other) for other in in_all_orders(space, batch)])
        found = rated(matched, batch)
        assert (found <= every.amax(0) + 1e-9).all()
        assert (found >= every[0] - 1e-9).all()
        as_likely.append(found > every.amax(0) - 1e-6)
    # The search is none through all orders.
    assert torch.cat(as_likely).double().mean() > 0.9


@every_unordered
@torch.no_grad()
def test_what_is_found_hardly_depends_on_the_order_that_came(space):
    matched = a_model(space, "matched")
    for batch in of_each_size(a_batch(space)):
        first, *others = (rated(matched, other) for other in in_all_orders(space, batch))
        for other in others:
            assert ((first - other).abs() < 1e-6).double().mean() > 0.8


@torch.no_grad()
def test_the_probabilities_of_all_graphs_without_order_sum_to_at_most_one():
    """Each graph is counted once, by the first of its orders among all samples."""
    space = Graph().space
    matched, one_shot = a_model(space, "matched"), a_model(space)
    whole, found = 0.0, 0.0
    for batch in every_sample(space):
        of_orders = [keys(space, other) for other in in_all_orders(space, batch)]
        first = [k == min(some) for k, some in zip(keys(space, batch), zip(*of_orders, strict=True), strict=True)]
        whole += rated(one_shot, batch).exp().sum().item()
        found += rated(matched, batch)[torch.tensor(first)].exp().sum().item()
    assert whole == pytest.approx(1, abs=1e-9)
    assert found <= 1 + 1e-9


@torch.no_grad()
def test_training_searches_from_a_share_of_its_steps_on_and_a_density_always():
    space = UNORDERED["graph"]
    family, batch = a_model(space, "matched", search_after=0.5), a_batch(space)
    as_it_comes, found = rated(a_model(space), batch), rated(family, batch)
    assert not torch.allclose(found, as_it_comes)
    for step, expected in ((0, as_it_comes), (49, as_it_comes), (50, found), (99, found)):
        family.begin_step(step, 100)
        torch.testing.assert_close(rated(family.train(), batch), expected)
        torch.testing.assert_close(rated(family.eval(), batch), found)


@pytest.mark.parametrize("decoder", ["one_shot", "matched", "autoregressive"])
@torch.no_grad()
def test_an_encoder_sees_the_order_where_it_is_told_to(decoder):
    """And then padding and neighbours still change nothing."""
    space = UNORDERED["graph"]
    for ordered in (True, False):
        family = a_model(space, decoder, ordered_encoder=ordered)
        batch = next(one for one in of_each_size(a_batch(space)) if int(one.sizes["atom"][0]) == 3)
        latents = [family.encode(other).fields[LATENT] for other in in_all_orders(space, batch)]
        assert all(torch.allclose(latents[0], other) for other in latents[1:]) is not ordered
        for row in range(len(batch)):
            alone = family.encode(batch.take(slice(row, row + 1))).fields[LATENT]
            torch.testing.assert_close(alone, latents[0][row : row + 1])


@pytest.mark.parametrize("name", ["picture", "word with columns", "label, frame and word", "pairs first"])
@torch.no_grad()
def test_what_has_an_order_is_rated_in_it(name):
    space = SPACES[name]
    one_shot, matched = a_model(space), a_model(space, "matched")
    for batch in every_sample(space):
        torch.testing.assert_close(rated(matched, batch), rated(one_shot, batch))


@torch.no_grad()
def test_draws_are_those_of_the_one_shot_decoder():
    space = UNORDERED["graph"]
    draws = [a_model(space, decoder).sample(20, rng=Rng(0, range(20))).batch for decoder in ("one_shot", "matched")]
    assert keys(space, draws[0]) == keys(space, draws[1])


@torch.no_grad()
def test_neither_padding_nor_neighbours_change_what_is_found():
    space = UNORDERED["graph"]
    family, batch = a_model(space, "matched"), a_batch(space, rows=12)
    together = rated(family, batch)
    for row in range(len(batch)):
        alone = batch.take(slice(row, row + 1))
        n = int(alone.sizes["atom"])
        small = Batch({"atoms": alone.fields["atoms"][:, :n], "bonds": alone.fields["bonds"][:, :n, :n]}, alone.sizes)
        torch.testing.assert_close(rated(family, small), together[row : row + 1], rtol=0, atol=1e-6)


@torch.no_grad()
def test_bounds_are_at_most_the_density_of_all_orders_together():
    space = Graph().space
    family, one_shot = a_model(space, "matched", away=0.15), a_model(space, away=0.15)
    for item in Graph().examples():
        batch = collate(space, [Graph().encode(item)])
        copies = batch.take(torch.zeros(400, dtype=torch.long))
        found = family.log_density(copies, rng=rows_of(copies), draws=4).value
        orders = {keys(space, other)[0]: other for other in in_all_orders(space, batch)}
        truth = torch.stack([by_quadrature(one_shot, other) for other in orders.values()]).logsumexp(0)
        assert found.mean() <= truth + 3 * found.std() / 20


def test_what_cannot_be_exchanged_is_refused():
    with pytest.raises(UnsupportedSpace, match="'x' has a direction between two of them"):
        a_model({"x": Categorical((ATOM, ATOM), classes=2)}, "matched")
    with pytest.raises(UnsupportedSpace, match="have a common centre"):
        a_model({"x": Real((ATOM,), channels=(2,), centred=True)}, "matched")


# --- the search -----------------------------------------------------------------------------------


def a_table(rows=60, count=5, classes=3, seed=0, scale=2.0):
    """Random worths, and rows of different sizes."""
    torch.manual_seed(seed)
    exists = torch.arange(count) < torch.randint(1, count + 1, (rows, 1))
    pairs = scale * torch.randn(rows, count, count, classes, dtype=torch.float64)
    pairs = (pairs + pairs.transpose(1, 2)) * ~torch.eye(count, dtype=torch.bool)[..., None]
    ids = torch.randint(0, classes, (rows, count, count)).tril(-1)
    between = (exists[:, :, None] & exists[:, None, :])[..., None]
    one = torch.nn.functional.one_hot(ids + ids.transpose(1, 2), classes).double()
    alone = scale * torch.randn(rows, count, count, dtype=torch.float64)
    return Table(exists, alone, [pairs * between], [one])


def by_hand(table, order):
    """The worth of an order, element by element and pair by pair."""
    found = []
    for row, places in enumerate(order.tolist()):
        n = int(table.exists[row].sum())
        total = sum(table.alone[row, i, places[i]] for i in range(n))
        for i in range(n):
            for j in range(i):
                k = table.classes[0][row, places[i], places[j]].argmax()
                total += table.pairs[0][row, i, j, k]
        found.append(total)
    return torch.stack(found)


def test_totals_and_gains_are_those_counted_by_hand():
    table = a_table()
    order = hardened(table)
    before = by_hand(table, order)
    torch.testing.assert_close(table.total(order), before)
    gains = table.gains(order)
    for i, j in [(0, 1), (2, 0), (4, 3)]:
        swapped = order.clone()
        swapped[:, [i, j]] = order[:, [j, i]]
        both = table.exists[:, i] & table.exists[:, j]
        torch.testing.assert_close(gains[both, i, j], (by_hand(table, swapped) - before)[both])
        assert (gains[~both, i, j] == 0).all()


def test_orders_are_orders_of_what_exists_and_no_exchange_is_left():
    table = a_table()
    for order in (hardened(table), likely_order(table)):
        assert torch.equal(order.sort(1).values, torch.arange(5).expand(60, -1))
        assert torch.equal(order[~table.exists], torch.arange(5).expand(60, -1)[~table.exists])
    assert (table.gains(likely_order(table)) < 1e-3).all()


def test_both_starts_are_of_use():
    table = a_table(rows=200, count=6, scale=1.0)
    as_it_is = table.total(exchanged(table, torch.arange(6).repeat(200, 1)))
    other = table.total(exchanged(table, hardened(table)))
    assert (other > as_it_is + 1e-6).any()
    assert (as_it_is > other + 1e-6).any()
    torch.testing.assert_close(table.total(likely_order(table)), torch.maximum(as_it_is, other))
