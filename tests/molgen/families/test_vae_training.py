"""A variational autoencoder through the training loop: stopped and resumed, saved and loaded."""

import json

import numpy as np
import pytest
import torch

from molgen.config import Part
from molgen.data.prepare import TrainingData
from molgen.model.checkpoint import Checkpoint
from molgen.model.generative_model import GenerativeModel
from molgen.training.config import TrainingConfig
from molgen.training.fit import Watcher, fit

ITEMS = [f"C{'C' * (k % 5)}{'NOFSP'[k // 5 % 5]}C{'C' * (k // 25)}" for k in range(50)]
BACKBONES = {
    "transformer": Part("transformer", {"width": 8, "layers": 1, "heads": 2}),
    "recurrent": Part("recurrent", {"width": 8, "layers": 1, "embedding": 4}),
}
CONFIG = TrainingConfig(
    steps=8, batch_size=8, check_every=4, save_every=3, log_every=1, validation=0.2, warmup=1, gradient_shards=2
)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(folder, decoder, backbone, **options):
    family = Part(
        "vae", {"decoder": decoder, "slots": 2, "channels": 2, "word_dropout": 0.2, "warmup": 0.9, "draws": 2}
    )
    model = GenerativeModel(Part("molecules.smiles", {"max_length": 20}), family, BACKBONES[backbone])
    source = TrainingData("some", lambda: ((item, {}) for item in ITEMS), "a")
    return fit(model, source, CONFIG, folder, store=folder.parent / "store", **options)


class Stop(BaseException):
    pass


def stop(progress):
    if progress.step == 4:
        raise Stop


@pytest.mark.parametrize(("decoder", "backbone"), [("one_shot", "transformer"), ("autoregressive", "recurrent")])
def test_a_stopped_run_ends_as_if_it_had_not_been_and_a_loaded_model_is_the_saved_one(tmp_path, decoder, backbone):
    model = trained(tmp_path / "whole", decoder, backbone)
    with pytest.raises(Stop):
        trained(tmp_path / "run", decoder, backbone, watcher=Watcher(progress=stop))
    trained(tmp_path / "run", decoder, backbone, resume=True)
    whole, resumed = (Checkpoint(tmp_path / name / "model").tensors() for name in ("whole", "run"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    loaded = GenerativeModel.load(tmp_path / "run")
    _require_same(model, loaded)
    checks = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    (first, *_) = [line for line in checks if "validation_loss" in line]
    total = first["validation_reconstruction"] + first["validation_kl"]
    assert first["validation_loss"] == pytest.approx(total, rel=1e-5)


def _require_same(model, loaded):
    drawn, again = ([d.item for d in m.sample(20, seed=3)] for m in (model, loaded))
    assert drawn == again
    scores, scores_again = ([s.log_density for s in m.log_density(ITEMS[:5])] for m in (model, loaded))
    assert scores == pytest.approx(scores_again, abs=1e-5)
    np.testing.assert_allclose(model.encode(ITEMS[:5]), loaded.encode(ITEMS[:5]), atol=1e-5)
