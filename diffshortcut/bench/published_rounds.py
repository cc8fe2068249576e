"""The published loops that train surrogates; see published.py for what all of them keep."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from diffshortcut.attacks.alternating import Alternating
from diffshortcut.attacks.aspl import ASPL
from diffshortcut.attacks.easpl import EnsembleASPL
from diffshortcut.attacks.metacloak import MetaCloak
from diffshortcut.attacks.scene import Scene
from diffshortcut.attacks.simac import SimAC
from diffshortcut.attacks.surrogate import WithSurrogates
from diffshortcut.bench.published import adamw, climb, latent, moved, wasteful
from diffshortcut.models.features import decoder_features
from diffshortcut.models.ldm import LatentDiffusion
from diffshortcut.seeding import Draws

Loss = Callable[[LatentDiffusion, int, Tensor], Tensor]  # (model, step, x) -> scalar


def aspl(attack: ASPL, scene: Scene, draws: Draws) -> Tensor:
    """Three copies of the model per round, gradients of all weights and an embedding per image in
    every ascending step, two images encoded in every training step [2.2: 4, 5, 6].
    """
    surrogate, x = attack.surrogate.copy(), scene.images
    loss = _denoising(attack, draws)
    for number in scene.checkpoint.track(range(attack.rounds), "aspl", scene.variables()):
        surrogate, x = _round(attack, surrogate, x, loss, scene, draws, number)
    return x


def easpl(attack: EnsembleASPL, scene: Scene, draws: Draws) -> Tensor:
    """ASPL's waste for every model [2.2, 2.3]; sequential, as ours is.

    That the released code moves every model to the processor and back is left out.
    """
    models = {name: model.copy() for name, model in attack.surrogates.items()}
    x = scene.images
    for number in scene.checkpoint.track(range(attack.rounds), "easpl", scene.variables()):
        for name, model in models.items():
            own = draws.scope(name)
            loss = _denoising(attack, own)
            models[name], x = _round(attack, model, x, loss, scene, own, number)
    return x


def simac(attack: SimAC, scene: Scene, draws: Draws) -> Tensor:
    """ASPL's waste, and in every step the clean image encoded and passed as well [2.11].

    Without `attach_features` that pass changes nothing, as released. The search goes image by
    image, with six whole gradients per step [10].
    """
    lists = _search(attack, scene, draws.scope("greedy"))
    surrogate, x = attack.surrogate.copy(), scene.images
    loss = _with_features(attack, scene, draws, lists)
    for number in scene.checkpoint.track(range(attack.rounds), "simac", scene.variables()):
        surrogate, x = _round(attack, surrogate, x, loss, scene, draws, number)
    return x


def metacloak(attack: MetaCloak, scene: Scene, draws: Draws) -> Tensor:
    """A copy of the model per advance, two images encoded in every training step [2.4: 5].

    The ascent is ASPL's. Left out: changes of precision, and snapshots kept elsewhere.
    """
    own, last = draws.scope("surrogate"), max(attack.snapshots - 1, 1)
    model, x, loss = attack.surrogate.copy(), scene.images, _denoising(attack, draws)
    optimizer, pool, done = adamw(model.trainable_parameters(), attack.learning_rate), [], 0
    for i in range(attack.snapshots):
        until = i * attack.surrogate_steps // last
        _train(attack, model, optimizer, scene.images, scene, own, range(done, until))
        pool.append(model.copy())
        done = until
    total = attack.trails * len(pool) * attack.rounds
    for number in scene.checkpoint.track(range(total), "metacloak", scene.variables()):
        snapshot, again = divmod(number, attack.rounds)
        model = model if again else pool[snapshot % len(pool)]
        x = _ascended(attack, model, x, loss, scene, number * attack.pgd_steps, attack.pgd_steps)
        first = done + number * attack.advance_steps
        steps = range(first, first + attack.advance_steps)
        model = _trained(attack, model, x, scene, own, steps)
    return x


def _round(
    attack: Alternating,
    surrogate: LatentDiffusion,
    x: Tensor,
    loss: Loss,
    scene: Scene,
    draws: Draws,
    number: int,
) -> tuple[LatentDiffusion, Tensor]:
    """Learn set_A, ascend, learn what came of it: the first copy is the caller's."""
    clean, adversarial = (
        range(number * steps, (number + 1) * steps)
        for steps in (attack.clean_steps, attack.adversarial_steps)
    )
    clone = surrogate.copy()
    clone = _trained(attack, clone, scene.clean, scene, draws.scope("clone"), clean)
    x = _ascended(attack, clone, x, loss, scene, number * attack.pgd_steps, attack.pgd_steps)
    own = draws.scope("surrogate")
    return _trained(attack, surrogate, x, scene, own, adversarial), x


def _ascended(
    attack: WithSurrogates,
    model: LatentDiffusion,
    x: Tensor,
    loss: Loss,
    scene: Scene,
    first: int,
    steps: int,
) -> Tensor:
    for step in range(first, first + steps):
        x = climb(attack, scene, x, partial(loss, model, step))
    return x


def _denoising(attack: WithSurrogates, draws: Draws) -> Loss:
    """Of transformed images where the attack transforms, one draw per image as ours."""
    transforms = attack.eot.transforms if attack.eot else []

    def loss(model: LatentDiffusion, step: int, x: Tensor) -> Tensor:
        for transform in transforms:
            x = transform(x, draws, range(len(x)), step)
        return wasteful(model, attack.instance_prompt, draws, step)(x)

    return loss


def _trained(
    attack: WithSurrogates,
    model: LatentDiffusion,
    images: Tensor,
    scene: Scene,
    draws: Draws,
    steps: range,
) -> LatentDiffusion:
    """A copy of the model, trained with an optimizer of its own."""
    model = model.copy()
    optimizer = adamw(model.trainable_parameters(), attack.learning_rate)
    _train(attack, model, optimizer, images, scene, draws, steps)
    return model


def _train(
    attack: WithSurrogates,
    model: LatentDiffusion,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    scene: Scene,
    draws: Draws,
    steps: range,
) -> None:
    """DreamBooth from pixels: an image of the person and one of the class, encoded every step."""
    for step in steps:
        sets = {"instance": images, "prior": scene.class_prior()}
        pixels = [_next(what, some, draws, step) for what, some in sets.items()]
        with torch.no_grad():
            mean, std = model.posterior(torch.cat(pixels))
        parts = [draws.normal(f"{what} posterior", mean.shape[1:], 1, step) for what in sets]
        sample = torch.cat(parts)
        z = model.reparameterize(mean, std, sample)
        t = draws.integers("timestep", model.num_timesteps, 2, step)
        noise = draws.normal("noise", z.shape[1:], 2, step)
        context = model.encode_prompt([attack.instance_prompt, attack.class_prompt])
        optimizer.zero_grad()
        model.denoising_loss(z, context, t, noise).sum().backward()
        nn.utils.clip_grad_norm_(model.trainable_parameters(), 1.0)
        optimizer.step()


def _next(what: str, images: Tensor, draws: Draws, step: int) -> Tensor:
    """The image of a training step: every pass over them has a random order, as ours."""
    number, place = divmod(step, len(images))
    index = draws.permutation(f"{what} order", len(images), step=number)[place]
    return images[index][None]


def _with_features(attack: SimAC, scene: Scene, draws: Draws, lists: list[Tensor]) -> Loss:
    """The denoising loss plus the features' distance, in one pass of x and one of the clean x."""

    def loss(model: LatentDiffusion, step: int, x: Tensor) -> Tensor:
        images = range(len(x))
        unit = draws.uniform("timestep", (), images, step)
        t = torch.stack([some[int(u * len(some))] for some, u in zip(lists, unit, strict=True)])
        context = model.encode_prompt([attack.instance_prompt] * len(x))
        value, features = _pass(model, x, t, context, draws, step)
        with torch.no_grad():
            _, clean = _pass(model, scene.images, t, context.detach(), draws, step)
        far = (features - clean).square().flatten(1).mean(1)
        far = far if attack.attach_features else far.detach()
        return (value + attack.feature_weight * far).mean()

    return loss


def _pass(
    model: LatentDiffusion, x: Tensor, t: Tensor, context: Tensor, draws: Draws, step: int
) -> tuple[Tensor, Tensor]:
    """Loss and features of the last up block, from the same pass of the denoiser."""
    z, _, noise = latent(model, x, draws, range(len(x)), step)
    predictions: list[Tensor] = []
    hook = model.unet.register_forward_hook(lambda _, __, out: predictions.append(out.sample))
    features = decoder_features(model, model.add_noise(z, noise, t), t, context)
    hook.remove()
    error = (predictions[0] - model.target(z, noise, t)).square().mean((1, 2, 3))
    return error, features


def _search(attack: SimAC, scene: Scene, draws: Draws) -> list[Tensor]:
    """For each image, step after step: six gradients, each of all weights, one at a time."""
    model, search = attack.surrogate.copy(), attack.greedy
    x = scene.images
    left = [torch.arange(model.num_timesteps) for _ in scene.names]
    for number in scene.checkpoint.track(
        range(search.steps), "simac: timesteps", scene.variables()
    ):
        if all(len(some) <= search.timesteps_left for some in left):
            break
        first = number * (search.candidates + 1)
        found = []
        for i in range(len(x)):
            unit = draws.uniform("candidates", (search.candidates,), [i], number)[0]
            drawn = left[i][(unit * len(left[i])).long()]
            slopes = [
                _slope(attack, model, x[i : i + 1], i, t, draws, first + k)
                for k, t in enumerate(drawn)
            ]
            sizes = torch.stack([slope.abs().sum() for slope in slopes])
            strongest = drawn[sizes.argmax()]
            left[i] = _without(left[i], drawn[sizes.argmin()], attack)
            step = first + search.candidates
            found.append(_slope(attack, model, x[i : i + 1], i, strongest, draws, step))
        x = x.detach().clone()
        x.grad = torch.cat(found)
        x = moved(attack, scene, x, None)
    return left


def _slope(
    attack: SimAC, model: LatentDiffusion, x: Tensor, i: int, t: Tensor, draws: Draws, step: int
) -> Tensor:
    x = x.detach().requires_grad_()
    z, _, noise = latent(model, x, draws, [i], step)
    context = model.encode_prompt([attack.instance_prompt])
    model.denoising_loss(z, context, t[None], noise).mean().backward()
    assert x.grad is not None
    return x.grad


def _without(left: Tensor, weakest: Tensor, attack: SimAC) -> Tensor:
    """The timesteps that stay: all, when few are left or none would be."""
    kept = left[(left - weakest).abs() > attack.greedy.window]
    few = len(left) <= attack.greedy.timesteps_left
    return left if few or len(kept) == 0 else kept
