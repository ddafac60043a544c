"""Random orders of any length, of which each place is computed by itself."""

from collections.abc import Sequence

# Odd, and without a pattern in their bits: those with which SplitMix64 mixes.
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_64_BITS = 2**64 - 1


def permuted(index: int, length: int, keys: Sequence[int]) -> int:
    """The value at an index of a permutation of 0 ... length - 1, which the keys choose.

    A Feistel network: each key mixes one half of the index's bits into the other half, which can be
    undone, so that no two indices meet. What is then outside of the range goes through once more,
    less than 4 times on average. (grain.experimental.index_shuffle maps two of 65,537 to one.)

    Args:
        index: from 0 to length - 1.
        length: at least 1.
        keys: of 64 bits, one for each round; fewer than 6 leave a pattern.
    """
    half = ((length - 1).bit_length() + 1) // 2
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for key in keys:
            mixed = (right ^ key) * _MIX[0] & _64_BITS
            mixed = (mixed ^ mixed >> 29) * _MIX[1] & _64_BITS
            left, right = right, left ^ (mixed >> 32 & mask)
        index = left << half | right
        if index < length:
            return index
