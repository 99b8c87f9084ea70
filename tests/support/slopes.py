"""Gradients of gradients, as penalties on gradients need them."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def require_second_slopes(network, batch):
    """Slopes of the head `pooled` at every input have slopes again, by the attention kernel that has them."""
    leaves = {name: tensor.requires_grad_() for name, tensor in batch.fields.items()}
    with sdpa_kernel(SDPBackend.MATH):
        pooled = network(batch, None, None)["pooled"].sum()
        slopes = torch.autograd.grad(pooled, list(leaves.values()), create_graph=True)
        sum((slope**2).sum() for slope in slopes).backward()
    for name, leaf in leaves.items():
        assert torch.isfinite(leaf.grad).all(), name
        assert leaf.grad.abs().sum() > 0, name
