from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from secateur.errors import InputError
from secateur.slimming.slim import SlimResult, slim
from tests.pruning.networks import (
    Attention,
    Classifier,
    Concatenation,
    Depthwise,
    Grouped,
    Normalized,
    PixelShuffle,
    Plain,
    Residual,
    Scaled,
    Shared,
    Shuffle,
    Split,
    SqueezeExcite,
    Transposed,
    Unused,
    mask,
    settle_statistics,
)

IMAGES = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def checked(model: nn.Module, images: Tensor = IMAGES) -> SlimResult:
    """Slim a network; what must hold for every network is asserted here."""
    before = copy.deepcopy(model.state_dict())
    result = slim(model, images)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    with torch.no_grad():
        torch.testing.assert_close(result.model(images), model(images), rtol=1e-4, atol=1e-5)
    again = slim(result.model, images)
    assert {n: t.shape for n, t in again.model.state_dict().items()} == {
        n: t.shape for n, t in result.model.state_dict().items()
    }
    assert again.report.parameters_after == result.report.parameters_after
    assert result.report.parameters_before >= result.report.parameters_after
    return result


def test_plain_convolution_loses_filters_norm_and_columns() -> None:
    model = settle_statistics(Plain())
    mask(model.first, [1, 4], model.norm)
    slimmed = checked(model).model
    assert slimmed.first.weight.shape == (6, 3, 3, 3)
    assert (slimmed.first.out_channels, slimmed.norm.num_features) == (6, 6)
    assert slimmed.norm.running_var.shape == (6,)
    assert (slimmed.second.in_channels, slimmed.second.out_channels) == (6, 5)


def test_constant_of_a_masked_filter_goes_into_the_next_bias() -> None:
    model = settle_statistics(Plain(padding=0, bias=True))
    mask(model.first, [1, 4])  # the batch norm still emits a constant
    result = checked(model)
    assert result.model.first.out_channels == 6
    assert not torch.equal(result.model.second.bias, model.second.bias)


def test_constant_gets_a_new_bias_where_there_is_none() -> None:
    model = settle_statistics(Plain(padding=0))
    model.norm.bias.data[2] = 5.0
    mask(model.first, [2])
    result = checked(model)
    assert result.model.first.out_channels == 7
    assert isinstance(result.model.second.bias, nn.Parameter)
    assert result.report.folded == {"second": 1}


def test_constant_that_ends_at_a_border_stays_with_the_reason() -> None:
    model = settle_statistics(Plain(padding=1))
    model.norm.bias.data[2] = 5.0
    mask(model.first, [2])
    result = checked(model)
    assert result.model.first.out_channels == 8
    reason = "it emits a constant that a padded layer sees end at its border"
    assert result.report.refused == {"first": {reason: 1}}
    assert f"1 zero filters stay in first: {reason}" in str(result.report)


def test_of_many_constants_one_stays() -> None:
    model = settle_statistics(Plain(padding=1))
    model.norm.bias.data[[2, 3, 6]] = torch.tensor([5.0, 4.0, 3.0])
    mask(model.first, [2, 3, 6])
    result = checked(model)
    assert result.report.kept["first"] == (0, 1, 2, 4, 5, 7)
    assert result.report.folded == {"second": 2}


def test_filter_whose_constant_relu_removes_goes() -> None:
    model = settle_statistics(Plain(padding=1))
    model.norm.bias.data[2] = -5.0
    mask(model.first, [2])
    assert checked(model).model.first.out_channels == 7


def test_residual_stream_needs_all_its_writers() -> None:
    model = Residual().eval()
    mask(model.stem, [0, 3])
    mask(model.outer, [3, 5])
    mask(model.inner, [1])
    result = checked(model)
    assert result.model.stem.out_channels == 7
    assert result.model.outer.out_channels == 7
    assert result.model.inner.out_channels == 5
    assert result.report.kept["stem"] == (0, 1, 2, 4, 5, 6, 7)
    assert result.report.refused["stem"] == {"another layer writes the same channel": 1}


def test_concatenation_of_one_tensor_twice() -> None:
    model = Concatenation().eval()
    mask(model.a, [2])
    mask(model.b, [0, 5])
    result = checked(model)
    assert result.model.head.in_channels == 4 + 2 * 3


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_filters_follow_their_channels(multiplier: int) -> None:
    model = Depthwise(multiplier).eval()
    filters = [m for c in (2, 6) for m in range(c * multiplier, (c + 1) * multiplier)]
    mask(model.depthwise, filters)
    slimmed = checked(model).model
    assert slimmed.expand.out_channels == 6
    assert slimmed.depthwise.groups == slimmed.depthwise.in_channels == 6
    assert slimmed.project.in_channels == 6 * multiplier


def test_constant_after_a_depthwise_layer_is_folded() -> None:
    model = Depthwise().eval()
    mask(model.depthwise, [2])
    model.depthwise.bias.data[2] = 3.0
    assert checked(model).model.expand.out_channels == 7


def test_groups_lose_equally_many() -> None:
    model = Grouped().eval()
    mask(model.first, [0, 1, 5])  # two of the first group, one of the second
    mask(model.grouped, [0, 1, 7])
    slimmed = checked(model).model
    assert slimmed.first.out_channels == 6
    assert slimmed.grouped.weight.shape == (10, 3, 3, 3)
    assert (slimmed.grouped.in_channels, slimmed.grouped.groups) == (6, 2)


def test_a_dead_group_goes_whole() -> None:
    model = Grouped().eval()
    mask(model.first, [0, 1, 2, 3])
    mask(model.grouped, [0, 1, 2, 3, 4, 5])
    slimmed = checked(model).model
    assert slimmed.grouped.weight.shape == (6, 4, 3, 3)
    assert (slimmed.grouped.in_channels, slimmed.grouped.groups) == (4, 1)


def test_shared_layers_stay_shared() -> None:
    model = settle_statistics(Shared())
    mask(model.expand, [0, 9], model.norm)
    mask(model.stem, [4])
    mask(model.project, [4])
    slimmed = checked(model).model
    assert slimmed.expand.weight.shape == (8, 5, 1, 1)
    assert slimmed.norm.num_features == 8
    assert slimmed.head.in_channels == 5


def test_tied_parameters_stay_tied() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))
    model.append(nn.Conv2d(4, 2, 1))
    model[3].weight = model[1].weight
    mask(model[0], [1])
    mask(model[1], [1])
    model[3].bias.data[1] = 0
    slimmed = checked(model.eval()).model
    assert slimmed[3].weight is slimmed[1].weight
    assert slimmed[1].weight.shape == (3, 3, 1, 1)


def test_halves_stay_equal() -> None:
    model = Split().eval()
    mask(model.first, [0, 1, 6])
    slimmed = checked(model).model
    assert slimmed.first.out_channels == 6
    assert slimmed.left.in_channels == 3


@pytest.mark.parametrize("builtin", [True, False])
def test_shuffled_channels_go_by_columns(builtin: bool) -> None:
    model = Shuffle(builtin).eval()
    # 0 4 1 5 | 2 6 3 7 after the shuffle: a column is a pair, and each group loses one.
    mask(model.first, [1, 5, 2, 6, 0])
    slimmed = checked(model).model
    assert slimmed.first.out_channels == 4
    assert slimmed.second.in_channels == 4


@pytest.mark.parametrize("builtin", [True, False])
def test_pixel_shuffle_takes_whole_blocks(builtin: bool) -> None:
    model = PixelShuffle(builtin).eval()
    mask(model.first, [4, 5, 6, 7, 9])
    slimmed = checked(model).model
    assert slimmed.first.out_channels == 12
    assert slimmed.head.in_channels == 3


def test_transposed_convolution() -> None:
    model = Transposed().eval()
    mask(model.first, [0])
    mask(model.up, [3, 7])
    slimmed = checked(model).model
    assert slimmed.up.weight.shape == (5, 6, 2, 2)
    assert (slimmed.up.in_channels, slimmed.up.out_channels) == (5, 6)


def test_flattened_channels_and_hidden_features() -> None:
    model = Classifier().eval()
    mask(model.first, [0, 5])
    mask(model.hidden, [3])
    slimmed = checked(model).model
    assert slimmed.hidden.weight.shape == (9, 4 * 16)
    assert slimmed.out.in_features == 9


def test_size_that_is_written_down_keeps_its_channels() -> None:
    model = Classifier(fixed=True).eval()
    mask(model.first, [0, 5])
    mask(model.hidden, [3])
    result = checked(model)
    assert result.model.first.out_channels == 6
    assert result.model.hidden.out_features == 9
    assert "written down" in next(iter(result.report.refused["first"]))


def test_squeeze_and_excite_goes_with_what_it_scales() -> None:
    model = SqueezeExcite().eval()
    mask(model.first, [2, 3])
    mask(model.squeeze, [0])
    slimmed = checked(model).model
    assert slimmed.first.out_channels == slimmed.excite.out_channels == 6
    assert slimmed.squeeze.weight.shape == (3, 6, 1, 1)


def test_gate_that_is_zero_removes_what_it_scales() -> None:
    model = SqueezeExcite().eval()
    mask(model.excite, [7])
    model.excite.bias.data[7] = -10.0  # hard sigmoid: exactly zero
    model.squeeze.weight.data[:, 7] = 0
    assert checked(model).model.head.in_channels == 7


def test_layer_norm_keeps_its_channels_and_says_so() -> None:
    model = Normalized().eval()
    mask(model.up, [0, 4])
    mask(model.stem, [1])
    result = checked(model)
    assert result.model.up.out_features == 10
    assert result.model.stem.out_channels == 6
    assert result.report.refused["stem"] == {"norm (layer_norm) normalises over channels": 1}


def test_parameters_outside_layers_are_cut_too() -> None:
    model = Scaled().eval()
    mask(model.a, [1, 2])
    mask(model.b, [1, 2])
    slimmed = checked(model).model
    assert slimmed.scale.shape == (1, 4, 1, 1)
    assert slimmed.slope.num_parameters == 4
    assert slimmed.fusion.shape == (2, 3)


def test_fusion_weight_of_zero_silences_a_branch() -> None:
    model = Scaled().eval()
    model.fusion.data[1, 1] = -1.0
    mask(model.a, [1, 2])
    assert checked(model).model.head.in_channels == 4


def test_what_reaches_no_output_goes_as_a_whole() -> None:
    model = settle_statistics(Unused())
    mask(model.stem, [0])
    result = checked(model)
    assert result.report.dropped == ("lost", "spare")
    assert isinstance(result.model.lost, nn.Identity)
    assert "reached no output" in str(result.report)


def test_unknown_operators_keep_everything() -> None:
    model = Attention().eval()
    mask(model.stem, [0])
    result = checked(model)
    assert result.model.stem.out_channels == 6
    assert "einsum" in str(result.report.refused) or "needs all" in str(result.report.refused)


def test_a_layer_never_loses_its_last_filter() -> None:
    model = settle_statistics(Plain())
    mask(model.first, range(8), model.norm)
    result = checked(model)
    assert result.model.first.out_channels == 1


def test_counts_are_aligned() -> None:
    model = settle_statistics(Plain())
    mask(model.first, [1, 4, 5], model.norm)
    result = slim(model, IMAGES, align=4)
    assert result.model.first.out_channels == 8
    (reason,) = result.report.refused["first"]
    assert "align a multiple" in reason
    assert slim(model, IMAGES, align=3).model.first.out_channels == 6


def test_training_mode_gradients_and_types_are_kept() -> None:
    model = settle_statistics(Plain()).double().train()
    model.first.weight.requires_grad_(False)
    mask(model.first, [1], model.norm)
    slimmed = slim(model, IMAGES.double()).model
    assert slimmed.training
    assert slimmed.norm.training
    assert not slimmed.first.weight.requires_grad
    assert slimmed.second.weight.requires_grad
    assert slimmed.first.weight.dtype == torch.float64


def test_memory_format_is_kept() -> None:
    model = settle_statistics(Plain()).to(memory_format=torch.channels_last)
    mask(model.first, [1], model.norm)
    weight = slim(model, IMAGES).model.second.weight
    assert weight.shape[1] == 7
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_half_precision() -> None:
    model = settle_statistics(Plain()).bfloat16()
    mask(model.first, [1, 4], model.norm)
    result = slim(model, IMAGES.bfloat16())
    assert result.model.first.weight.dtype == torch.bfloat16
    assert result.model.first.out_channels == 6
    assert result.report.max_abs_diff < 1e-4


def test_weights_that_are_computed_become_plain_and_lose_channels() -> None:
    model = Plain().eval()
    model.second = nn.utils.parametrizations.weight_norm(model.second)
    mask(model.first, [1], model.norm)
    result = slim(model, IMAGES)
    assert result.report.computed == ("second",)
    assert (result.model.first.out_channels, result.model.second.in_channels) == (7, 7)
    with torch.no_grad():
        torch.testing.assert_close(result.model(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)


class Functional(nn.Module):
    """Calls another layer's weight itself, so that a new bias would not be used."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 1)
        self.second = nn.Conv2d(6, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(self.first(x), self.second.weight)


def test_functional_calls_are_cut_but_get_no_bias() -> None:
    model = Functional().eval()
    mask(model.first, [0, 3])
    model.first.bias.data[3] = 1.0
    assert checked(model).report.kept["first"] == (1, 2, 3, 4, 5)


class Unsliceable(nn.Module):
    """Reports the width of its first layer, which no slimming can keep."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 1)
        self.second = nn.Conv2d(6, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.second(x) * x.shape[1]


def test_a_slim_network_that_differs_is_refused_by_name() -> None:
    model = Unsliceable().eval()
    mask(model.first, [0])
    with pytest.raises(InputError, match=r"Unsliceable cannot be slimmed: .* from the outputs on"):
        slim(model, IMAGES)


def test_a_network_that_rounds_coarsely_is_proved_in_double_precision() -> None:
    first, second = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 3, 1)
    mask(first, [0, 5])
    with torch.no_grad():
        first.bias[[0, 5]] = 1e5  # two large constants ...
        second.weight[:, 5] = -second.weight[:, 0]  # ... cancel each other, all but their rounding
    result = slim(nn.Sequential(first, second).eval(), IMAGES)
    assert result.model[0].out_channels == 4
    assert result.report.max_rel_diff > 1e-4  # as single precision has it


class Silent(nn.Module):
    """Asserts its width without a message."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != 8:
            raise AssertionError  # pytest would give a plain assert a message
        return self.conv(x)


def test_a_forward_that_asserts_without_a_word_is_refused_in_a_sentence() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), Silent()).eval()
    mask(model[0], [1])
    with pytest.raises(InputError, match="AssertionError without a message"):
        slim(model, IMAGES)


def test_the_slim_network_shares_no_memory_with_the_one_it_was_cut_from() -> None:
    model = settle_statistics(Plain())
    mask(model.first, [1, 4], model.norm)
    slimmed = checked(model).model
    places = {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert not places & {tensor.data_ptr() for tensor in slimmed.state_dict().values()}
