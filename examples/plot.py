"""Line plots as SVG, for the scripts of the examples; NumPy is all that they need."""
import html

import numpy as np

COLOURS = ["#1f5fa8", "#c0392b", "#2e8b57", "#b8860b", "#6a4c93", "#444444"]
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 360, 260, 54, 40, 24, 12


def number(v):
    text = f"{v + 0:.3g}".replace("-0", "0") if abs(v) < 1e-12 else f"{v:.3g}"
    return text if "e" not in text else f"1e{int(round(np.log10(abs(v))))}" if abs(v) > 0 else "0"


def ticks(low, high, logarithmic):
    """Places of ticks between two numbers, on a logarithmic axis these are exponents."""
    if logarithmic:
        every = max(1, int(np.ceil((high - low) / 6)))
        return np.arange(np.ceil(low - 1e-9), np.floor(high + 1e-9) + 0.5, every)
    raw = (high - low) / 5
    step = 10 ** np.floor(np.log10(raw))
    step *= min((m for m in (1, 2, 5, 10)), key=lambda m: abs(m * step - raw))
    return np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 0.5) * step


class Panel:
    """One pair of axes: lines (x, y, label), points, level lines of a field."""

    def __init__(self, xlabel, ylabel, title="", log=False, logx=False, equal=False):
        self.xlabel, self.ylabel, self.title = xlabel, ylabel, title
        self.log, self.logx, self.equal = log, logx, equal
        self.series, self.segments = [], []

    def line(self, x, y, label="", points=False, marks=False):
        x, y = np.asarray(x, float), np.asarray(y, float)
        keep = np.isfinite(x) & np.isfinite(y) & ((y > 0) | (not self.log))
        x = np.log10(x[keep]) if self.logx else x[keep]
        self.series.append((x, np.log10(y[keep]) if self.log else y[keep], label, points, marks))

    def contours(self, x, y, field, levels):
        """Level lines of field[j, i] at (x[i], y[j]), by marching triangles."""
        for level in levels:
            for j in range(len(y) - 1):
                for i in range(len(x) - 1):
                    square = field[j:j + 2, i:i + 2]
                    if square.min() < level <= square.max():
                        a, b, c, d = ((x[i], y[j], field[j, i]), (x[i + 1], y[j], field[j, i + 1]),
                                      (x[i + 1], y[j + 1], field[j + 1, i + 1]), (x[i], y[j + 1], field[j + 1, i]))
                        for triangle in ((a, b, c), (a, c, d)):
                            ends = [(p[0] + (level - p[2]) / (q[2] - p[2]) * (q[0] - p[0]),
                                     p[1] + (level - p[2]) / (q[2] - p[2]) * (q[1] - p[1]))
                                    for p, q in zip(triangle, triangle[1:] + triangle[:1])
                                    if (p[2] < level) != (q[2] < level)]
                            if len(ends) == 2:
                                self.segments.append(ends)

    def svg(self, left):
        xs = [s[0] for s in self.series if len(s[0])] + [np.array(e)[:, 0] for e in self.segments]
        ys = [s[1] for s in self.series if len(s[1])] + [np.array(e)[:, 1] for e in self.segments]
        x0, x1 = min(v.min() for v in xs), max(v.max() for v in xs)
        y0, y1 = min(v.min() for v in ys), max(v.max() for v in ys)
        if self.log:
            y0, y1 = np.floor(y0), np.ceil(y1)
        if self.equal:
            x0, x1, y0, y1 = 0, 1, 0, 1
        y1 = y1 if y1 > y0 else y0 + 1
        wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        if self.equal:
            wide = high

        def px(v):
            return left + LEFT + (v - x0) / (x1 - x0) * wide

        def py(v):
            return HEIGHT - BOTTOM - (v - y0) / (y1 - y0) * high
        out = [f'<rect x="{left + LEFT}" y="{TOP}" width="{wide}" height="{high}" fill="none" stroke="#888"/>',
               f'<text x="{left + LEFT + wide / 2}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(self.xlabel)}</text>',
               f'<text transform="translate({left + 13},{TOP + high / 2}) rotate(-90)" text-anchor="middle">'
               f'{html.escape(self.ylabel)}</text>',
               f'<text x="{left + LEFT + wide / 2}" y="15" text-anchor="middle">{html.escape(self.title)}</text>']
        for v in ticks(x0, x1, self.logx):
            label = number(10 ** v) if self.logx else number(v)
            out.append(f'<path d="M{px(v):.1f} {HEIGHT - BOTTOM}v4" stroke="#888"/><text x="{px(v):.1f}" '
                       f'y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{label}</text>')
        for v in ticks(y0, y1, self.log):
            label = f"1e{int(v)}" if self.log else number(v)
            out.append(f'<path d="M{left + LEFT} {py(v):.1f}h-4" stroke="#888"/><text x="{left + LEFT - 6}" '
                       f'y="{py(v) + 3:.1f}" text-anchor="end">{label}</text>')
        if self.segments:
            path = "".join(f"M{px(a[0]):.1f} {py(a[1]):.1f}L{px(b[0]):.1f} {py(b[1]):.1f}" for a, b in self.segments)
            out.append(f'<path d="{path}" fill="none" stroke="{COLOURS[0]}" stroke-width="0.8"/>')
        for i, (x, y, label, points, marks) in enumerate(self.series):
            colour = "#000" if points else COLOURS[i % len(COLOURS)]
            if points or marks:
                out += [f'<circle cx="{px(a):.1f}" cy="{py(b):.1f}" r="1.8" fill="{colour}"/>' for a, b in zip(x, y)]
            if not points:
                line = " ".join(f"{px(a):.1f},{py(b):.1f}" for a, b in zip(x, y))
                out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
            if label:
                at = TOP + 14 + 13 * sum(1 for s in self.series[:i] if s[2])
                out.append(f'<path d="M{left + LEFT + 8} {at - 4}h14" stroke="{colour}" stroke-width="2"'
                           f'{" stroke-dasharray=" + chr(34) + "2 2" + chr(34) if points else ""}/>'
                           f'<text x="{left + LEFT + 26}" y="{at}">{html.escape(label)}</text>')
        return "\n".join(out)


def save(path, *panels):
    body = "\n".join(p.svg(i * WIDTH) for i, p in enumerate(panels))
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * len(panels)}" height="{HEIGHT}" '
                   f'font-family="sans-serif" font-size="10">\n<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n')
