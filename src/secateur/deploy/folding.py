"""Folding: a network as a device runs it, without batch norms."""

from __future__ import annotations

import copy
from typing import cast

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from secateur.deploy.eresfd_inference import EResFDForInference
from secateur.detectors.eresfd import EResFD


def fold(network: nn.Module) -> nn.Module:
    """A copy of a network for inference: the same function with fewer operators.

    Args:
        network: A network of this project, dense or slim; it stays as it is.

    Returns:
        The copy, in evaluation mode and without gradients. It cannot be trained.
    """
    if isinstance(network, EResFD):
        try:
            return EResFDForInference(network).eval()
        except ValueError:  # a layer that is more than a convolution, or a weight close to zero
            pass
    return fold_batch_norms(network)


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """A copy of a network whose batch norms are part of the convolutions before them.

    y = s (w x + b - m) / sqrt(v + e) + t is one convolution with other weights and another bias, so
    the result differs by rounding alone. A batch norm that follows something else stays, as does
    one whose convolution is read or run elsewhere too.

    Args:
        network: Any network; it stays as it is.

    Returns:
        The copy, in evaluation mode and without gradients; with all its batch norms if its forward
        is none that ``torch.fx`` can trace.
    """
    subject = copy.deepcopy(network).eval().requires_grad_(False)
    try:
        traced = fx.symbolic_trace(subject)
    except Exception:  # whatever the forward of a network of the user raises
        return subject
    calls: dict[str, list[fx.Node]] = {}
    for node in traced.graph.nodes:
        if node.op == "call_module":
            calls.setdefault(str(node.target), []).append(node)
    for name, nodes in calls.items():
        norm, source = traced.get_submodule(name), nodes[0].args[0]
        if type(norm) is not nn.BatchNorm2d or not isinstance(source, fx.Node):
            continue
        before = calls.get(str(source.target), []) if source.op == "call_module" else []
        # EXTD runs its blocks several times: each time the same batch norm has to follow
        if [node.args[0] for node in nodes] != before or any(len(n.users) > 1 for n in before):
            continue
        convolution = traced.get_submodule(str(source.target))
        if type(convolution) is not nn.Conv2d:
            continue
        owner, _, attribute = str(source.target).rpartition(".")
        setattr(traced.get_submodule(owner), attribute, fuse_conv_bn_eval(convolution, norm))
        for node, replacement in zip(nodes, before, strict=True):
            node.replace_all_uses_with(replacement)
            traced.graph.erase_node(node)
    traced.graph.lint()
    traced.recompile()
    traced.delete_all_unused_submodules()
    _replace_prelus(traced)
    return cast("nn.Module", traced)


def _replace_prelus(network: nn.Module) -> None:
    """Make every PReLU of one slope the LeakyReLU that it is once trained.

    ONNX Runtime applies a LeakyReLU within the convolution before it, and quantizes it; a PReLU is
    an operator of its own that reads and writes all features again.
    """
    for module in network.modules():
        for name, child in module.named_children():
            if type(child) is nn.PReLU and child.num_parameters == 1:
                setattr(module, name, nn.LeakyReLU(float(child.weight)))
