"""A shipped person as attacks see one, without a store: for benches and experiments."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from diffshortcut import links
from diffshortcut.attacks.scene import Scene
from diffshortcut.config import config
from diffshortcut.data import portraits
from diffshortcut.data.person import Person
from diffshortcut.pictures.images import quantize, read_files
from diffshortcut.seeding import Draws

SIZE = 128  # pixels, the mini zoo's
RELEASED = "precision.channels_last=null"  # the layout in memory that published loops compute in
REPORTED = 8  # people; a picture of each of the others stands for an image of the class


def scene(person: Person) -> Scene:
    """Its set_B to protect, set_A to know it by, and other people's pictures as the class."""
    others = [other.set_C[0] for other in portraits.people(people=None)[REPORTED:]]
    images, clean, prior = (
        quantize(read_files(paths, SIZE)) for paths in (person.set_B, person.set_A, others)
    )
    names = tuple(path.name for path in person.set_B)
    return Scene(images=images, clean=clean, prior=prior, names=names)


def purified(chain: Mapping[str, Any], images: Tensor, draws: Draws) -> Tensor:
    """The images after a config's purifier, in 8 bit after each link as the stage has them."""
    scopes = links.scopes([links.kind(node) for node in chain.values()])
    for node, scope in zip(chain.values(), scopes, strict=True):
        images = quantize(config.build(node, "purifier")(images, draws.scope(scope)))
    return images
