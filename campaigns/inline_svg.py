"""A figure of matplotlib as SVG inside an HTML page: ids of its own, a title and a description for those who cannot see
it, no style that reaches out of it, nothing that is loaded."""

from __future__ import annotations

import io
import re
from collections.abc import Container, Iterator
from xml.etree import ElementTree

from matplotlib.figure import Figure

from campaigns.figure import house_style

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
DROPPED = (f"{{{SVG}}}metadata", f"{{{SVG}}}style", f"{{{SVG}}}title")
STROKES = "stroke-linejoin: round; stroke-linecap: butt"  # what the dropped style sheet said
HREFS = ("href", f"{{{XLINK}}}href")
URL = re.compile(r"url\(#([^)]+)\)")


def inline_svg(figure: Figure, prefix: str, title: str, description: str) -> str:
    """The figure as an <svg> element; `prefix` keeps its ids apart from those of the page's other figures."""
    with house_style():
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(stream.getvalue())
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in DROPPED]:
            parent.remove(child)
    wanted = {target for element in root.iter() for target in _targets(element)}
    for element in root.iter():
        _rename(element, prefix, wanted)
    for name in ("width", "height"):
        root.attrib.pop(name, None)  # as wide as the page lets it be: the viewBox has the proportions
    root.attrib |= {"role": "img", "aria-labelledby": f"{prefix}title {prefix}desc", "style": STROKES}
    for place, (name, text) in enumerate({"title": title, "desc": description}.items()):
        element = ElementTree.Element(f"{{{SVG}}}{name}", {"id": f"{prefix}{name}"})
        element.text = text
        root.insert(place, element)
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _targets(element: ElementTree.Element) -> Iterator[str]:
    """The ids that an element points at."""
    for key, value in element.attrib.items():
        yield from URL.findall(value)
        if key in HREFS and value.startswith("#"):
            yield value[1:]


def _rename(element: ElementTree.Element, prefix: str, wanted: Container[str]) -> None:
    """Put the prefix before an id that is pointed at, and where it is; other ids go, some are there twice."""
    if element.get("id", "") not in wanted:
        element.attrib.pop("id", None)
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, f"{prefix}{value}")
        elif key in HREFS and value.startswith("#"):
            element.set(key, f"#{prefix}{value[1:]}")
        elif "url(#" in value:
            element.set(key, URL.sub(rf"url(#{prefix}\1)", value))
