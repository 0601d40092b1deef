# SPDX-License-Identifier: GPL-2.0-or-later
"""A chart's SVG made fit for a report: small, in the page's fonts, its colours by name, which can change.

What comes in was drawn by Vega with the light colours of `palette`; everything else in it is kept out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import MappingProxyType
from xml.etree import ElementTree  # reads only what vl-convert wrote, which escapes what is in a chart

from pvefi.evaluate.report.palette import COLOURS

__all__ = ["NAMESPACE", "inline", "standalone"]

NAMESPACE = "http://www.w3.org/2000/svg"

_BY_LIGHT = MappingProxyType({colour.light: name for name, colour in COLOURS.items()})
_SHAPE = ("x", "y", "x1", "y1", "x2", "y2", "width", "height", "d")
_KEPT = (*_SHAPE, "text-anchor", "fill", "stroke")
_MARGIN = 20
"""Pixels at each side, as fonts of a reader may be wider than the one that Vega measured with."""
_NUMBER = re.compile(r"-?\d*\.\d+(?:e-?\d+)?")
_MOVE = re.compile(r"translate\((-?[\d.]+),(-?[\d.]+)\)")
_EMPTY_PATH = re.compile(r"(?:M0,0h0v0h0Z)?")


def inline(svg: str, label: str) -> str:
    """Return the picture for a page that has the styles: its colours are classes, `label` its name."""
    root = _reduced(svg, label)
    for element in root.iter():
        names = [*_take_colours(element)]
        if names:
            element.set("class", " ".join(names))
    return _text(root)


def standalone(svg: str, label: str) -> str:
    """Return the picture as a file of its own, light or dark as its reader prefers."""
    root = _reduced(svg, label)
    root.set("xmlns", NAMESPACE)
    used: set[str] = {"paper", "ink"}
    for element in root.iter():
        for attribute in ("fill", "stroke"):
            name = _BY_LIGHT.get(element.get(attribute, ""))
            if name:
                used.add(name)
                _add_class(element, _class_of(attribute, name))
    style = ElementTree.Element("style")
    style.text = _style(used)
    title = ElementTree.Element("title")
    title.text = label
    x, y = str(-_MARGIN), str(-_MARGIN // 2)
    paper = ElementTree.Element("rect", {"x": x, "y": y, "width": "100%", "height": "100%", "class": "paper"})
    paper.set("fill", COLOURS["paper"].light)
    root[:0] = [title, style, paper]
    return _text(root)


def _style(used: set[str]) -> str:
    """Return the style of a file of its own: the light colours stand in the elements themselves."""
    dark = "".join(
        f".{_class_of('fill', name)}{{fill:{COLOURS[name].dark}}}"
        f".{_class_of('stroke', name)}{{stroke:{COLOURS[name].dark}}}"
        for name in COLOURS
        if name in used
    )
    return (
        f"text{{font:11px system-ui,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;"
        f"fill:{COLOURS['ink'].light}}}.quiet{{fill:{COLOURS['quiet'].light}}}"
        f"@media(prefers-color-scheme:dark){{text{{fill:{COLOURS['ink'].dark}}}{dark}}}"
    )


def _reduced(svg: str, label: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)  # noqa: S314 - vl-convert's own output, without a document type
    width = str(round(float(root.get("width", "0"))) + 2 * _MARGIN)
    height = str(round(float(root.get("height", "0"))) + _MARGIN)
    body = [child for child in root if _name(child) == "g"]  # not the rectangle behind everything
    made = ElementTree.Element("svg", {"role": "img", "aria-label": label})
    made.set("viewBox", f"{-_MARGIN} {-_MARGIN // 2} {width} {height}")
    made.set("width", width)
    made.set("height", height)
    for child in body:
        made.extend(_cleaned(child, (0.0, 0.0)))
    return made


def _cleaned(element: ElementTree.Element, origin: tuple[float, float]) -> Iterator[ElementTree.Element]:
    """Yield what is to be seen of an element, groups dissolved into where their members stand."""
    kind = _name(element)
    x, y = origin
    turned = ""
    if move := _MOVE.match(element.get("transform", "")):
        x, y = x + float(move[1]), y + float(move[2])
        turned = element.get("transform", "")[move.end() :].strip()
    if kind == "g":
        for child in element:
            yield from _cleaned(child, (x, y))
        return
    if element.get("display") == "none" or element.get("opacity") == "0":
        return
    if kind == "path" and _EMPTY_PATH.fullmatch(element.get("d", "")):
        return
    if not {"fill", "stroke"} & set(element.keys()):
        return  # the plotting area's own outline
    made = ElementTree.Element(kind)
    made.text = element.text
    for name in _KEPT:
        value = element.get(name)
        if value is not None:
            made.set(name, _NUMBER.sub(_rounded, value))
    if turned:
        made.set("transform", _NUMBER.sub(_rounded, f"translate({x},{y}){turned}"))
    else:
        _place(made, x, y)
    yield made


def _place(element: ElementTree.Element, x: float, y: float) -> None:
    """Move an element, by its own coordinates where it has them."""
    match element.tag:
        case "text":
            element.set("x", _short(x + float(element.get("x", "0"))))
            element.set("y", _short(y + float(element.get("y", "0"))))
        case "line":
            x2, y2 = float(element.get("x2", "0")), float(element.get("y2", "0"))
            for name, value in (("x1", x), ("y1", y), ("x2", x + x2), ("y2", y + y2)):
                element.set(name, _short(value))
        case "path" if (start := re.match(r"M(-?[\d.]+),(-?[\d.]+)", element.get("d", ""))) and _one_part(
            element.get("d", "")
        ):
            rest = element.get("d", "")[start.end() :]
            begin = f"M{_short(x + float(start[1]))},{_short(y + float(start[2]))}"
            element.set("d", begin + _NUMBER.sub(_rounded, rest))
        case _ if x or y:
            element.set("transform", f"translate({_short(x)},{_short(y)})")


def _one_part(path: str) -> bool:
    """Tell whether all of a path but its start is relative, as a rectangle of Vega's is."""
    return not re.search(r"[A-Y]", path[1:])


def _take_colours(element: ElementTree.Element) -> Iterator[str]:
    """Yield classes for an element's colours, which it then has no longer."""
    for attribute in ("fill", "stroke"):
        name = _BY_LIGHT.get(element.get(attribute, ""))
        if name is None:
            continue
        del element.attrib[attribute]
        if not (element.tag == "text" and name == "ink"):  # all text is, where nothing else is said
            yield _class_of(attribute, name)


def _class_of(attribute: str, name: str) -> str:
    return name if attribute == "fill" else f"s-{name}"


def _add_class(element: ElementTree.Element, name: str) -> None:
    element.set("class", f"{element.get('class', '')} {name}".strip())


def _rounded(found: re.Match[str]) -> str:
    return _short(float(found[0]))


def _short(value: float) -> str:
    """Return a coordinate to a tenth of a pixel, in as few letters as that takes."""
    return f"{round(value, 1) + 0.0:g}"


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _text(root: ElementTree.Element) -> str:
    return ElementTree.tostring(root, encoding="unicode")
