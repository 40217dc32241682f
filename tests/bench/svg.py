"""Bar charts as SVG text: one group a workload, one bar a product. Pure; called by report."""

from collections.abc import Mapping, Sequence
from html import escape

_COLOURS = ("#0b7285", "#868e96", "#2b8a3e", "#e8590c", "#ae3ec9", "#f08c00", "#5c7cfa")
_LEFT, _ROW, _GAP, _WIDTH, _VALUES = 160, 16, 14, 760, 90


def bars(title: str, unit: str, groups: Mapping[str, Mapping[str, float]], products: Sequence[str]) -> str:
    """Horizontal bars, scaled within each group, so that groups of different size stay readable."""
    lines, y = [f'<text x="8" y="22" font-size="15" font-weight="bold">{escape(title)} ({escape(unit)})</text>'], 44
    for group, values in groups.items():
        lines.append(f'<text x="8" y="{y}" font-weight="bold">{escape(group)}</text>')
        y += 6
        longest = max(values.values(), default=0.0) or 1.0
        for product in (name for name in products if name in values):
            value = values[product]
            width = (_WIDTH - _LEFT - _VALUES) * value / longest
            colour = _COLOURS[products.index(product) % len(_COLOURS)]
            lines.append(f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(product)}</text>')
            lines.append(f'<rect x="{_LEFT}" y="{y + 2}" width="{width:.1f}" height="{_ROW - 4}" fill="{colour}"/>')
            lines.append(f'<text x="{_LEFT + width + 6:.1f}" y="{y + 12}">{value:,.4g}</text>')
            y += _ROW
        y += _GAP + 8
    size = f'width="{_WIDTH}" height="{y}" font-family="sans-serif" font-size="11"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    return "\n".join([head, f'<rect width="{_WIDTH}" height="{y}" fill="white"/>', *lines, "</svg>", ""])
