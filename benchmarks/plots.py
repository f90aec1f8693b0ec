"""Plots of the last results as SVG, for docs/performance.md: how many times as many events a second as each comparator.

python benchmarks/plots.py     (after make bench; reads results/ingest.json, writes docs/ingest.svg)
"""

import html
import json
import math

import rig
from bench_ingest import BRIDGE, COMPARED

OUT = rig.HERE.parent / "docs" / "ingest.svg"
ROW, LEFT, WIDTH, TOP = 22, 210, 520, 40
COLOURS = ("#4269d0", "#efb118", "#3ca951", "#ff725c")
LEAST, MOST = 0.25, 1000.0


def place(ratio: float) -> float:
    """Where a ratio stands, on a logarithmic scale."""
    share = math.log(max(LEAST, min(MOST, ratio)) / LEAST) / math.log(MOST / LEAST)
    return LEFT + share * WIDTH


def bars(rates: dict[str, dict[str, list[float]]]) -> list[str]:
    parts, y = [], TOP
    for shape, found in rates.items():
        ours = rig.median(found[BRIDGE])
        compared = [name for name in COMPARED if name in found]
        if not compared:
            continue
        parts.append(f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{html.escape(shape)}</text>')
        for name in compared:
            ratio = ours / rig.median(found[name])
            colour, begin, end = COLOURS[COMPARED.index(name)], place(1), place(ratio)
            left, width = min(begin, end), max(1.0, abs(end - begin))
            parts.append(
                f'<rect x="{left:.1f}" y="{y + 3}" width="{width:.1f}" height="12" fill="{colour}"/>'
            )
            parts.append(f'<text x="{max(begin, end) + 4:.1f}" y="{y + 13}">{ratio:,.2f}×</text>')
            y += ROW - 6
        y += 10
    return [*parts, axis(y)]


def axis(bottom: int) -> str:
    ticks = [1.0, 10.0, 100.0, 1000.0]
    lines = [
        f'<line x1="{place(t):.1f}" y1="{TOP - 6}" x2="{place(t):.1f}" y2="{bottom}" stroke="#bbb"/>'
        f'<text x="{place(t):.1f}" y="{bottom + 14}" text-anchor="middle">{t:g}×</text>'
        for t in ticks
    ]
    legend = [
        f'<rect x="{LEFT + i * 130}" y="8" width="12" height="12" fill="{COLOURS[i]}"/>'
        f'<text x="{LEFT + i * 130 + 17}" y="18">÷ {html.escape(name)}</text>'
        for i, name in enumerate(COMPARED)
    ]
    return "".join((*lines, *legend)) + f"<!--{bottom + 24}-->"


def main() -> None:
    rates = json.loads((rig.RESULTS / "ingest.json").read_text())["rates"]
    parts = bars(rates)
    height = int(parts[-1].rsplit("<!--", 1)[1].removesuffix("-->"))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 70} {height}" '
        'font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="white"/>'
    )
    OUT.write_text(head + "\n".join(parts) + "</svg>\n")
    print(f"wrote {OUT}")


if __name__ == "__main__":
    main()
