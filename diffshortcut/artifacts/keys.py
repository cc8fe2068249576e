"""Stage keys: what is equal in all that a result depends on has one key, on every machine.

Rounding is not in it: device, threads, kernels and versions of libraries are recorded instead.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from diffshortcut import weights
from diffshortcut.artifacts import sources

# change rounding at most, so they are recorded instead: by the node that they are keys of
NEUTRAL = {
    "precision": {
        "attention",
        "gradient_checkpointing",
        "recompute_encoder",
        "channels_last",
        "compiled",
    },
}
DTYPE = "float32"


def stage_key(
    *,
    stage: str,
    config: Mapping[str, Any],
    person: str = "",
    data: str = "",
    parents: Mapping[str, str],
) -> str:
    """32 hex characters of everything the stage's result depends on.

    `data` is the digest of the person's images, `parents` the keys of the artifacts read, by role.
    The config counts without neutral keys, with every weight reference replaced by its digest,
    and with the source of every `_target_`.
    """
    content = {
        "stage": stage,
        "config": _content(config),
        "source": sources.digest(modules(stage, config)),
        "person": person,
        "data": data,
        "parents": dict(parents),
        "dtype": DTYPE,
    }
    return digest(content)[:32]


def modules(stage: str, config: Mapping[str, Any]) -> set[str]:
    """Dotted names of the code that a stage begins with."""
    return {f"diffshortcut.stages.{stage}", *targets(config)}


def is_neutral(where: str) -> bool:
    """Whether a value of a config, by its dotted name, changes rounding at most."""
    *above, name = where.split(".")
    return name == "micro_batch" or bool(above) and name in NEUTRAL.get(above[-1], ())


def digest(content: Any) -> str:
    """sha256 of `content` as canonical JSON, in which a chain of nodes keeps its order."""
    text = json.dumps(_in_order(content), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _in_order(content: Any) -> Any:
    """With pairs for a mapping of nodes: a JPEG before an upscaler is not one behind it."""
    if isinstance(content, list | tuple):
        return [_in_order(value) for value in content]
    if not isinstance(content, Mapping):
        return content
    values = list(content.values())
    chain = len(values) > 1 and all(isinstance(v, Mapping) and "_target_" in v for v in values)
    pairs = [(key, _in_order(value)) for key, value in content.items()]
    return pairs if chain else dict(pairs)


def targets(node: Any) -> Iterator[str]:
    """Every `_target_` in a config, depth first."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from targets(child)


def method(node: Any) -> str:
    """The class name of the first `_target_` (`ASPL`); of a loader function its module (`ldm`).

    '' without one.
    """
    *module, name = next(targets(node), "").split(".")
    return name if name[:1].isupper() or not module else module[-1]


def _content(node: Any, inside: str = "") -> Any:
    if isinstance(node, Mapping):
        counts = [key for key in node if not is_neutral(f"{inside}.{key}")]
        return {key: _content(node[key], key) for key in counts}
    if isinstance(node, list):
        return [_content(value) for value in node]
    return f"sha256:{weights.digest(node)}" if weights.scheme(node) else node
