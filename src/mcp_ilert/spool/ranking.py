"""Numbers with ranks, of which the first (and the last) are found at once: heaps whose stale parts are left behind."""

import heapq


class Ranking:
    """Ids by rank, and among equal ranks by id; the lowest is found."""

    def __init__(self) -> None:
        self._rank: dict[int, int] = {}
        self._lowest: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._rank)

    def put(self, number: int, rank: int) -> None:
        """Add an id, or move it."""
        self._rank[number] = rank
        heapq.heappush(self._lowest, (rank, number))
        if len(self._lowest) > 4 * len(self._rank) + 64:
            self._lowest = [(rank, number) for number, rank in self._rank.items()]
            heapq.heapify(self._lowest)

    def drop(self, number: int) -> None:
        """Take an id out."""
        del self._rank[number]

    def first(self) -> tuple[int, int] | None:
        """The lowest: (rank, id)."""
        heap = self._lowest
        while heap:
            first = heap[0]
            if self._rank.get(first[1]) == first[0]:
                return first
            heapq.heappop(heap)
        return None

    def firsts(self, limit: int) -> list[tuple[int, int]]:
        """The lowest, so many of them, in order."""
        first = self.first() if limit > 0 else None
        if first is None or limit == 1:
            return [] if first is None else [first]
        found: list[tuple[int, int]] = []
        while len(found) < limit and (first := self.first()) is not None:
            heapq.heappop(self._lowest)
            if not found or found[-1] != first:
                found.append(first)
        for pair in found:
            heapq.heappush(self._lowest, pair)
        return found


class Ends:
    """A ranking of which both ends are found: one for each."""

    def __init__(self) -> None:
        self._up, self._down = Ranking(), Ranking()

    def put(self, number: int, rank: int) -> None:
        """Add an id, or move it."""
        self._up.put(number, rank)
        self._down.put(-number, -rank)

    def drop(self, number: int) -> None:
        """Take an id out."""
        self._up.drop(number)
        self._down.drop(-number)

    def first(self) -> tuple[int, int] | None:
        """The lowest: (rank, id)."""
        return self._up.first()

    def last(self) -> tuple[int, int] | None:
        """The highest: (rank, id)."""
        found = self._down.first()
        return (-found[0], -found[1]) if found is not None else None
