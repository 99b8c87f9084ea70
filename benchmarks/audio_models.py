"""One trained model of spoken digits: bits per sample, whether its digits are recognised, and how fast it draws.

    molgen train +experiment=fsdd_mulaw --output runs/fsdd-mulaw
    python benchmarks/audio_models.py runs/fsdd-mulaw --result fsdd-mulaw

The log-density is of the test set, takes 0 to 4 of the Free Spoken Digit Dataset, in bits for each sample of the
recordings, no padding: without a condition, and with digit and speaker given. It is of the model's own representation:
only those of one encoder and one kind may be compared; of levels in mel bands, which are no samples, it is in nats for
each recording alone. Drawn are as many clips of each digit and speaker as there are in the test set. An independent
network, trained on recordings alone, says which digit and which speaker it hears; what it says of the test set itself
stands beside, and of the test set as the encoder gives it back. Where several weights of the guidance are named, each
draws some clips of another seed first, and the one of which most digits are heard as asked makes the figures: the test
recordings have no part in that.
"""

from __future__ import annotations

import argparse
import math
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import write_result
from comparing import figures_of
from families import about, options

from molgen.domain import Invalid
from molgen.family import Density
from molgen.model.generative_model import GenerativeModel
from molgen.space import Real
from molgen_datasets.sources.fsdd import DIGITS, FSDD, SPEAKERS
from molgen_plugins.audio.networks import digit_classes, speaker_classes
from molgen_plugins.audio.sound import Sound, canonical, encoded

Conditions = Mapping[str, np.ndarray]


def main() -> None:
    """Measure one model and write its result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run, or of a model")
    parser.add_argument("--each", type=int, default=5, help="draws of each digit and speaker")
    parser.add_argument("--scored", type=int, default=300, help="test recordings")
    parser.add_argument("--sampling", nargs="*", default=[], metavar="NAME=VALUE", help="options of sampling")
    parser.add_argument("--guidance", type=float, nargs="*", default=[], metavar="W", help="weights to choose from")
    parser.add_argument("--tried", type=int, default=2, help="draws of each digit and speaker for each weight")
    parser.add_argument("--scoring", nargs="*", default=[], metavar="NAME=VALUE", help="options of the log-density")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--listen", type=Path, metavar="FOLDER", help="write the first draws as WAV files")
    parser.add_argument("--result", required=True, help="name of the result file")
    args = parser.parse_args()
    model, data = GenerativeModel.load(args.run), FSDD()
    recordings, given = test_set(data)
    result = {"model": about(args.run, model), "real": heard(recordings, given)}
    result["real, encoded and decoded"] = heard(decoded(model, recordings), given)
    if model.family.capability.density is not Density.CRITIC:
        result["log-density"] = density(model, recordings[: args.scored], given, args)
    chosen = options(args.sampling)
    if args.guidance:
        result["guidance"], chosen["guidance"] = tried(model, chosen, args)
    result["draws"] = draws(model, data, chosen, args)
    write_result(args.result, result)


def test_set(data: FSDD) -> tuple[list[Sound], Conditions]:
    """The test recordings, and their digits and speakers by name."""
    records = list(data.records("test"))
    sounds = [sound for record in records if not isinstance(sound := canonical(record.item), Invalid)]
    return sounds, {name: np.array([record.columns[name] for record in records]) for name in ("digit", "speaker")}


def decoded(model: GenerativeModel, sounds: Sequence[Sound]) -> list[Any]:
    """What the encoder of the model gives back of recordings."""
    samples = [model.encoder.encode(sound) for sound in sounds]
    return [sample if isinstance(sample, Invalid) else model.encoder.decode(sample) for sample in samples]


def density(model: GenerativeModel, sounds: Sequence[Sound], given: Conditions, args: Namespace) -> dict[str, Any]:
    """The mean log-density of recordings, without a condition and with those that the model knows."""
    encoded_ = [model.encoder.encode(sound) for sound in sounds]
    known = {name: values[: len(sounds)] for name, values in given.items() if name in model.conditions.space}
    found: dict[str, Any] = {"options": options(args.scoring)}
    for name, condition in (("without a condition", {}), ("with digit and speaker", known)):
        if name != "without a condition" and not known:
            continue
        scored = model.log_density_of(
            encoded_, batch_size=args.batch_size, seed=args.seed, condition=condition, **options(args.scoring)
        )
        found[name] = bits(sounds, [one.log_density for one in scored]) | {"kind": scored[0].kind.name.lower()}
        if not of_samples(model):
            del found[name]["bits per sample"], found[name]["standard error over recordings"]
    return found


def of_samples(model: GenerativeModel) -> bool:
    """Whether what the model is a density of are the samples of the recordings, in classes or levels."""
    return all(not isinstance(field, Real) or field.levels is not None for field in model.encoder.space.values())


def bits(sounds: Sequence[Sound], values: Sequence[float]) -> dict[str, Any]:
    """The mean of log-densities in nats, and in bits for each sample of the recordings that have one."""
    good = [place for place, value in enumerate(values) if math.isfinite(value)]
    lengths = np.array([len(sounds[place].samples) for place in good])
    nats = -np.array([values[place] for place in good])
    each = nats / lengths / math.log(2)
    return {
        "recordings": len(sounds),
        "of no density": len(sounds) - len(good),
        "nats per recording": float(nats.mean()),
        "bits per sample": float(nats.sum() / lengths.sum() / math.log(2)),
        "standard error over recordings": float(each.std(ddof=1) / math.sqrt(len(each))),
    }


def tried(model: GenerativeModel, sampling: dict[str, Any], args: Namespace) -> tuple[dict[str, Any], float]:
    """The share of draws of another seed that are heard as asked for each weight of the guidance, and the best one."""
    asked, found = asked_for(args.tried), {}
    for weight in args.guidance:
        items = drawn(model, asked, args.seed + 1, sampling | {"guidance": weight}, args)
        found[weight] = heard(items, asked)
    return {f"{weight:g}": shares for weight, shares in found.items()}, max(found, key=lambda w: found[w]["digit"])


def asked_for(each: int) -> Conditions:
    """So many of each digit and speaker."""
    return {
        "digit": np.repeat(DIGITS, len(SPEAKERS) * each),
        "speaker": np.tile(np.repeat(SPEAKERS, each), len(DIGITS)),
    }


def drawn(
    model: GenerativeModel, asked: Conditions, seed: int, sampling: Mapping[str, Any], args: Namespace
) -> list[Any]:
    """A clip for each digit and speaker that is asked for, as far as the model can be asked."""
    condition = {name: values for name, values in asked.items() if name in model.conditions.space} or None
    count = len(asked["digit"])
    found = model.sample(count, seed=seed, batch_size=args.batch_size, condition=condition, **sampling)
    return [one.item for one in found]


def draws(model: GenerativeModel, data: FSDD, sampling: dict[str, Any], args: Namespace) -> dict[str, Any]:
    """Clips of every digit and speaker: how long they took, whether they are heard as asked, and the usual metrics."""
    asked = asked_for(args.each)
    condition = {name: values for name, values in asked.items() if name in model.conditions.space}
    count, start = len(asked["digit"]), time.perf_counter()
    items = drawn(model, asked, args.seed, sampling, args)
    seconds = time.perf_counter() - start
    if args.listen is not None:
        keep(items, asked, args.listen)
    sounds = [item for item in items if isinstance(item, Sound)]
    lengths = [sound.seconds for sound in sounds]
    return {
        "options": sampling,
        "count": count,
        "seconds of drawing": seconds,
        "mean duration in seconds": float(np.mean(lengths)) if lengths else None,
        **({"heard as asked": heard(items, condition)} if condition else {}),
        "metrics": figures_of(items, model.domain, data, ["digits"], data.references),
    }


def heard(items: Sequence[Any], asked: Conditions) -> dict[str, float]:
    """The share of the items that the network hears as what was asked for; what is no sound is not."""
    networks: Mapping[str, tuple[Callable[..., Any], Sequence[str]]] = {
        "digit": (digit_classes, DIGITS),
        "speaker": (speaker_classes, SPEAKERS),
    }
    good = np.array([isinstance(item, Sound) for item in items])
    sounds = [item for item in items if isinstance(item, Sound)]
    shares = {}
    for name, values in asked.items():
        network, classes = networks[name]
        found = np.full(len(items), "", dtype=object)
        if sounds:
            found[good] = np.array(classes)[network()(sounds).argmax(1)]
        shares[name] = float((found == values).mean())
    return shares


def keep(items: Sequence[Any], asked: Conditions, folder: Path, each: int = 1) -> None:
    """Write the first clips of every digit and speaker."""
    folder.mkdir(parents=True, exist_ok=True)
    seen: dict[str, int] = {}
    for number, item in enumerate(items):
        name = "_".join(str(values[number]) for values in asked.values())
        seen[name] = seen.get(name, 0) + 1
        if seen[name] <= each and isinstance(item, Sound):
            (folder / f"{name}_{seen[name]}.wav").write_bytes(encoded(item))


if __name__ == "__main__":
    main()
