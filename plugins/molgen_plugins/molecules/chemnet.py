"""The activations of ChemNet, behind the Fréchet ChemNet distance (Preuer et al., J. Chem. Inf. Model. 58(9), 2018).

ChemNet reads a SMILES string as 350 places of one-hot tokens, those behind its end zero. Two convolutions
of stride 2 without bias make 175 and then 88 positions of 32 channels, and zero stays zero. The first
recurrent layer (128 units) reads them from the last to the first, the second (512 units) from the first
to the last; its state behind position 87 is the result.

A molecule of T tokens, its end among them, reaches M = (T + 2) // 4 + 1 positions: about 11 of 88 for a
drug-like one. The positions behind it need much less, and the result stays the same:

- convolutions: nothing, they give zeros;
- first layer: it comes from the padding, so its states there are those of an empty string for every
  molecule. They are found once, and a molecule starts from the one at its last position;
- second layer: it leaves the molecule into the padding, so its state moves on for each molecule, and the
  product of that state (512) with the recurrent weights (2048, 512) is needed at all 88 positions, which
  is 95 % of the work that is left. What it reads there is the same for all molecules, so that the product
  with the input weights (2048, 128) is a constant, found once for each position.

States are kept as columns, so that gates are contiguous rows, and molecules run in large blocks of similar
length.

Letters in shapes: N molecules of a block, T places, M positions, H units of a layer.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from molgen.errors import MolgenError

#: The weights, a file of the package `fcd`.
WEIGHTS = "ChemNet_v0.13_pretrained.pt"
#: The tokens in the order of the input channels; X stands for all others, and a dot ends a string.
VOCABULARY = (*"CNOHF", "Cl", *"PB", "Br", *"SI", "Si", *"#()+-12345678=[]@cnosX.")
#: Places of a string, positions behind the convolutions, width of the result.
PLACES, POSITIONS, WIDTH = 350, 88, 512
#: Taps of both convolutions, and their stride.
TAPS, STRIDE = 4, 2
#: Molecules that run together, and what their count is rounded up to: matrix products of odd widths are slow.
BLOCK, MULTIPLE = 1024, 16
#: The channel of an empty place; the network has no such channel.
_EMPTY = len(VOCABULARY)


def network(device: str = "cpu") -> Callable[[Sequence[str]], np.ndarray]:
    """A function from N SMILES strings to ChemNet's activations, float32 (N, 512).

    The activations of a string depend on it alone. As in the networks that MOSES and GuacaMol run, a
    string of more than 349 tokens is cut there; `fcd` 1.2 pads the whole set to the longest instead, which
    changes every activation. Elements of two letters other than Cl, Br and Si are two unknown tokens, as in
    `fcd` 1.2 and other than in `fcd_torch`, which reads one, and which ends a string at its first dot.

    Args:
        device: where it runs, as torch names it.

    Raises:
        MolgenError: the package `fcd`, whose weights are used, lacks them.
    """
    return ChemNet(torch.load(_weights(), map_location=device, weights_only=True), torch.device(device))


def _weights() -> Path:
    spec = importlib.util.find_spec("fcd")
    for folder in spec.submodule_search_locations or () if spec else ():
        if (path := Path(folder) / WEIGHTS).is_file():
            return path
    raise MolgenError(f"ChemNet needs {WEIGHTS} of the package fcd; type: pip install --force-reinstall fcd")


class ChemNet:
    """The network; call it with strings.

    Args:
        layers: the layers of the weight file in their order: (kind, (weights by name, arguments, activation)).
        device: where it runs; the weights are there.
    """

    def __init__(self, layers: Sequence[tuple[str, Sequence[dict[str, Tensor]]]], device: torch.device) -> None:
        weights = [layer[1][0] for layer in layers]
        self._device = device
        self._kernels = [weights[0]["weight"], weights[1]["weight"]]
        self._backward, self._forward = _Lstm(weights[2]), _Lstm(weights[3])
        with torch.inference_mode():
            self._starts, self._drives = self._padding()

    def __call__(self, smiles: Sequence[str]) -> np.ndarray:
        """The activations of N strings, float32 (N, 512), in their order."""
        tokens = [_tokens(string) for string in smiles]
        found = np.empty((len(tokens), WIDTH), np.float32)
        longest_first = np.argsort([-len(string) for string in tokens], kind="stable")
        for start in range(0, len(tokens), BLOCK):
            block = longest_first[start : start + BLOCK]
            with torch.inference_mode():
                activations = self._block([tokens[number] for number in block])
            found[block] = activations[:, : len(block)].T.cpu().numpy()
        return found

    def _padding(self) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
        """What does not depend on the molecule, for each position.

        Returns:
            the state (H, 1) of the first layer when it comes to a position from an empty one, and the input
            part (4H, 1) of the gates of the second layer at an empty position.
        """
        state = self._backward.start()
        starts, drives = [], []
        for _ in range(POSITIONS):
            starts.append(state)
            state = self._backward.step(self._backward.bias, state)
            drives.append(self._forward.drive(state[0]))
        return starts[::-1], drives[::-1]

    def _block(self, tokens: Sequence[np.ndarray]) -> Tensor:
        """The activations (512, N) of strings, the longest first; N is rounded up, and the rest is empty."""
        channels = self._convolved(tokens)
        _, positions, count = channels.shape
        hidden, cell = self._starts[positions - 1]
        state = hidden.expand(-1, count), cell.expand(-1, count)
        read: list[Tensor] = []
        for position in reversed(range(positions)):
            state = self._backward.step(self._backward.drive(channels[:, position]), state)
            read.append(state[0])
        state = self._forward.start(count)
        for position in range(POSITIONS):
            inside = position < positions
            state = self._forward.step(self._forward.drive(read.pop()) if inside else self._drives[position], state)
        return state[0]

    def _convolved(self, tokens: Sequence[np.ndarray]) -> Tensor:
        """The channels (32, M, N) of strings at the positions that the first, the longest, reaches."""
        positions = min((len(tokens[0]) + 2) // 4 + 1, POSITIONS)
        count = -(-len(tokens) // MULTIPLE) * MULTIPLE
        places = np.full((count, min(4 * positions + 2, PLACES)), _EMPTY)
        for row, string in enumerate(tokens):
            places[row, : len(string)] = string
        numbers = torch.from_numpy(places).T.to(self._device).unsqueeze(0)
        ones = torch.zeros(_EMPTY + 1, *numbers.shape[1:], device=self._device)
        ones.scatter_(0, numbers, 1 / len(VOCABULARY))
        first = _convolve(ones[:_EMPTY], self._kernels[0], right=1)
        return _convolve(first, self._kernels[1], right=2 * positions + 1 - first.shape[1])


class _Lstm:
    """A recurrent layer of H units that is stepped by hand; its states are pairs of (H, N).

    tanh(x) is 2 sigmoid(2x) - 1, three times as fast. The doubling of the candidate's x lies in the weights.

    Args:
        weights: as torch names them, for the gates input, forget, candidate, output in this order.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self._units = weights["weight_hh_l0"].shape[1]
        doubled = torch.ones(4, self._units, 1, device=weights["weight_hh_l0"].device)
        doubled[2] = 2
        doubled = doubled.reshape(-1, 1)
        self._inputs, self._recurrent = weights["weight_ih_l0"] * doubled, weights["weight_hh_l0"] * doubled
        #: what an input of zeros gives the gates, (4H, 1).
        self.bias = (weights["bias_ih_l0"] + weights["bias_hh_l0"]).unsqueeze(1) * doubled

    def start(self, count: int = 1) -> tuple[Tensor, Tensor]:
        """The state before the first step, zeros (H, N)."""
        zeros = self.bias.new_zeros(self._units, count)
        return zeros, zeros

    def drive(self, inputs: Tensor) -> Tensor:
        """The input part of the gates (4H, N) for inputs (channels, N)."""
        return torch.addmm(self.bias, self._inputs, inputs)

    def step(self, drive: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The next state (H, N) for the input part of the gates, (4H, N) or (4H, 1) for all."""
        hidden, cell = state
        gates = torch.addmm(drive, self._recurrent, hidden).sigmoid_()
        enter, keep, candidate, leave = gates.chunk(4)
        cell = (cell * keep).addcmul_(enter, candidate, value=2).sub_(enter)
        hidden = (2 * cell).sigmoid_().mul_(2).sub_(1).mul_(leave)
        return hidden, cell


def _tokens(smiles: str) -> np.ndarray:
    """The channels of a string's tokens and of its end, int64 (T,), at most 350."""
    text = smiles.encode("ascii", "replace")
    for token, code in _CODES.items():
        text = text.replace(token, code)
    known = _CHANNELS[np.frombuffer(text, np.uint8)[: PLACES - 1]]
    return np.append(known, VOCABULARY.index("."))


#: Tokens of two letters as single bytes that are no ASCII.
_CODES = {token.encode(): bytes([128 + number]) for number, token in enumerate(VOCABULARY) if len(token) > 1}
#: The channel of each byte.
_CHANNELS = np.full(256, VOCABULARY.index("X"))
_CHANNELS[[_CODES.get(token.encode(), token.encode())[0] for token in VOCABULARY]] = range(len(VOCABULARY))


def _convolve(values: Tensor, kernel: Tensor, right: int) -> Tensor:
    """SELU of the convolution of values (channels, places, N) with a kernel (channels out, channels, taps).

    One empty place comes before the values and `right` behind them. As a matrix product it keeps full
    precision on every device, where convolutions may not.
    """
    windows = torch.nn.functional.pad(values, (0, 0, 1, right)).unfold(1, TAPS, STRIDE)
    return torch.nn.functional.selu(torch.einsum("ock,cpnk->opn", kernel, windows))
