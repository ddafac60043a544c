"""Parameters and multiply-accumulates (MACs) of a network, layer by layer (Eqs. 10-12).

Both are counted in the program that JAX traces, so that they hold for any network and stay in sync
with it. A convolution costs M·N·h·w·C·C' / groups (Eq. 10), taps on padding included, as in papers;
a separable one M·N·h·w·C + M·N·C·C' (Eq. 11). Norms, activations, pooling and biases count as 0.
FLOPs are twice the MACs.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from dkse_jax.models.layers import plain_form


class Layer(NamedTuple):
    """One top-level layer of a network."""

    name: str
    output_shape: tuple[int, ...]  # for one image
    parameters: int  # trainable ones
    macs: int  # for one image


def count(model: nn.Module, image_size: int) -> list[Layer]:
    """Returns the layers of the network in order of execution on one square RGB image.

    Traces the plain form of the network on shapes, without computing.
    """
    model = plain_form(model)
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), image)
    program = jax.make_jaxpr(lambda variables, image: model.apply(variables, image))(
        variables, image
    )

    parameters = {
        name: sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
        for name, tree in variables["params"].items()
    }
    shapes: dict[str, tuple[int, ...]] = {}
    macs: dict[str, int] = {}
    for scopes, equation, times in _equations(program.jaxpr):
        inside = scopes[1:] or ("",)  # the first scope is the network itself
        name = next((scope for scope in inside if scope in parameters), inside[0])
        macs[name] = macs.get(name, 0) + times * _macs(equation)
        for output in equation.outvars:
            shapes[name] = _shape(output)[1:]
    names = [name for name in dict.fromkeys([*macs, *parameters]) if name or macs[name]]
    return [
        Layer(name, shapes.get(name, ()), parameters.get(name, 0), macs.get(name, 0))
        for name in names
    ]


def parameter_shapes(model: nn.Module, image_size: int) -> dict[str, Any]:
    """Returns the shapes and dtypes of the network's parameters."""
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    shapes: dict[str, Any] = jax.eval_shape(model.init, jax.random.key(0), image)["params"]
    return shapes


def totals(layers: Iterable[Layer]) -> tuple[int, int]:
    """Sums (trainable parameters, MACs for one image) over all layers."""
    layers = list(layers)
    return sum(layer.parameters for layer in layers), sum(layer.macs for layer in layers)


def table(layers: Iterable[Layer]) -> str:
    """Formats the layers and their totals as lines of text."""
    layers = list(layers)
    rows = [("layer", "output", "parameters", "MACs")]
    for layer in layers:
        shape = "×".join(map(str, layer.output_shape))
        rows.append((layer.name, shape, f"{layer.parameters:,}", f"{layer.macs:,}"))
    parameters, macs = totals(layers)
    rows.append(("total", "", f"{parameters:,}", f"{macs:,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {left:>{widths[2]}}  {right:>{widths[3]}}"
        for name, shape, left, right in rows
    )


def _equations(
    jaxpr: Jaxpr, outer: tuple[str, ...] = (), times: int = 1
) -> Iterator[tuple[tuple[str, ...], JaxprEqn, int]]:
    """Yields every equation, of inner programs too, with its name scopes and repetitions."""
    for equation in jaxpr.eqns:
        scopes = (*outer, *filter(None, str(equation.source_info.name_stack).split("/")))
        repeats = equation.params["length"] if equation.primitive.name == "scan" else 1
        inners = list(_inner_programs(equation.params.values()))
        if equation.primitive.name == "cond":  # one alternative runs; an op's plain form is last
            inners = inners[-1:]
        for inner in inners:
            yield from _equations(inner, scopes, times * repeats)
        yield scopes, equation, times


def _inner_programs(parameters: Iterable[Any]) -> Iterator[Jaxpr]:
    for parameter in parameters:
        if isinstance(parameter, ClosedJaxpr):
            yield parameter.jaxpr
        elif isinstance(parameter, Jaxpr):
            yield parameter
        elif isinstance(parameter, tuple):
            yield from _inner_programs(parameter)


def _macs(equation: JaxprEqn) -> int:
    """Counts the multiply-accumulates of one equation: of convolutions and matrix products."""
    if equation.primitive.name == "conv_general_dilated":
        kernel = _shape(equation.invars[1])  # its input channels are those of one group
        filters = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
        return math.prod(_shape(equation.outvars[0])) * math.prod(kernel) // filters
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        summed = math.prod(_shape(equation.invars[0])[axis] for axis in contracted)
        return math.prod(_shape(equation.outvars[0])) * summed
    return 0


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.aval.shape)
