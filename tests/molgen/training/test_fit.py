import json
from contextlib import closing
from shutil import copytree

import numpy as np
import pytest
import torch

from molgen.config import Part
from molgen.data.bloom import BloomFilter
from molgen.data.encode import encode
from molgen.data.prepare import TrainingData
from molgen.data.statistics import count, measure
from molgen.data.store import Store
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen.families.autoregressive import Autoregressive
from molgen.model.checkpoint import Checkpoint, CheckpointError
from molgen.model.generative_model import GenerativeModel
from molgen.training import fit as fit_module
from molgen.training.config import TrainingConfig
from molgen.training.fit import Watcher, fit, held_out_loss
from molgen.training.metrics_log import MetricsLog

ITEMS = [f"C{'C' * (k % 5)}{'NOFSP'[k // 5 % 5]}C{'C' * (k // 25)}" for k in range(50)]
SETTINGS = {"batch_size": 8, "check_every": 2, "save_every": 3, "log_every": 1, "validation": 0.2, "warmup": 1}


# Of the scope of `whole`, whose weights are those of one thread as well.
@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def fresh(conditions=()):
    encoder = Part("molecules.smiles", {"max_length": 20})
    backbone = Part("recurrent", {"width": 8, "layers": 1, "embedding": 4})
    return GenerativeModel(encoder, "autoregressive", backbone, conditions)


def data(items=ITEMS, digest="a", **more):
    return TrainingData("some", lambda: ((item, {}) for item in items), digest, **more)


def trained(folder, model=None, source=None, resume=False, watcher=None, **settings):
    config = TrainingConfig(**{**SETTINGS, "steps": 8, **settings})
    return fit(
        model or fresh(), source or data(), config, folder, store=folder.parent / "s", resume=resume, watcher=watcher
    )


def weights(folder):
    return Checkpoint(folder).tensors()


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Stop(BaseException):
    pass


def stopping_at(step):
    def show(progress):
        if progress.step == step:
            raise Stop

    return Watcher(progress=show)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit") / "whole"
    trained(folder)
    return folder


def test_a_run_that_was_stopped_between_steps_ends_as_if_it_had_not_been(tmp_path, whole):
    for step in (4, 5):  # neither is a step at which the state is saved anyway
        with pytest.raises(Stop):
            trained(tmp_path / "run", resume=True, watcher=stopping_at(step))
        assert Checkpoint(tmp_path / "run" / "resume").config["info"]["resume"]["state"]["step"] == step
    trained(tmp_path / "run", resume=True)
    assert same(weights(tmp_path / "run" / "model"), weights(whole / "model"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    expected = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line.get("loss")) for line in lines] == [
        (line["step"], line.get("loss")) for line in expected
    ]


def test_how_often_a_run_is_saved_logged_and_checked_may_change(tmp_path, whole):
    with pytest.raises(Stop):
        trained(tmp_path / "run", watcher=stopping_at(5))
    trained(tmp_path / "run", resume=True, save_every=2, log_every=3, check_every=5)
    assert same(weights(tmp_path / "run" / "model"), weights(whole / "model"))


def test_how_often_a_run_with_patience_is_checked_may_not_change(tmp_path):
    with pytest.raises(Stop):
        trained(tmp_path / "run", watcher=stopping_at(5), patience=2)
    with pytest.raises(UsageError, match="other training settings \\(check_every\\)"):
        trained(tmp_path / "run", resume=True, patience=2, check_every=5)


def test_resuming_refuses_other_settings_other_parts_and_other_data(tmp_path, whole):
    with pytest.raises(UsageError, match="other training settings \\(batch_size, seed\\)"):
        trained(whole, resume=True, batch_size=4, seed=1)
    with pytest.raises(UsageError, match="on other data than some"):
        trained(whole, source=data(digest="b"), resume=True)
    other = GenerativeModel(Part("molecules.smiles", {"max_length": 21}), "autoregressive", "recurrent")
    with pytest.raises(UsageError, match="another model configuration"):
        trained(whole, other, resume=True)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((), None),
        ((), []),
        (("training",), 3),
        (("training",), {"batch_size": "x"}),
        (("state",), None),
        (("state", "step"), "x"),
        (("state", "step"), 1.5),
        (("state", "since_best"), None),
        (("state", "best"), "x"),
        (("state", "history"), 3),
        (("state", "history"), [[1]]),
        (("state", "averaged"), "x"),
    ],
)
def test_an_odd_state_is_one_line(tmp_path, whole, monkeypatch, place, value):
    copytree(whole, tmp_path / "run")
    read = Checkpoint.__init__

    def odd(self, path):
        read(self, path)
        *outer, last = ("info", "resume", *place)
        node = self.config
        for name in outer:
            node = node[name]
        node[last] = value

    monkeypatch.setattr(Checkpoint, "__init__", odd)
    with pytest.raises((CheckpointError, UsageError)) as caught:
        trained(tmp_path / "run", resume=True)
    assert "\n" not in str(caught.value)


def test_tensors_of_another_run_are_one_line(tmp_path, whole, monkeypatch):
    copytree(whole, tmp_path / "run")
    read = Checkpoint.tensors
    monkeypatch.setattr(Checkpoint, "tensors", lambda self, name="model": dict(list(read(self, name).items())[1:]))
    with pytest.raises(CheckpointError, match="resume is damaged"):
        trained(tmp_path / "run", resume=True)


def test_a_run_from_before_a_setting_existed_is_resumed_with_its_default(tmp_path, whole, monkeypatch):
    read = Checkpoint.__init__

    def without_new_settings(self, path):
        read(self, path)
        saved = self.config["info"]["resume"]
        del saved["training"]["precision"], saved["data"], saved["state"]["seconds"]
        del self.config["model"]["backbone"]["settings"]["dropout"]

    monkeypatch.setattr(Checkpoint, "__init__", without_new_settings)
    trained(whole, resume=True)


def test_the_best_weights_are_kept_where_training_may_stop_early(tmp_path):
    # Steps this large make the held-out loss worse at once.
    model = trained(tmp_path / "run", steps=40, patience=3, learning_rate=0.5, average=0.0, check_every=1)
    history = Checkpoint(tmp_path / "run" / "resume").config["info"]["resume"]["state"]["history"]
    best = min(value for _, value in history)
    assert len(history) < 40
    assert history[-1][1] > best
    assert model.info["training"]["held-out loss (nats)"] == pytest.approx(best, abs=1e-4)


def test_more_steps_go_on_where_the_run_ended(tmp_path, whole):
    notices = []
    copytree(whole, tmp_path / "run")
    trained(tmp_path / "run", resume=True, steps=12, watcher=Watcher(notice=notices.append))
    assert Checkpoint(tmp_path / "run" / "resume").config["info"]["resume"]["state"]["step"] == 12
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    rates = {line["step"]: line["learning_rate"] for line in lines if "loss" in line}
    assert [rates[step] / 2e-3 for step in (8, 9, 12)] == pytest.approx([0, 1 - 9 / 12, 0])
    assert notices == [
        "training goes on to step 12 instead of 8; from here on the learning rate is that of a run of so many steps"
    ]
    with pytest.raises(UsageError, match="other training settings \\(steps\\)"):
        trained(tmp_path / "run", resume=True, steps=10)


def test_fewer_steps_may_be_asked_for_than_were_planned_but_not_than_were_taken(tmp_path):
    with pytest.raises(Stop):
        trained(tmp_path / "run", watcher=stopping_at(5))
    with pytest.raises(UsageError, match="other training settings \\(steps\\)"):
        trained(tmp_path / "run", resume=True, steps=4)
    model = trained(tmp_path / "run", resume=True, steps=6)
    assert model.info["training"]["steps"] == 6
    assert model.info["training"]["learning rate"] == "of a run of 8 steps up to step 5"


def test_an_interrupted_run_can_be_used(tmp_path):
    with pytest.raises(Stop):
        trained(tmp_path / "run", watcher=stopping_at(5))
    model = GenerativeModel.load(tmp_path / "run")
    assert model.unfinished_step == 5
    assert same(model.family.state_dict(), weights(tmp_path / "run" / "resume"))
    model.save(tmp_path / "copy")
    assert GenerativeModel.load(tmp_path / "copy").unfinished_step is None
    assert trained(tmp_path / "run", resume=True).unfinished_step is None
    assert GenerativeModel.load(tmp_path / "run").unfinished_step is None


def test_settings_of_a_former_name_are_read(tmp_path, whole, monkeypatch):
    read = Checkpoint.__init__

    def as_before(self, path):
        read(self, path)
        settings = self.config["info"]["resume"]["training"]
        settings["shards"] = settings.pop("gradient_shards")

    monkeypatch.setattr(Checkpoint, "__init__", as_before)
    trained(whole, resume=True)


def test_a_fresh_family_sees_items_from_everywhere(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(fit_module, "FIRST_ITEMS", 20)
    monkeypatch.setattr(Autoregressive, "initialise", lambda self, batch, statistics: seen.append(batch))
    trained(tmp_path / "run", steps=1)
    (batch,) = seen
    # The last half of the items is the longer one.
    assert len(batch) == 20
    assert batch.sizes["length"].max() == max(map(len, ITEMS))


class Counting(Autoregressive):
    """Needs to know how many parts it was made with, which only the data say."""

    parts = 0

    def initialise(self, batch, statistics):
        self.load_state({"parts": statistics.count})

    def state(self):
        return {"parts": self.parts}

    def load_state(self, state):
        self.parts = state["parts"]
        self.extra = torch.nn.Linear(self.parts, 1)


def test_a_family_is_made_again_from_its_checkpoint_alone(tmp_path, fake_distribution):
    fake_distribution("counting", plugins={"family": {"counting": f"{__name__}:Counting"}})
    model = GenerativeModel(fresh().config.encoder, "counting", fresh().config.backbone)
    with pytest.raises(Stop):
        trained(tmp_path / "run", model, watcher=stopping_at(5))
    model = GenerativeModel(fresh().config.encoder, "counting", fresh().config.backbone)
    trained(tmp_path / "run", model, resume=True)
    loaded = GenerativeModel.load(tmp_path / "run")
    assert loaded.family.extra.in_features == len(ITEMS)
    assert same(loaded.family.state_dict(), weights(tmp_path / "run" / "model"))
    tuned = loaded.with_encoder(loaded.config.encoder)
    assert same(tuned.family.state_dict(), loaded.family.state_dict())


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"steps": 3, "held-out loss (nats)": 20.5, "minutes": 1}, "20.5 nats"),
        ({"held-out loss": 0.25}, "0.25"),
        ({"held-out loss (nats)": "not measured"}, "not measured"),
    ],
)
def test_the_held_out_loss_has_the_unit_of_its_family(training, words):
    assert held_out_loss(training) == words


def test_no_checkpoint_holds_weights_that_are_not_finite(tmp_path, whole):
    model = GenerativeModel.load(whole)
    parameter = next(model.family.parameters())
    parameter.data.flatten()[0] = 1e6
    with pytest.raises(CheckpointError, match="not finite"):
        model.save(tmp_path / "half", half=True)
    parameter.data.flatten()[0] = torch.nan
    with pytest.raises(CheckpointError, match="not finite"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    monkey = pytest.MonkeyPatch()
    monkey.setattr("molgen.model.generative_model.require_finite", lambda *args: None)
    model.save(tmp_path / "model")
    monkey.undo()
    with pytest.raises(CheckpointError, match="not finite"):
        GenerativeModel.load(tmp_path / "model")


def test_the_best_weights_survive_resuming(tmp_path):
    options = {"steps": 40, "patience": 3, "learning_rate": 0.5, "average": 0.0, "check_every": 1}
    trained(tmp_path / "whole", **options)
    steps = Checkpoint(tmp_path / "whole" / "resume").config["info"]["resume"]["state"]["step"]
    with pytest.raises(Stop):
        trained(tmp_path / "run", watcher=stopping_at(steps - 1), **options)
    trained(tmp_path / "run", resume=True, **options)
    assert same(weights(tmp_path / "run" / "model"), weights(tmp_path / "whole" / "model"))


def test_tuning_grows_the_vocabulary_and_keeps_the_keys_of_the_base(tmp_path, whole):
    base = GenerativeModel.load(whole)
    base.keys["before"] = BloomFilter.of(["CC"], 1)
    classes = base.encoder.space["tokens"].classes
    tuned = trained(tmp_path / "run", base, data(["[102Ru]CC", "CC[102Ru]"] * 5, keys=BloomFilter.of(["[102Ru]CC"], 1)))
    assert tuned.encoder.space["tokens"].classes == classes
    assert not isinstance(tuned.encoder.encode("C[102Ru]"), Invalid)
    loaded = GenerativeModel.load(tmp_path / "run")
    assert [loaded.is_novel(item) for item in ("CC", "[102Ru]CC", "CCCCC")] == [False, False, True]


def test_no_usable_row_is_one_line_with_the_reason(tmp_path):
    with pytest.raises(UsageError, match=r"no row of some can be encoded: nothing there \(2 rows\)"):
        trained(tmp_path / "run", source=data([Invalid("nothing there")] * 2))


def test_rows_that_are_left_out_keep_their_numbers(tmp_path):
    stores = []
    trained(tmp_path / "run", source=data(["CC", Invalid("bad"), *ITEMS, "C!"]), watcher=Watcher(stored=stores.append))
    (store,) = stores
    assert isinstance(store, Store)
    assert len(store) == 51
    assert [number for number, _ in store.rejections()] == [1, 52]
    assert sum(store.rejected.values()) == 2


def test_a_store_is_found_again_by_digest_and_never_without_one(tmp_path):
    model = fresh()

    def of(source):
        return encode(model.encoder, model.config.encoder, source, tmp_path, ())

    assert of(data()).path == of(data(["N"])).path
    assert of(data(["N"], digest=None)).path != of(data(["O"], digest=None)).path


def test_classes_are_counted_in_the_store_as_in_batches(tmp_path):
    model = fresh()
    store = encode(model.encoder, model.config.encoder, data(), tmp_path, ())
    assert count(store) == measure(store.space, [store.batch(np.arange(len(store)))])


def test_the_metrics_of_steps_to_be_repeated_and_half_a_line_are_removed(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 3, "loss": 1.0}\n{"step": 2, "lo')
    log = MetricsLog(tmp_path, 2)
    log(3, {"loss": float("nan")})
    log.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"step": 1, "loss": 2.0}, {"step": 3, "loss": None}]


def test_the_metrics_are_read_by_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first, value in ((0, 1.0), (2, 5.0)):  # the second session begins again after step 2
        with closing(MetricsLog(tmp_path, first)) as log:
            for step in range(first + 1, 5):
                log(step, {"loss": value / step})
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss")
    assert [(one.step, one.value) for one in found] == [(1, 1.0), (2, 0.5), (3, pytest.approx(5 / 3)), (4, 1.25)]
