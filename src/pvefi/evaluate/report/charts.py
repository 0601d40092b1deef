# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures as Altair charts, drawn to SVG by vl-convert: nothing of it runs in the report.

No kind tells by colour alone: what a range or a bar is stands in it, a count is written in its cell.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pvefi.evaluate.document import Picture, PictureKind
from pvefi.evaluate.report.memory_strips import KINDS, Strips, strips_of
from pvefi.evaluate.report.palette import COLOURS, FILLS, STEPS
from pvefi.evaluate.report.plain import plain
from pvefi.trace.values import Json

if TYPE_CHECKING:
    import altair

    Chart = altair.LayerChart | altair.FacetChart

__all__ = ["svg_of"]

_WIDTH = 640
"""Of what is drawn in, in pixels: a picture is read at about this size."""
_NAME = 60  # letters of a name in a picture
_LETTER = 6.2  # pixels, about, of a letter of 11 pixels
_NARROW_LETTER, _WIDE_LETTER = 5.6, 7.2
"""Pixels of one as a picture is measured, and in the widest of the fonts that a reader may have."""
_ROW = 24
_LEAST_CELL = 30


def svg_of(picture: Picture) -> str:
    """Return the picture as Vega draws it, in the light colours of `palette`.

    ModuleNotFoundError where the extra `evaluate` is not installed.
    """
    import vl_convert

    match picture.kind:
        case PictureKind.MEMORY_MAPS:
            chart = _memory_maps(picture.records)
        case PictureKind.TIMELINE:
            chart = _timeline(picture.records)
        case PictureKind.HEAT_MAP:
            chart = _heat_map(picture.records)
    svg: str = vl_convert.vegalite_to_svg(_configured(chart).to_dict(), allowed_base_urls=[])
    return svg


def _configured(chart: Chart) -> Chart:
    ink, quiet, line = (COLOURS[name].light for name in ("ink", "quiet", "line"))
    configured: Chart = (
        chart.configure_view(stroke=None)
        .configure_axis(
            labelColor=ink,
            titleColor=quiet,
            gridColor=line,
            domainColor=line,
            tickColor=line,
            labelFontSize=11,
            titleFontSize=11,
            titleFontWeight="normal",
            labelLimit=int(_NAME * _LETTER),
        )
        .configure_legend(
            labelColor=ink,
            titleColor=quiet,
            labelFontSize=11,
            orient="bottom",
            columns=4,
            columnPadding=24,
            symbolType="square",
            labelLimit=int(_NAME * _LETTER),
        )
    )
    return configured


def _memory_maps(records: Sequence[Mapping[str, Json]]) -> Chart:
    import altair

    strips: Strips = strips_of(records)
    width = max(150, min(300, _WIDTH // max(1, len(strips.panels))))
    kinds = [*dict.fromkeys(strip.kind for strip in strips.strips)]
    shades = altair.Scale(domain=kinds, range=[COLOURS[KINDS[kind]].light for kind in kinds])
    x = altair.X(
        "panel:N",
        sort=None,
        title=None,
        scale=altair.Scale(domain=list(strips.panels), paddingInner=0.06, paddingOuter=0),
        axis=altair.Axis(orient="top", labelAngle=0, domain=False, ticks=False, labelLimit=width),
    )
    scale = altair.Scale(domain=[0, strips.height], reverse=True, nice=False)
    axis = altair.Axis(
        values=list(strips.addresses),
        labelExpr=f"{json.dumps(dict(strips.addresses))}[datum.value]",
        grid=False,
        domain=False,
        labelColor=COLOURS["quiet"].light,
    )
    base = altair.Chart({"values": [strip.to_json() for strip in strips.strips]}).properties(
        width=width * max(1, len(strips.panels)), height=strips.height
    )
    unnamed = not all(strip.label for strip in strips.strips)
    legend = altair.Legend(title=None) if unnamed else None
    bars = base.mark_rect(stroke=COLOURS["paper"].light, strokeWidth=0.5).encode(
        x=x,
        y=altair.Y("top:Q", scale=scale, axis=axis, title=None),
        y2="bottom:Q",
        color=altair.Color("kind:N", scale=shades, legend=legend),
    )
    names = base.mark_text(color=COLOURS["ink"].light, fontSize=10, limit=width - 16, dy=1).encode(
        x=x, y=altair.Y("middle:Q", scale=scale, axis=axis, title=None), text="label:N"
    )
    return altair.layer(bars, names)


def _timeline(records: Sequence[Mapping[str, Json]]) -> Chart:
    import altair

    phases = [*dict.fromkeys(_named(record["phase"]) for record in records)]
    ways = [*dict.fromkeys(_named(record["way"]) for record in records)]
    numbered = {phase: f"{number} until {phase}" for number, phase in enumerate(phases, 1)}
    longest = max([_number(record["end"]) for record in records], default=0) or 1
    values, ends = [], dict.fromkeys(ways, 0.0)
    for record in records:
        start, end = _number(record["start"]), _number(record["end"])
        way, phase = _named(record["way"]), _named(record["phase"])
        room = (end - start) / longest * _WIDTH
        name = numbered[phase]
        text = next((one for one in (name, name.split(" ")[0]) if len(one) * _LETTER + 6 < room), "")
        values.append(
            {"way": way, "phase": name, "start": start, "end": end, "middle": (start + end) / 2, "text": text}
        )
        ends[way] = max(ends[way], end)
    y = altair.Y("way:N", sort=None, title=None, scale=altair.Scale(domain=ways))
    x = altair.Scale(domain=[0, longest * 1.1], nice=False)
    axis = altair.Axis(tickCount=8)
    colours = _colours([*numbered.values()])
    base = altair.Chart({"values": values}).properties(width=_WIDTH, height=_ROW * len(ways))
    bars = base.mark_bar(stroke=COLOURS["paper"].light, strokeWidth=1, height={"band": 0.75}).encode(
        y=y,
        x=altair.X("start:Q", scale=x, axis=axis, title="milliseconds from the start"),
        x2="end:Q",
        color=altair.Color("phase:N", scale=colours, legend=altair.Legend(title=None)),
    )
    ink = COLOURS["ink"].light
    names = base.mark_text(color=ink, fontSize=10, dy=1).encode(
        y=y, x=altair.X("middle:Q", scale=x, axis=axis), text="text:N"
    )
    sums = [{"way": way, "end": end, "text": _shown(end)} for way, end in ends.items()]
    totals = (
        altair.Chart({"values": sums})
        .mark_text(color=ink, fontSize=11, align="left", dx=5, dy=1)
        .encode(y=y, x=altair.X("end:Q", scale=x, axis=axis), text="text:N")
    )
    return altair.layer(bars, names, totals).properties(padding=_room(max(map(len, ways), default=0)))


def _heat_map(records: Sequence[Mapping[str, Json]]) -> Chart:
    import altair

    rows = [*dict.fromkeys(_named(record["row"]) for record in records)]
    columns = [*dict.fromkeys(_named(record["column"]) for record in records)]
    most = max([_number(record["value"]) for record in records], default=0)
    values = [
        {
            "row": _named(record["row"]),
            "column": _named(record["column"]),
            "step": _step(_number(record["value"]), most),
            "text": _shown(_number(record["value"])) if record["value"] else "·",
        }
        for record in records
    ]
    longest = max([len(name) for name in columns], default=0) * _LETTER
    cell = max(_LEAST_CELL, min(round(longest) + 12, _WIDTH // max(1, len(columns))))
    upright = longest > cell
    x = altair.X(
        "column:N",
        sort=None,
        title=None,
        scale=altair.Scale(domain=columns),
        axis=altair.Axis(
            orient="top",
            labelAngle=-45 if upright else 0,
            labelAlign="left" if upright else "center",
            domain=False,
            ticks=False,
        ),
    )
    y = altair.Y(
        "row:N",
        sort=None,
        title=None,
        scale=altair.Scale(domain=rows),
        axis=altair.Axis(domain=False, ticks=False),
    )
    longest_row = max([len(name) for name in rows], default=0)
    base = altair.Chart({"values": values}).properties(
        width=cell * len(columns), height=(_ROW - 4) * len(rows)
    )
    steps = altair.Scale(domain=[*range(len(STEPS))], range=[COLOURS[name].light for name in STEPS])
    cells = base.mark_rect(stroke=COLOURS["paper"].light, strokeWidth=1).encode(
        x=x, y=y, color=altair.Color("step:O", scale=steps, legend=None)
    )
    counts = base.mark_text(color=COLOURS["ink"].light, fontSize=10, dy=1).encode(x=x, y=y, text="text:N")
    return altair.layer(cells, counts).properties(padding=_room(longest_row))


def _room(letters: int) -> dict[str, float]:
    """Return the padding with which a name of so many letters at the left is whole in any font."""
    return {"left": 5 + round(letters * (_WIDE_LETTER - _NARROW_LETTER)), "top": 5, "right": 5, "bottom": 5}


def _step(value: float, most: float) -> int:
    """Return which step of colour a count has: by its logarithm, as few are called often."""
    if value <= 0 or most <= 0:
        return 0
    last = len(STEPS) - 1
    return max(1, min(last, math.ceil(last * math.log1p(value) / math.log1p(most))))


def _colours(names: Sequence[str]) -> altair.Scale:
    """Return the scale that gives names colours in their order; the quiet first one is none of them."""
    import altair

    kinds = [COLOURS[name].light for name in FILLS[1:]]
    return altair.Scale(domain=list(names), range=[kinds[at % len(kinds)] for at in range(len(names))])


def _named(value: Json) -> str:
    return plain(str(value), _NAME)


def _number(value: Json) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.3g}"
