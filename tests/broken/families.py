"""Families that break one guarantee each: the autoregressive one, changed."""

from dataclasses import replace

import torch
from torch import nn

from molgen.batch import Batch
from molgen.errors import UnsupportedSpace
from molgen.families.autoregressive import Autoregressive
from molgen.family import Density, Generated, LogDensity, Loss
from molgen.seeding import Rng
from molgen.space import Axis, Real
from molgen.testing.batches import asked_for


class ChangedLoss(Autoregressive):
    def loss(self, batch, condition, rng, phase="model"):
        return Loss(self.changed(super().loss(batch, condition, rng, phase).total, batch))


class ScalarPart(Autoregressive):
    def loss(self, batch, condition, rng, phase="model"):
        total = super().loss(batch, condition, rng, phase).total
        return Loss(total, {"part": total.mean()})


class InfinitePart(Autoregressive):
    def loss(self, batch, condition, rng, phase="model"):
        total = super().loss(batch, condition, rng, phase).total
        return Loss(total, {"part": total / 0})


class InfiniteValidation(Autoregressive):
    def validate(self, batch, condition, rng):
        return Loss(super().validate(batch, condition, rng).total / 0)


class WithSpare(Autoregressive):
    """Has a parameter that nothing uses."""

    def __init__(self, *args):
        super().__init__(*args)
        self.spare = nn.Parameter(torch.zeros(2))


class ForgottenParameter(WithSpare):
    @property
    def phases(self):
        return {"model": self.backbone}


class NoisyLoss(ChangedLoss):
    def changed(self, total, batch):
        return total + 0.1 * torch.randn(())


class CoupledLoss(ChangedLoss):
    def changed(self, total, batch):
        return total + total.mean()


class DeclaredCoupledLoss(CoupledLoss):
    capability = replace(Autoregressive.capability, coupled=True)


class SeesPadding(ChangedLoss):
    def changed(self, total, batch):
        return total + 0.1 * batch.fields["letters"].shape[1]


class DensitySeesPadding(Autoregressive):
    """It says nothing of its samples, which have padding."""

    def log_density(self, batch, condition=None, rng=None, **options):
        density = super().log_density(batch, condition, rng, **options)
        padding = batch.fields["letters"].shape[1] - batch.sizes["length"]
        return replace(density, value=density.value - 0.1 * padding)

    def sample(self, *args, **options):
        return Generated(super().sample(*args, **options).batch)


class DiesOfTraining(ChangedLoss):
    trained = False

    def changed(self, total, batch):
        self.trained = self.trained or self.training
        return total

    def sample(self, *args, **options):
        if self.trained:
            raise RuntimeError("no samples after training")
        return super().sample(*args, **options)


class InfiniteAfterSteps(Autoregressive):
    """The loss is no number once the weights have left where they started."""

    start = None

    def loss(self, batch, condition, rng, phase="model"):
        total = super().loss(batch, condition, rng, phase).total
        weight = next(self.parameters()).detach()
        self.start = weight.clone() if self.start is None else self.start
        return Loss(total if torch.equal(weight, self.start) else total * torch.nan)


class SharedCopy(Autoregressive):
    def __deepcopy__(self, memo):
        return self


class LosesTrainingState(Autoregressive):
    def __init__(self, *args):
        super().__init__(*args)
        self.buffer = torch.rand(2)

    def training_state(self):
        return {"buffer": self.buffer}


class ForgetsWhatItLearned(Autoregressive):
    """Draws by a number that is not saved."""

    def __init__(self, *args):
        super().__init__(*args)
        self.salt = float(torch.rand(()))

    def sample(self, count, condition=None, rng=None, known=None, sizes=None, **options):
        rng = rng.fold(str(self.salt)) if rng is not None else None
        return super().sample(count, condition, rng, known, sizes, **options)


class KeepsWhatItLearned(ForgetsWhatItLearned):
    """The same number in its state, so that nothing is broken."""

    def state(self):
        return {"salt": self.salt}

    def load_state(self, state):
        self.salt = state["salt"]


class ChangedSamples(Autoregressive):
    def sample(self, count, condition=None, rng=None, known=None, sizes=None, **options):
        drawn = super().sample(count, condition, rng, known, sizes, **options)
        return replace(drawn, batch=self.changed(drawn.batch))


class DirtyPadding(ChangedSamples):
    def changed(self, batch):
        letters = batch.fields["letters"]
        outside = torch.arange(letters.shape[1]) >= batch.sizes["length"][:, None]
        return batch.with_fields({"letters": torch.where(outside, 1, letters)})


class ForeignClass(ChangedSamples):
    def changed(self, batch):
        # Only where nothing is asked of the samples but to lie in the space.
        return batch.with_fields({"letters": batch.fields["letters"] + 2}) if len(batch) == 3 else batch


class OneTooFew(ChangedSamples):
    def changed(self, batch):
        return batch.take(slice(1, None)) if len(batch) == 3 else batch


class DrawsByItself(Autoregressive):
    def sample(self, count, condition=None, rng=None, known=None, sizes=None, **options):
        return super().sample(count, condition, None, known, sizes, **options)


class DrawsByPlace(Autoregressive):
    """The noise of a row is that of its place in the batch."""

    def sample(self, count, condition=None, rng=None, known=None, sizes=None, **options):
        rng = Rng(rng.seed, range(count)) if rng is not None else None
        return super().sample(count, condition, rng, known, sizes, **options)


class AlwaysTheSame(Autoregressive):
    def sample(self, count, condition=None, rng=None, known=None, sizes=None, **options):
        rng = Rng(0, rng.items) if rng is not None else None
        return super().sample(count, condition, rng, known, sizes, **options)


class IgnoresSizes(Autoregressive):
    def sample(self, count, condition=None, rng=None, known=None, sizes=None, **options):
        return super().sample(count, condition, rng, known, None, **options)


class AbsentIsGiven(Autoregressive):
    """Takes no condition for the first one."""

    def loss(self, batch, condition, rng, phase="model"):
        if condition is None and self.condition_space:
            condition = asked_for(len(batch))
        return super().loss(batch, condition, rng, phase)


class LosesRowsUnderConditions(Autoregressive):
    def sample(self, count, condition=None, rng=None, known=None, sizes=None, **options):
        drawn = super().sample(count, condition, rng, known, sizes, **options)
        return drawn if condition is None else Generated(drawn.batch.take(slice(1, None)))


class IgnoresKnown(Autoregressive):
    def sample(self, count, condition=None, rng=None, known=None, sizes=None, **options):
        return super().sample(count, condition, rng, None, sizes, **options)


class RefusesWhatItDeclares(Autoregressive):
    def sample(self, count, condition=None, rng=None, known=None, sizes=None, **options):
        if known is not None:
            raise ValueError("nothing known, please")
        return super().sample(count, condition, rng, None, sizes, **options)


class TakesAnyOption(Autoregressive):
    def sample(self, count, condition=None, rng=None, known=None, sizes=None, **options):
        return super().sample(count, condition, rng, known, sizes)


class ChangedDensity(Autoregressive):
    def log_density(self, batch, condition=None, rng=None, **options):
        return self.changed(super().log_density(batch, condition, rng, **options))


class CountsOneMore(ChangedDensity):
    def changed(self, density):
        return replace(density, dims=density.dims + 1)


class WeakerThanDeclared(ChangedDensity):
    def changed(self, density):
        return replace(density, kind=Density.UNNORMALISED)


class DifferentAlone(ChangedDensity):
    def changed(self, density):
        return replace(density, value=density.value + 0.01) if len(density.value) == 1 else density


class TooLikely(ChangedDensity):
    """In what it says of samples, too."""

    def changed(self, density):
        return replace(density, value=density.value + 0.05)

    def sample(self, *args, **options):
        drawn = super().sample(*args, **options)
        return replace(drawn, log_density=self.changed(drawn.log_density))


class BoundAbove(ChangedDensity):
    capability = replace(Autoregressive.capability, density=Density.LOWER_BOUND)

    def changed(self, density):
        return LogDensity(density.value + 0.3, Density.LOWER_BOUND, density.dims)


class DrawsTooHot(Autoregressive):
    def sample(self, *args, **options):
        return super().sample(*args, **{"temperature": 20.0, **options})


class SaysOtherDensities(Autoregressive):
    def sample(self, *args, **options):
        drawn = super().sample(*args, **options)
        return replace(drawn, log_density=replace(drawn.log_density, value=drawn.log_density.value - 1))


class UndeclaredLatents(Autoregressive):
    @property
    def latent_space(self):
        return {"latent": Real(channels=(2,))}


class WrongLatents(Autoregressive):
    """One latent too many."""

    capability = replace(Autoregressive.capability, latent=True)

    @property
    def latent_space(self):
        return {"latent": Real((Axis("slot", 2, variable=False),))}

    def encode(self, batch, condition=None, rng=None):
        return Batch({"latent": torch.zeros(len(batch), 3)}, {})


class RefusesAllSpaces(Autoregressive):
    def __init__(self, *args):
        raise UnsupportedSpace("this family takes nothing at all")


BROKEN = {
    ScalarPart: {"loss_is_a_finite_number_per_item"},
    InfinitePart: {"loss_is_a_finite_number_per_item"},
    InfiniteValidation: {"loss_is_a_finite_number_per_item"},
    ForgottenParameter: {"every_parameter_has_a_phase"},
    WithSpare: {"gradients_reach_every_parameter"},
    NoisyLoss: {"loss_repeats_with_its_seed"},
    CoupledLoss: {"loss_is_per_item"},
    DeclaredCoupledLoss: set(),
    SeesPadding: {"padding_changes_nothing"},
    DensitySeesPadding: {"padding_changes_nothing"},
    DiesOfTraining: {"training_stays_finite"},
    InfiniteAfterSteps: {"training_stays_finite"},
    SharedCopy: {"can_be_copied"},
    LosesTrainingState: {"training_state_comes_back"},
    ForgetsWhatItLearned: {"weights_come_back"},
    KeepsWhatItLearned: set(),
    DirtyPadding: {"samples_lie_in_the_space"},
    ForeignClass: {"samples_lie_in_the_space"},
    OneTooFew: {"samples_lie_in_the_space"},
    DrawsByItself: {"samples_repeat_with_their_seed"},
    DrawsByPlace: {"samples_repeat_with_their_seed"},
    AlwaysTheSame: {"samples_repeat_with_their_seed"},
    IgnoresSizes: {"sizes_are_honoured"},
    AbsentIsGiven: {"conditions_may_have_gaps"},
    LosesRowsUnderConditions: {"conditions_may_have_gaps"},
    IgnoresKnown: {"known_parts_are_kept"},
    RefusesWhatItDeclares: {"known_parts_are_kept"},
    TakesAnyOption: {"unknown_options_are_refused"},
    CountsOneMore: {"log_density_is_as_declared"},
    WeakerThanDeclared: {"log_density_is_as_declared"},
    DifferentAlone: {"log_density_is_per_item"},
    TooLikely: {"probabilities_sum_to_one"},
    BoundAbove: {"probabilities_sum_to_one"},
    DrawsTooHot: {"samples_follow_the_density"},
    SaysOtherDensities: {"samples_follow_the_density"},
    UndeclaredLatents: {"latents_have_their_space"},
    WrongLatents: {"latents_have_their_space"},
}
