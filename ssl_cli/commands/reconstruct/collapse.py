"""The collapse alarm: a model that trained without an error, and whose code still says too little, or nothing.

Looked for on training images: what is unused there is unused altogether.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ssl_cli.commands.reconstruct.evaluate import ACTIVE, kl_per_dimension
from ssl_cli.commands.reconstruct.predictions import ModelOutputs, is_discrete
from ssl_cli.models.quantizer import perplexity

LOOKED_AT = 10_000  # training images
LEAST_NATS, LEAST_ACTIVE = 1.0, 0.05  # what a variational code must say of an image; the share of it that must speak
DEAD, STUCK = 0.1, 0.1  # shares that are too many: of dead numbers, of constant bits
UNUSED, UNEVEN = 0.5, 0.1  # share of the alphabet used, and perplexity over the alphabet, that are too little
LEAST_STD = 0.01  # of the largest standard deviation in the code: a number below is dead
LEAST_VARIANCE = 0.05  # of the images' own, in the rebuilt ones


@dataclass(frozen=True)
class CollapseWarning:
    """What collapsed, in two words; and a sentence each on what was found, what it means and what to try."""

    name: str
    text: str


def collapse_warnings(views: dict[str, ModelOutputs]) -> list[CollapseWarning]:
    """All that is wrong with the model's code, the gravest first."""
    train = views["train"]
    view = train.take(np.arange(min(len(train), LOOKED_AT)))
    found = [constant_output(view)]
    if hasattr(view.model, "posterior"):
        found.append(silent_posterior(view))
    elif is_discrete(view.model):
        # All training images: a rare code is used, too.
        found.append(stuck_bits(train) if view.model.alphabet == 2 else unused_codes(train))
    elif hasattr(view.model, "embed"):
        found.append(dead_numbers(view))
    return [alarm for alarm in found if alarm]


def constant_output(view: ModelOutputs) -> CollapseWarning | None:
    """Nearly the same picture, whatever goes in."""
    of_images = float(view.features.var(0, dtype=np.float64).sum())
    of_rebuilt = float(view.rebuilt.var(0, dtype=np.float64).sum())
    if of_rebuilt >= LEAST_VARIANCE * of_images:
        return None
    share = of_rebuilt / of_images
    beta = getattr(view.model, "beta", 0)
    tries = "Try a smaller optim.lr, more steps (trainer.max_steps), or a wider network"
    if beta:
        tries = (
            f"Try a smaller model.beta than {beta:g}, a rise of it over model.warmup_batches=1000, a smaller optim.lr"
        )
    return CollapseWarning(
        "constant output",
        f"Constant output: the rebuilt images vary {share:.1%} as much as the images themselves. "
        f"The model paints nearly the same picture whatever it is shown, so its code is not read. {tries}.",
    )


def silent_posterior(view: ModelOutputs) -> CollapseWarning | None:
    """A variational code that equals the prior, whatever goes in, but for a number or two.

    A code with room to spare prunes what it doesn't need: silent numbers beside enough that speak are no collapse.
    """
    kl = kl_per_dimension(view)
    active = int((kl >= ACTIVE).sum())
    silent = len(kl) - active
    is_lone = silent > 0 and active <= max(1, int(LEAST_ACTIVE * len(kl)))
    if kl.sum() >= LEAST_NATS and not is_lone:
        return None
    beta = getattr(view.model, "beta", None)
    meaning = (
        "The model hardly uses its code"
        if active
        else "The code is noise, and the decoder has learned to do without it"
    )
    tries = ["a smaller optim.lr"]
    if beta is not None:
        tries[:0] = [f"a smaller model.beta than {beta:g}", "a rise of it over model.warmup_batches=1000"]
    if active and silent:
        tries.append(f"model.network.latent={max(active, 2)}")
    return CollapseWarning(
        "posterior collapse",
        f"Posterior collapse: the code says {kl.sum():.3g} nats of an image in all, and {silent} of the {len(kl)} "
        f"numbers in it say less than {ACTIVE}. {meaning}. Try {', '.join(tries)}.",
    )


def unused_codes(view: ModelOutputs) -> CollapseWarning | None:
    """Letters of an alphabet that never or hardly occur. Of few images, not all letters can occur."""
    model, counts = view.model, view.counts
    possible = min(model.alphabet, view.codes.size)
    used, even = int((counts > 0).sum()), perplexity(counts)
    if used >= UNUSED * possible and even >= UNEVEN * possible:
        return None
    unit, tries = _of_codes(model, used)
    return CollapseWarning(
        f"unused {unit}",
        f"Unused {unit}: {used} of {model.alphabet} {unit} occur in {len(view):,} training images, as unevenly as if "
        f"there were {even:.3g} (the perplexity). The rest take up room and say nothing. Try {tries}.",
    )


def _of_codes(model: Any, used: int) -> tuple[str, str]:
    """What the letters are called, and what helps, by what the model is made of."""
    if hasattr(model, "quantizer"):
        revive = (
            "" if getattr(model.quantizer, "dead_code_threshold", 1) else "model.quantizer.dead_code_threshold=0.05, "
        )
        follow = "" if getattr(model.quantizer, "codebook", "") == "ema" else "model.quantizer.codebook=ema, "
        return "codes", f"{revive}{follow}model.quantizer.num_codes={max(used, 2)}, a smaller optim.lr"
    if hasattr(model, "entropy_weight"):
        return (
            "classes",
            f"a larger model.entropy_weight than {model.entropy_weight:g}, or model.classifier.classes={max(used, 2)}",
        )
    return "codes", f"a smaller alphabet, of {max(used, 2)}, or a smaller optim.lr"


def stuck_bits(view: ModelOutputs) -> CollapseWarning | None:
    """Bits that are the same for every image."""
    ones = view.codes.mean(0)  # (bits,)
    stuck = int(((ones == 0) | (ones == 1)).sum())
    if stuck < max(1, STUCK * len(ones)):
        return None
    return CollapseWarning(
        "stuck bits",
        f"Stuck bits: {stuck} of the {len(ones)} bits of the code are the same for all {len(view):,} training images. "
        f"They say nothing, and cost a bit each. "
        f"Try model.network.latent={max(len(ones) - stuck, 2)}, or a smaller optim.lr.",
    )


def dead_numbers(view: ModelOutputs) -> CollapseWarning | None:
    """Numbers of a continuous code that hardly move from image to image."""
    std = view.embedded.std(0, dtype=np.float64)  # (Z,)
    dead = int((std <= LEAST_STD * std.max()).sum())
    if dead < max(1, DEAD * len(std)):
        return None
    return CollapseWarning(
        "dead numbers",
        f"Dead numbers: {dead} of the {len(std)} numbers of the code hardly move from image to image (less than "
        f"{LEAST_STD:.0%} of the liveliest one's standard deviation). They carry nothing. "
        f"Try {_smaller(view.model, max(len(std) - dead, 1))}, or another model.network.activation.",
    )


def _smaller(model: Any, latent: int) -> str:
    """The option that sets the size of the code."""
    return f"model.latent={latent}" if hasattr(model, "fit") else f"model.network.latent={latent}"
