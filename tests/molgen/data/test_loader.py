"""What training steps are made of: batches of a plan, and rows held out."""

from collections import Counter

import numpy as np
import pytest
from support.toys import Tokens, every_item

from molgen.data.conditions import Conditions
from molgen.data.encode import write_store
from molgen.data.loader import BatchPlan, Data
from molgen.errors import UsageError


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """All words of the toy, each with its length as a number to condition on."""
    rows = [(word, {"length": float(len(word))}) for word in every_item(Tokens)]
    return write_store(tmp_path_factory.mktemp("stores") / "tokens", Tokens, Tokens().space, rows, ["length"])


def data_of(store, limit=5000):
    return Data.split(store, Conditions.fit(store.columns), 0.2, limit=limit, seed=0)


@pytest.mark.parametrize(("items", "size"), [(1, 8), (8, 8), (100, 8), (1000, 3), (7, 100)])
def test_every_epoch_holds_every_item_once(items, size):
    sizes = np.random.default_rng(0).integers(1, 30, items)
    plan = BatchPlan(sizes, size, seed=0)
    epochs = [
        Counter(
            int(row) for step in range(epoch * plan.per_epoch, (epoch + 1) * plan.per_epoch) for row in plan.rows(step)
        )
        for epoch in range(3)
    ]
    assert all(epoch == Counter(range(items)) for epoch in epochs)


def test_batches_mix_all_sizes_unless_they_are_pooled_in_a_new_order_each_epoch():
    sizes = np.random.default_rng(0).integers(1, 30, 400)
    mixed, pooled = (BatchPlan(sizes, 8, seed=0, pool=pool) for pool in (1, 50))
    spread = {plan: np.mean([np.ptp(sizes[plan.rows(step)]) for step in range(50)]) for plan in (mixed, pooled)}
    assert spread[pooled] < 2
    assert spread[mixed] > 15
    for plan in (mixed, pooled):
        assert not np.array_equal(plan.rows(0), plan.rows(plan.per_epoch))


def test_a_step_has_the_same_batch_wherever_a_run_begins():
    sizes = np.random.default_rng(0).integers(1, 30, 100)
    whole = [BatchPlan(sizes, 8, seed=3).rows(step) for step in range(40)]
    plan = BatchPlan(sizes, 8, seed=3)
    for step in (39, 0, 17, 16):
        np.testing.assert_array_equal(plan.rows(step), whole[step])


def test_held_out_items_are_not_trained_on(store):
    data = data_of(store)
    assert len(data.held_out) == int(len(store) * 0.2)
    assert sorted([*data.train, *data.held_out]) == list(range(len(store)))


def test_conditions_come_with_their_rows(store):
    _, condition = data_of(store).batch(np.array([0, 38]))
    fitted = Conditions.fit(store.columns)
    assert condition.batch.fields["length"].tolist() == pytest.approx(
        [(length - fitted.means[0]) / fitted.scales[0] for length in (1, 3)]
    )


def test_nothing_to_train_on_is_an_error(tmp_path):
    empty = write_store(tmp_path / "empty", Tokens, Tokens().space, [])
    with pytest.raises(UsageError, match="no item to train on"):
        Data.split(empty, Conditions(), 0.2, limit=5, seed=0)


def test_some_rows_are_chosen_at_random_and_again_by_their_seed(store):
    data = data_of(store)
    rows = data.some(10, seed=3)
    assert len(set(rows.tolist())) == 10
    assert set(rows) <= set(data.train)
    assert max(rows) > 20
    np.testing.assert_array_equal(rows, data.some(10, seed=3))
    assert not np.array_equal(rows, data.some(10, seed=4))
    np.testing.assert_array_equal(data.some(10**6, seed=0), data.train)
    assert set(data.some(5, seed=0, held_out=True)) <= set(data.held_out)
    assert set(data_of(store, limit=0).some(5, seed=0, held_out=True)) <= set(data.train)
