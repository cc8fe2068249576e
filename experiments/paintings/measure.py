"""Does the style metric tell the drawn artists apart? `python experiments/paintings/measure.py`

Each artist's works of train are scored as generations would be, against the held-out works of every
artist: as they are, and once through the VAE, as every generation is.
"""

import torch
from torch import Tensor

from diffshortcut.data import paintings
from diffshortcut.models import clip, ldm
from diffshortcut.pictures.images import read_files


def auc(own: Tensor, others: Tensor) -> float:
    """The share of pairs in the right order."""
    return float((own.flatten()[:, None] > others.flatten()).float().mean())


def main() -> None:
    """Print the figures of both versions."""
    features = clip.load(weights="mini:clip").image_features
    model = ldm.load(weights="mini:mini_a")
    artists = paintings.people(people=None)
    held_out = [features(read_files(artist.set_C)) for artist in artists]
    works = [read_files(artist.set_A + artist.set_B) for artist in artists]
    with torch.no_grad():
        versions = {
            "works": works,
            "through the VAE": [model.decode(model.encode(w)) for w in works],
        }
    own = torch.eye(len(artists), dtype=torch.bool)
    kind = torch.tensor([[a.name[:4] == b.name[:4] for b in artists] for a in artists])
    for name, images in versions.items():
        mine = [features(batch) for batch in images]
        scores = torch.stack([torch.stack([(m @ h.T).mean(1) for h in held_out]) for m in mine])
        nearest = scores.mean(2).argmax(1) == torch.arange(len(artists))
        right = (scores.argmax(1) == torch.arange(len(artists))[:, None]).float().mean()
        print(
            f"{name}: own artist {scores[own].mean():.3f}, another {scores[~own].mean():.3f},"
            f" AUC {auc(scores[own], scores[~own]):.3f}, AUC against the other artist of the same"
            f" kind {auc(scores[own], scores[kind & ~own]):.3f}, nearest artist right: {right:.3f}"
            f" of works, {int(nearest.sum())} of {len(artists)} artists"
        )
        each = zip(artists, scores[own].mean(1), strict=True)
        print("  " + ", ".join(f"{artist.name} {score:.3f}" for artist, score in each))


if __name__ == "__main__":
    main()
