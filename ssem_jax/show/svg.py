"""A figure as one <svg> element inside a page."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.figure import Figure

from ssem_jax.show.style import house_style


def inline_svg(figure: Figure, identity: str, label: str) -> str:
    """A figure as one <svg> element for an HTML page that holds several.

    Text stays text, coordinates are rounded to a hundredth of a point, nothing refers to anything
    outside, and all ids begin with `identity`, so that pictures on one page do not mix.

    Args:
        figure: the figure.
        identity: unique on the page.
        label: what a screen reader says.

    Returns:
        The element.
    """
    written = io.StringIO()
    with house_style(), mpl.rc_context({"svg.fonttype": "none", "savefig.dpi": 144}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    svg = "{http://www.w3.org/2000/svg}"
    link = "{http://www.w3.org/1999/xlink}href"
    root = ElementTree.fromstring(written.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{svg}metadata", f"{svg}style"):
                parent.remove(child)
    text = ElementTree.tostring(root, encoding="unicode")
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    for element in root.iter():
        element.tag = element.tag.removeprefix(svg)
        if link in element.attrib:
            element.set("href", element.attrib.pop(link))
        name = element.attrib.pop("id", None)
        if name in used:
            element.set("id", f"{identity}-{name}")
        for key, value in element.attrib.items():
            if key in ("d", "x", "y", "points"):
                value = re.sub(r"-?\d+\.\d{3,}", lambda match: f"{float(match[0]):.2f}", value)
            if key == "href" and value.startswith("#"):
                value = f"#{identity}-{value[1:]}"
            element.set(key, value.replace("url(#", f"url(#{identity}-"))
    root.attrib = {
        "role": "img",
        "aria-label": label,
        **{name: root.attrib[name] for name in ("viewBox", "width", "height")},
    }
    return ElementTree.tostring(root, encoding="unicode")
