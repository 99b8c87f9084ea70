"""Quality, log-density and speed of one trained model: the row that it has when families are compared.

    molgen train +experiment=qm9_vae --output runs/qm9-vae
    python benchmarks/families.py runs/qm9-vae --dataset qm9 --metrics graph --result qm9-vae
    python benchmarks/families.py runs/graphs --then runs/conformers --dataset qm9_geometry --metrics edm,geometry ...

Raw draws at the model's own distribution are compared with the test split by the domain's metrics; the log-density
is of test items, in nats and in bits per element, with its kind: only exact ones and bounds of the same
representation may be compared. Where the family has a latent space, the share of test items that come back as they
were is given as well. Needs a machine that does nothing else for the speed to mean anything.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from argparse import Namespace
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import write_result
from comparing import figures_of

from molgen.batch import collate, pack
from molgen.config import Part, settings_of
from molgen.data.standardise import standardise
from molgen.dataset import Dataset
from molgen.domain import Domain, Invalid, Item
from molgen.model.generative_model import GenerativeModel
from molgen.model.sampling import Scored
from molgen.model.stages import Model, Stages
from molgen.seeding import Rng

#: Test items that are encoded and decoded.
RECONSTRUCTED = 2000


def main() -> None:
    """Measure one model and write its result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run, or of a model")
    parser.add_argument("--then", type=Path, help="folder of a model that completes what the first one draws")
    parser.add_argument(
        "--encoder",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="settings of the encoder, that of the first of two stages, such as stereo=drop where positions say it",
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the data set")
    parser.add_argument("--metrics", default="graph", help="suites and metrics with commas between them")
    parser.add_argument("--split", default="test", help="the split that is scored and reconstructed")
    parser.add_argument("--count", type=int, default=10_000, help="raw draws")
    parser.add_argument("--scored", type=int, default=10_000, help="test items")
    parser.add_argument("--references", nargs="+", help="of the data set, by name, such as Test (default: all)")
    parser.add_argument("--sampling", nargs="*", default=[], metavar="NAME=VALUE", help="options of sampling")
    parser.add_argument("--scoring", nargs="*", default=[], metavar="NAME=VALUE", help="options of the log-density")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", required=True, help="name of the result file")
    args = parser.parse_args()
    if min(args.count, args.scored) < 1:
        parser.error("--count and --scored are at least 1")
    cls, config = settings_of("dataset", Part(args.dataset, options(args.set)))
    first, data = with_settings(GenerativeModel.load(args.run), options(args.encoder)), cls(config)
    second = GenerativeModel.load(args.then) if args.then else None
    model = Stages(first, second) if second else first
    if unknown := set(args.references or ()) - set(data.references):
        parser.error(f"no reference {min(unknown)!r} of {args.dataset}; known: {', '.join(data.references)}")
    result = {
        "model": about(args.run, first),
        **({"then": about(args.then, second)} if second else {}),
        "quality": quality(model, data, args),
        "log-density": density(model, data, args),
        **({"latent": latent(first, data, args)} if not second and first.family.capability.latent else {}),
    }
    write_result(args.result, result, ("fcd",))


def with_settings(model: GenerativeModel, settings: Mapping[str, Any]) -> GenerativeModel:
    """The model behind other settings of its encoder, where there are any."""
    encoder = model.config.encoder
    return model.with_encoder(Part(encoder.name, {**encoder.settings, **settings})) if settings else model


def options(words: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE words as values of JSON, or text where they are none."""
    return {name: _value(text) for name, _, text in (word.partition("=") for word in words)}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def about(run: Path, model: GenerativeModel) -> dict[str, Any]:
    """What the model is and how it was trained."""
    parameters = sum(parameter.numel() for parameter in model.family.parameters())
    return {
        "name": run.name,
        "configuration": model.config.to_json(),
        "parameters": parameters,
        "weights": model.digest,
        "training": model.info.get("training", {}),
    }


# --- quality --------------------------------------------------------------------------------------


def quality(model: Model, data: Dataset, args: Namespace) -> dict[str, Any]:
    """Raw draws by the metrics of the domain, and how long they took to draw."""
    start = time.perf_counter()
    drawn = model.sample(args.count, seed=args.seed, batch_size=args.batch_size, **options(args.sampling))
    items = [one.item for one in drawn]
    seconds = time.perf_counter() - start
    references = {name: data.references[name] for name in args.references or data.references}
    return {
        "draws": args.count,
        "options": options(args.sampling),
        "seconds of drawing": seconds,
        "draws per second": args.count / seconds,
        "metrics": figures_of(items, model.domain, data, args.metrics.split(","), references),
    }


# --- log-density ----------------------------------------------------------------------------------


def density(model: Model, data: Dataset, args: Namespace) -> dict[str, Any]:
    """The mean log-density of test items, in nats and in bits for each of their elements."""
    items = held_out(model.domain, data, args.split, args.scored)
    start = time.perf_counter()
    encoded = [item if isinstance(item, Invalid) else model.encoder.encode(item) for item in items]
    scored = model.log_density_of(encoded, batch_size=args.batch_size, seed=args.seed, **options(args.scoring))
    seconds = time.perf_counter() - start
    good = [place for place, one in enumerate(scored) if math.isfinite(one.log_density)]
    values = np.array([scored[place].log_density for place in good])
    # A first stage has elements of its own beside those of the second.
    elements = np.array(
        [scored[place].elements if isinstance(model, Stages) else dimensions(model, encoded[place]) for place in good]
    )
    return {
        "items": len(items),
        "not representable or of no density": len(items) - len(good),
        "options": options(args.scoring),
        "kind": kind(scored),
        "nats per item": float(values.mean()),
        "standard error": float(values.std(ddof=1) / math.sqrt(len(values))),
        "bits per element": float(-values.sum() / elements.sum() / math.log(2)),
        "items per second": len(items) / seconds,
    }


def held_out(domain: Domain, data: Dataset, split: str, count: int) -> list[Item | Invalid]:
    """Items from all over a split in their canonical form, in which models learn them.

    The first ones would not do: QM9 lists small molecules first, which are likelier than the others.
    """
    total = data.splits[split]
    count = min(count, total)
    chosen = (number * count // total < (number + 1) * count // total for number in range(total))
    return [domain.canonical(item) for item in compress(data.items(split), chosen)]


def dimensions(model: GenerativeModel, sample: Mapping[str, np.ndarray] | Invalid) -> int:
    """The free elements of a sample."""
    assert not isinstance(sample, Invalid)
    space = model.encoder.space
    return int(sum(packed.mask.sum() for packed in pack(space, collate(space, [sample])).values()))


def kind(scored: Sequence[Scored]) -> str:
    """What the numbers mean: the weakest kind among them."""
    return min(one.kind for one in scored if one.kind is not None).name.lower()


# --- latent space ---------------------------------------------------------------------------------


def latent(model: GenerativeModel, data: Dataset, args: Namespace) -> dict[str, Any]:
    """The share of test items that their latents' means give back by the likeliest choices, and what latents hold."""
    items = [one for one in held_out(model.domain, data, args.split, RECONSTRUCTED) if not isinstance(one, Invalid)]
    found = model.reconstruct(items, batch_size=args.batch_size)
    same = [equal(model.domain, one, item) for one, item in zip(found, items, strict=True)]
    return {"items": len(items), "reconstructed": float(np.mean(same)), "nats": parts(model, items, args)}


def parts(model: GenerativeModel, items: Sequence[Item], args: Namespace) -> dict[str, float]:
    """The means of the parts of the negative bound, by one draw of the latent, in nats."""
    space, total = model.encoder.space, defaultdict[str, float](float)
    samples = [sample for sample in map(model.encoder.encode, items) if not isinstance(sample, Invalid)]
    for start in range(0, len(samples), args.batch_size):
        batch = collate(space, samples[start : start + args.batch_size])
        rng = Rng(args.seed, range(start, start + len(batch)))
        with torch.no_grad():
            loss = model.family.loss(standardise(space, model.statistics, batch).to(model.device), None, rng)
        for name, values in loss.parts.items():
            total[name] += float(values.detach().sum())
    return {name: value / len(samples) for name, value in total.items()}


def equal(domain: Domain, first: Item | Invalid, second: Item) -> bool:
    """Whether two items are the same for the domain."""
    both = [one if isinstance(one, Invalid) else domain.canonical(one) for one in (first, second)]
    keys = [domain.key(one) for one in both if not isinstance(one, Invalid)]
    return len(keys) == len(both) and keys[0] == keys[1]


if __name__ == "__main__":
    main()
