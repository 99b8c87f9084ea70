"""Runs of a trainer that are stopped, saved, resumed and compared."""

import torch

from molgen.model.checkpoint import Checkpoint, save_checkpoint


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def run(trainer, **options):
    trainer.run(options.pop("save", lambda trainer: None), **options)
    return trainer


def same(tensors, others):
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, others[name]), name


class Stopped(Exception):
    pass


def stop_after(step):
    def show(progress):
        if progress.step == step:
            raise Stopped

    return show


def saved_to(path):
    """Save as a run does: weights averaged, the rest beside them, numbers through JSON."""

    def save(trainer):
        averaged = trainer.averaged_family.state_dict()
        save_checkpoint(path, {"state": trainer.state_json()}, averaged, "card", {"training": trainer.state_tensors()})

    return save


def timeless(trainer):
    """The numbers of the state that are the same however long the run took."""
    return {name: value for name, value in trainer.state_json().items() if name != "seconds"}


def resumed(trainer, path):
    checkpoint = Checkpoint(path)
    trainer.load(checkpoint.config["state"], checkpoint.tensors("training"), checkpoint.tensors())
    return trainer
