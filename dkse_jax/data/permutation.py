"""Random permutations of any length, of which each element is computed on its own."""

from collections.abc import Sequence

# The odd multipliers of SplitMix64.
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_64_BITS = 2**64 - 1


def permuted(index: int, length: int, keys: Sequence[int]) -> int:
    """Returns the element at an index of the permutation of 0 ... length - 1 chosen by the keys.

    A Feistel network: each key mixes one half of the index's bits into the other half, which is
    invertible. A result outside the range goes through again, less than 4 times on average.
    (grain.experimental.index_shuffle maps two of 65,537 indices to one.)

    Args:
        index: from 0 to length - 1.
        length: at least 1.
        keys: 64 bits each, one for each round; fewer than 6 leave a visible pattern.
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
