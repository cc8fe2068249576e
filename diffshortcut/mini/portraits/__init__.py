"""Procedural portraits of invented people: seeded identities, views, captions, styles."""

from diffshortcut.mini.portraits.captions import caption
from diffshortcut.mini.portraits.mesh import HeadMesh
from diffshortcut.mini.portraits.person import Person
from diffshortcut.mini.portraits.render import Shot, attributes, render
from diffshortcut.mini.portraits.style import DEGRADATIONS, STYLES, degrade, stylize
from diffshortcut.mini.portraits.view import View

__all__ = [
    "DEGRADATIONS", "STYLES", "HeadMesh", "Person", "Shot", "View", "attributes", "caption",
    "degrade", "render", "stylize",
]  # fmt: skip
