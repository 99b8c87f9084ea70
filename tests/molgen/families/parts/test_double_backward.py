"""The kernel of attention that can be differentiated twice, for as long as any thread needs it."""

import threading

import torch
from torch.nn.functional import scaled_dot_product_attention

from molgen.families.parts.double_backward import twice_differentiable


def fused():
    return torch.backends.cuda.flash_sdp_enabled()


def test_attention_has_second_slopes_inside():
    x = torch.randn(1, 1, 4, 8, requires_grad=True)
    with twice_differentiable():
        (slope,) = torch.autograd.grad(scaled_dot_product_attention(x, x, x).square().sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert bool(torch.isfinite(x.grad).all())


def test_the_setting_goes_back_when_the_last_thread_leaves():
    assert fused()
    entered, leave = threading.Event(), threading.Event()

    def stay():
        with twice_differentiable():
            entered.set()
            leave.wait(10)

    other = threading.Thread(target=stay)
    with twice_differentiable():
        other.start()
        assert entered.wait(10)
        assert not fused()
    assert not fused()
    leave.set()
    other.join()
    assert fused()


def test_an_error_inside_puts_the_setting_back():
    try:
        with twice_differentiable():
            raise RuntimeError
    except RuntimeError:
        assert fused()
