"""Many texts in little memory."""

from array import array


class Texts:
    """Texts in one block of bytes: each takes its letters and 8 bytes."""

    def __init__(self) -> None:
        self._block = bytearray()
        self._ends = array("Q")

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        start = self._ends[index - 1] if index else 0
        return self._block[start : self._ends[index]].decode("utf-8", "surrogatepass")

    def append(self, text: str) -> None:
        """Adds a text, which may hold bytes that are not valid text, as file names do."""
        self._block += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._block))
