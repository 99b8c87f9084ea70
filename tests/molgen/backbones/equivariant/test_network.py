"""Networks over points turn with space, and tell a sample from its mirror image."""

import copy
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from molgen.backbone import Head, default_backbone
from molgen.backbones.equivariant.network import Equivariant
from molgen.batch import Batch, Partial
from molgen.errors import UnsupportedSpace
from molgen.space import Axis, Categorical, Real
from molgen.testing import backbone_checks, parametrize_with_checks
from molgen.testing.batches import rotation, shake, turned
from molgen.testing.spaces import SPACES

ATOM = Axis("atom", 9, ordered=False)
SPACE = {
    "types": Categorical((ATOM,), classes=4),
    "bonds": Categorical((ATOM, ATOM), classes=3, symmetric=True),
    "at": Real((ATOM,), channels=(3,), centred=True, rotates=True),
    "spins": Real((ATOM,), channels=(2, 3), rotates=True),
}
HEADS = {
    "energy": Head(2),
    "dipole": Head(3, rotates=True),
    "charge": Head(1, (ATOM,)),
    "force": Head(6, (ATOM,), rotates=True),
    "bond": Head(3, (ATOM, ATOM)),
}
KINDS = [{"kind": "egnn"}, {"kind": "e3nn", "lmax": 2}]


class Tensors(Equivariant):
    molgen_tiny = {**Equivariant.molgen_tiny, "kind": "e3nn", "lmax": 2}  # noqa: RUF012


@parametrize_with_checks(backbone_checks(Tensors, {name: SPACES[name] for name in ("molecule",)}))
def test_tensor_products(check):
    if check.name != "foreign_layouts_are_refused":
        check()


def network(settings, heads=HEADS, space=SPACE, condition=None, dtype=torch.float64):
    torch.manual_seed(0)
    config = Equivariant.Config(**{**Equivariant.molgen_tiny, **settings})
    made = Equivariant(space, heads, config, condition)
    shake(made)
    return made.to(dtype).eval()


def batch(rows=3, atoms=6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    types = torch.randint(4, (rows, atoms), generator=generator)
    bonds = torch.randint(3, (rows, atoms, atoms), generator=generator).tril(-1)
    at = torch.randn(rows, atoms, 3, generator=generator, dtype=torch.float64)
    spins = torch.randn(rows, atoms, 2, 3, generator=generator, dtype=torch.float64)
    at = at - at.mean(1, keepdim=True)
    fields = {"types": types, "bonds": bonds + bonds.transpose(1, 2), "at": at.to(dtype), "spins": spins.to(dtype)}
    return Batch(fields, {"atom": torch.full((rows,), atoms)})


@pytest.mark.parametrize("settings", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 1e-4)])
def test_outputs_turn_with_space_up_to_rounding(settings, dtype, tolerance):
    made, sample, turn = network(settings, dtype=dtype), batch(dtype=dtype), rotation(3)
    with torch.no_grad():
        before, after = made(sample, None, None), made(turned(SPACE, sample, turn), None, None)
    for name, head in HEADS.items():
        expected = before[name]
        if head.rotates:
            expected = (expected.unflatten(-1, (-1, 3)) @ turn.T.to(dtype)).flatten(-2)
            assert expected.abs().max() > 1e-2
        scale = max(1.0, float(expected.abs().max()))
        assert torch.allclose(after[name], expected, rtol=0, atol=tolerance * scale), name


@pytest.mark.parametrize("settings", KINDS)
def test_a_sample_and_its_mirror_image_differ(settings):
    """Four atoms around one are left- or right-handed; without one of them they are their own mirror image."""
    space = {name: SPACE[name] for name in ("types", "at")}
    made = network(settings, {"energy": Head(1)}, space)
    at = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1], [0, 0, 0]], dtype=torch.float64)
    mirror = at * torch.tensor([1.0, 1.0, -1.0])
    same, chiral = torch.tensor([0, 1, 1, 1, 0]), torch.tensor([0, 1, 2, 3, 0])

    def energies(types):
        fields = {"types": types.expand(2, -1), "at": torch.stack([at, mirror])}
        with torch.no_grad():
            return made(Batch(fields, {"atom": torch.tensor([5, 5])}), None, None)["energy"][:, 0]

    first, second = energies(same)
    assert float(first) == pytest.approx(float(second), abs=1e-9)
    first, second = energies(chiral)
    assert abs(first - second) > 1e-4


@pytest.mark.parametrize("settings", KINDS)
def test_pairs_without_direction_have_one_output_and_order_does_not_matter(settings):
    made, sample = network(settings), batch()
    order = torch.tensor([3, 1, 0, 5, 2, 4])
    fields = {name: tensor[:, order] for name, tensor in sample.fields.items()}
    fields["bonds"] = fields["bonds"][:, :, order]
    with torch.no_grad():
        before, after = made(sample, None, None), made(Batch(fields, sample.sizes), None, None)
    assert torch.equal(before["bond"], before["bond"].transpose(1, 2))
    assert torch.allclose(after["bond"], before["bond"][:, order][:, :, order], atol=1e-8)
    assert torch.allclose(after["force"], before["force"][:, order], atol=1e-8)
    assert torch.allclose(after["energy"], before["energy"], atol=1e-8)


@pytest.mark.parametrize("settings", KINDS)
def test_copies_and_weights_from_a_file_say_the_same(settings):
    made, sample = network(settings), batch()
    fresh = network(settings)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.zero_()
    fresh.load_state_dict(load(save({name: t.contiguous() for name, t in made.state_dict().items()})))
    with torch.no_grad():
        expected = made(sample, None, None)
        for other in (copy.deepcopy(made), fresh):
            assert all(torch.equal(expected[name], tensor) for name, tensor in other(sample, None, None).items())


def test_a_graph_can_be_the_condition_of_positions():
    """Conditions over the same axis are read place by place, and pair by pair."""
    graph = {name: SPACE[name] for name in ("types", "bonds")}
    space = {"at": SPACE["at"]}
    made = network({}, {"at": Head(3, (ATOM,), rotates=True)}, space, graph)
    sample = batch()
    asked = Partial(
        Batch({name: sample.fields[name] for name in graph}, sample.sizes),
        {name: torch.ones(sample.fields[name].shape, dtype=torch.bool) for name in graph},
    )
    only = Batch({"at": sample.fields["at"]}, sample.sizes)
    other = dict(asked.batch.fields)
    other["bonds"] = other["bonds"].clone()
    other["bonds"][:, 0, 1] = other["bonds"][:, 1, 0] = (other["bonds"][:, 0, 1] + 1) % 3
    with torch.no_grad():
        outputs = [
            made(only, None, condition)["at"]
            for condition in (asked, replace(asked, batch=Batch(other, sample.sizes)), None)
        ]
    assert not torch.allclose(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])


def test_it_serves_points_by_default():
    assert default_backbone({"at": SPACE["at"]}, causal=False).name == "equivariant"
    assert default_backbone({"at": SPACE["at"]}, causal=True).name == "transformer"


def test_only_tensor_products_wait_for_e3nn():
    code = "import molgen.backbones.equivariant.network, sys; assert 'e3nn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("space", "heads", "condition", "message"),
    [
        ({"at": Real((ATOM,), channels=(2,), rotates=True)}, {}, None, "three numbers"),
        ({"at": SPACE["at"]}, {"f": Head(4, (ATOM,), rotates=True)}, None, "three numbers"),
        ({"at": SPACE["at"]}, {"f": Head(3, (ATOM, ATOM), rotates=True)}, None, "three numbers"),
        ({"at": SPACE["at"]}, {"f": Head(1)}, {"field": Real(channels=(3,), rotates=True)}, "reads none that does"),
        ({"at": SPACE["at"], "x": Real((ATOM, Axis("slot", 2)))}, {"f": Head(1)}, None, "not over atom by slot"),
    ],
)
def test_what_it_cannot_take_is_refused(space, heads, condition, message):
    with pytest.raises(UnsupportedSpace, match=message):
        Equivariant(space, heads, Equivariant.Config(), condition)


def test_settings_and_kinds_are_checked():
    with pytest.raises(ValueError, match="layers must be at least 1, not 0"):
        Equivariant.Config(layers=0)
    with pytest.raises(ValueError, match="kind"):
        Equivariant({"at": SPACE["at"]}, {}, Equivariant.Config(kind="mace"))
