"""How long it takes to draw 32 clips of 4,000 samples, with queues and by a plain loop without them.

    python benchmarks/audio_drawing.py

The network has the size of the preset `fsdd_mulaw` and random weights, which cost the same as trained ones. With queues
each layer keeps what it still has to read (`WaveNet.step`), so a sample costs the same wherever it is. The plain loop
runs the network over all that it reaches back, for every sample anew; it is timed over a few samples behind a whole
reach, and stated for all. Both give the same logits, which is checked first. One thread, and a machine that does
nothing else.
"""

from __future__ import annotations

import argparse
import time

import torch
from common import write_result

from molgen.backbone import Head
from molgen.backbones.wavenet import WaveNet, WaveNetConfig
from molgen.batch import Batch
from molgen.config import Part
from molgen.model.generative_model import GenerativeModel
from molgen.ordering import TokenBatch, batch_to_tokens
from molgen.space import Axis, Categorical
from molgen_cli.settings import composed

CLASSES = 256


def main() -> None:
    """Time both and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--plain", type=int, default=5, help="samples that the plain loop draws")
    parser.add_argument("--result", default="audio-drawing", help="name of the result file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = preset()
    with torch.inference_mode():
        network = a_network(WaveNetConfig(**settings), args.samples)
        apart = difference(network, args.clips)
        plain = per_sample(network, args.clips, args.plain) * args.samples
    seconds = with_queues(settings, args.clips, args.samples)
    result = {
        "network": settings,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "choices that an output depends on": network.config.reach,
        "clips": args.clips,
        "samples of each": args.samples,
        "largest difference of logits": apart,
        "seconds": {"queues": seconds, "plain loop": plain},
        "samples per second": {"queues": args.clips * args.samples / seconds},
        "times as fast": plain / seconds,
    }
    write_result(args.result, result)


def preset() -> dict[str, int]:
    """The size of the network in the preset."""
    return dict(composed(["+experiment=fsdd_mulaw"]).model.backbone.settings)


def a_network(config: WaveNetConfig, samples: int) -> WaveNet:
    """A network with random weights over clips of so many samples."""
    torch.manual_seed(0)
    space = a_space(samples)
    return WaveNet(space, {"code": Head(CLASSES, space["code"].axes)}, config).eval()


def a_space(samples: int) -> dict[str, Categorical]:
    """Codes of clips that all have so many samples."""
    return {"code": Categorical((Axis("sample", samples, variable=False),), CLASSES)}


def difference(network: WaveNet, clips: int, samples: int = 64) -> float:
    """The largest difference between the logits of the first samples in both ways."""
    made = random_choices(clips, samples)
    whole, state, before, found = network(made, None, None)["code"], network.start(None, clips), None, 0.0
    for t, step in enumerate(made.ordering.slices):
        logits, state = network.step(step, state, before)
        found = max(found, float((logits - whole[:, t]).abs().max()))
        before = (step, made.ids[:, t])
    return found


def random_choices(clips: int, samples: int) -> TokenBatch:
    """Clips of random codes."""
    return batch_to_tokens(a_space(samples), Batch({"code": torch.randint(CLASSES, (clips, samples))}, {}))


def per_sample(network: WaveNet, clips: int, draws: int) -> float:
    """Seconds for one sample of each clip by a plain loop: the network over its whole reach, then a draw."""
    made = random_choices(clips, network.config.reach)
    start = time.perf_counter()
    for _ in range(draws):
        logits = network(made, None, None)["code"][:, -1]
        drawn = torch.multinomial(logits.softmax(-1), 1)
        made = TokenBatch(made.ordering, torch.cat([made.ids[:, 1:], drawn], dim=1), made.mask)
    return (time.perf_counter() - start) / draws


def with_queues(settings: dict[str, int], clips: int, samples: int) -> float:
    """Seconds in which a model draws the clips, decoding them included."""
    torch.manual_seed(0)
    encoder = Part("audio.mulaw", {"length": samples, "variable": False})
    model = GenerativeModel(encoder, "autoregressive", Part("wavenet", settings))
    model.use(model.build())
    start = time.perf_counter()
    drawn = list(model.sample(clips, seed=0))
    seconds = time.perf_counter() - start
    assert all(len(one.item.samples) == samples for one in drawn)
    return seconds


if __name__ == "__main__":
    main()
