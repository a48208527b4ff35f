"""Draw a dashboard: `python draw_dashboard.py PNG`, with the JSON object of `dashboard_pictures` as standard input.

It runs in the environment build/deployment, which has Matplotlib.
"""

import json
import re
import sys
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

WIDTH_IN = 13.0
COLUMN_IN = WIDTH_IN / 24
"""Width of a column of Grafana's grid, which has 24."""
ROW_IN = 0.34
HEAD_IN = 0.4
LEFT_IN, RIGHT_IN, ABOVE_IN, BELOW_IN = 0.6, 0.15, 0.3, 0.65
"""Space inside a panel around its axes, for the title, the labels and the legend."""
MAX_LEGEND = 6
COLOURS = ("#3274d9", "#e0752d", "#56a64b", "#a352cc", "#c4162a", "#7c8da6", "#b87503", "#0a8c8c")


def format_value(value: float, unit: str) -> str:
    """Return a value with its unit, such as `12 ms`."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    if unit in ("bytes", "Bps"):
        for name in ("B", "kB", "MB", "GB"):
            if abs(value) < 1000 or name == "GB":
                return f"{value:.3g} {name}{'/s' if unit == 'Bps' else ''}"
            value /= 1000
    return f"{value:.3g}" + {"ops": "/s", "reqps": "/s", "cps": "/s"}.get(unit, "")


def legend_of(series: dict[str, Any]) -> str:
    """Return the legend of a series, from the format of its query."""
    labels: dict[str, str] = series["labels"]
    if series["legend"] in ("", "__auto"):
        return ", ".join(value for name, value in sorted(labels.items()) if name != "__name__")
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda name: labels.get(name[1], ""), series["legend"])


def points_of(series: dict[str, Any], ended: float) -> tuple[list[float], list[float]]:
    """Return the times in minutes before the end, and the values. Values that are not numbers are left out."""
    values = [(float(at), float(value)) for at, value in series["values"] if value not in ("NaN", "+Inf", "-Inf")]
    return [(at - ended) / 60 for at, _ in values], [value for _, value in values]


def draw_panel(axes: Any, panel: dict[str, Any], began: float, ended: float) -> None:
    """Draw one panel: the newest value, the rows of a table, or lines over the time."""
    series = [(legend_of(each), *points_of(each, ended)) for each in panel["series"]]
    series = [each for each in series if each[2]]
    axes.set_title(panel["title"], loc="left", fontsize=8, fontweight="bold", pad=5)
    if panel["type"] != "timeseries":
        axes.axis("off")
        if panel["type"] == "stat":
            text = format_value(series[0][2][-1], panel["unit"]) if series else "no data"
            axes.text(0.0, 0.4, text, va="center", fontsize=17, color="#37872d", transform=axes.transAxes)
        else:
            text = "\n".join(name for name, _, _ in series[:12]) or "no rows"
            axes.text(0.0, 1.0, text, va="top", fontsize=7, transform=axes.transAxes)
        return
    series.sort(key=lambda each: -max(each[2]))
    for number, (name, times, values) in enumerate(series):
        label = name if number < MAX_LEGEND else None
        axes.plot(times, values, color=COLOURS[number % len(COLOURS)], linewidth=1, label=label)
    if not series:
        axes.text(0.5, 0.5, "no data", ha="center", va="center", fontsize=8, color="#777777", transform=axes.transAxes)
    axes.set_xlim((began - ended) / 60, 0)
    axes.set_ylim(0, 1.1 * max((max(each[2]) for each in series), default=0) or 1)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g} min" if value else "end"))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_value(value, panel["unit"])))
    axes.tick_params(labelsize=6, length=2)
    axes.grid(color="#e5e5e5", linewidth=0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if any(name for name, _, _ in series):
        more = f"The {MAX_LEGEND} highest of {len(series)}:" if len(series) > MAX_LEGEND else None
        axes.legend(
            fontsize=6, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.13), ncols=3, borderpad=0,
            title=more, title_fontsize=6, alignment="left",
        )  # fmt: skip


def main() -> None:
    dashboard = json.load(sys.stdin)
    panels = dashboard["panels"]
    height_in = HEAD_IN + ROW_IN * max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=100)
    canvas = FigureCanvasAgg(figure)
    figure.text(LEFT_IN / WIDTH_IN, 1 - HEAD_IN / 2 / height_in, dashboard["title"], fontsize=12, fontweight="bold")
    for panel in panels:
        at = panel["gridPos"]
        left = at["x"] * COLUMN_IN + LEFT_IN
        bottom = height_in - HEAD_IN - (at["y"] + at["h"]) * ROW_IN + BELOW_IN
        width, height = at["w"] * COLUMN_IN - LEFT_IN - RIGHT_IN, at["h"] * ROW_IN - ABOVE_IN - BELOW_IN
        place = (left / WIDTH_IN, bottom / height_in, width / WIDTH_IN, height / height_in)
        draw_panel(figure.add_axes(place), panel, dashboard["began"], dashboard["ended"])
    canvas.draw()
    # A palette makes the file a third of its size.
    Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB").quantize(224).save(
        sys.argv[1], optimize=True
    )


if __name__ == "__main__":
    main()
