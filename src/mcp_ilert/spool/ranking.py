"""Numbers with ranks, of which the first and the last are found at once: heaps whose stale parts are left behind."""

import heapq


class Ranking:
    """Ids by rank, and among equal ranks by id."""

    def __init__(self) -> None:
        self._rank: dict[int, int] = {}
        self._lowest: list[tuple[int, int]] = []
        self._highest: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._rank)

    def put(self, number: int, rank: int) -> None:
        """Add an id, or move it."""
        if self._rank.get(number) == rank:
            return
        self._rank[number] = rank
        heapq.heappush(self._lowest, (rank, number))
        heapq.heappush(self._highest, (-rank, -number))
        if len(self._lowest) > 4 * len(self._rank) + 64:
            self._lowest = [(rank, number) for number, rank in self._rank.items()]
            heapq.heapify(self._lowest)
        if len(self._highest) > 4 * len(self._rank) + 64:
            self._highest = [(-rank, -number) for number, rank in self._rank.items()]
            heapq.heapify(self._highest)

    def drop(self, number: int) -> None:
        """Take an id out."""
        del self._rank[number]

    def first(self) -> tuple[int, int] | None:
        """The lowest: (rank, id)."""
        heap = self._lowest
        while heap and self._rank.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def last(self) -> tuple[int, int] | None:
        """The highest: (rank, id)."""
        heap = self._highest
        while heap and self._rank.get(-heap[0][1]) != -heap[0][0]:
            heapq.heappop(heap)
        return (-heap[0][0], -heap[0][1]) if heap else None

    def firsts(self, limit: int) -> list[tuple[int, int]]:
        """The lowest, so many of them, in order."""
        found: list[tuple[int, int]] = []
        while len(found) < limit and (first := self.first()) is not None:
            heapq.heappop(self._lowest)
            if not found or found[-1] != first:
                found.append(first)
        for pair in found:
            heapq.heappush(self._lowest, pair)
        return found
