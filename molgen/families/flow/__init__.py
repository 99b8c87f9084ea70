"""The flow family: couplings, or autoregressive blocks, of splines or affine functions over packed elements, with
dequantisation; flow matching of numbers, and of classes."""

from molgen.families.flow.config import FlowConfig
from molgen.families.flow.family import Flow

__all__ = ["Flow", "FlowConfig"]
