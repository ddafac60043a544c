"""The paper's variants of the network: the config.model fields of each row of its tables."""

from typing import Any


def _block(
    positions: tuple[int, ...],
    kernel_sizes: tuple[int, ...],
    reduction: int = 4,
    dilations: tuple[int, ...] | None = None,
    attention: str = "dkse",
) -> dict[str, Any]:
    """Returns the fields of config.model that describe the blocks."""
    return {
        "positions": positions,
        "attention": attention,
        "kernel_sizes": kernel_sizes,
        "dilations": dilations or (1,) * len(kernel_sizes),
        "reduction": reduction,
    }


VARIANTS: dict[str, dict[str, Any]] = {
    "best": _block((6,), (1, 5)),
    "figure10": _block((6, 9, 12), (3, 5)),
    "none": _block((), (1, 5)),  # the same network without a block
    # The blocks that DKSE combines, with 32 hidden units in their gates as in best: SE with r = 4;
    # SK with its paper's kernels, r = 16 and minimum of 32 units.
    "se": _block((6,), (1, 5), attention="se"),
    "sk": _block((6,), (3, 3), reduction=16, dilations=(1, 2), attention="sk"),
    # Table 1: the position of the block.
    "table1_id6": _block((6,), (3, 5)),
    "table1_id9": _block((9,), (3, 5)),
    "table1_id12": _block((12,), (3, 5)),
    # Table 2: the reduction r and the kernels.
    "table2_r4_k1_3": _block((6,), (1, 3)),
    "table2_r4_k1_5": _block((6,), (1, 5)),
    "table2_r4_k3_5": _block((6,), (3, 5)),
    "table2_r4_k1_3_5": _block((6,), (1, 3, 5)),
    "table2_r16_k1_3": _block((6,), (1, 3), reduction=16),
    "table2_r16_k1_5": _block((6,), (1, 5), reduction=16),
    "table2_r16_k3_5": _block((6,), (3, 5), reduction=16),
    "table2_r16_k1_3_5": _block((6,), (1, 3, 5), reduction=16),
    # Table 3: dilated 3×3 kernels; K5 spreads its nine taps over 5×5 pixels, K7 over 7×7.
    "table3_k3_k5": _block((6,), (3, 3), dilations=(1, 2)),
    "table3_k3_k7": _block((6,), (3, 3), dilations=(1, 3)),
    "table3_k5_k7": _block((6,), (3, 3), dilations=(2, 3)),
    "table3_k3_k5_k7": _block((6,), (3, 3, 3), dilations=(1, 2, 3)),
}
