"""The flow family: couplings of splines or affine functions over packed elements, with dequantisation; discrete flow
matching of classes."""

from molgen.families.flow.config import FlowConfig
from molgen.families.flow.family import Flow

__all__ = ["Flow", "FlowConfig"]
