"""Detection of collapse: a model trained without an error, but its code carries little or no information.

Warnings are based on training images: a code that they don't use is not used at all.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ssl_cli.commands.reconstruct.evaluate import ACTIVE_NATS, kl_per_dimension
from ssl_cli.commands.reconstruct.predictions import ModelOutputs, is_discrete
from ssl_cli.methods.protocols import AdvisesOnCollapse, Classifies, Embeds, HasPosterior
from ssl_cli.models.quantizer import perplexity

# Signs of collapse, which a method's `collapse_advice` takes.
CONSTANT_OUTPUT, POSTERIOR_COLLAPSE, UNUSED_CODES = "constant_output", "posterior_collapse", "unused_codes"
STUCK_BITS, DEAD_DIMENSIONS = "stuck_bits", "dead_dimensions"
MAX_IMAGES = 10_000  # training images
MIN_NATS, MIN_ACTIVE_SHARE = 1.0, 0.05  # of a variational code: KL in all, and share of active dimensions
MIN_DEAD_SHARE, MIN_STUCK_SHARE = 0.1, 0.1  # dead dimensions or constant bits from which there is a warning
MIN_USED_SHARE, MIN_PERPLEXITY_SHARE = 0.5, 0.1  # of the alphabet
MIN_RELATIVE_STD = 0.01  # a dimension below, relative to the largest one, is dead
MIN_RELATIVE_VARIANCE = 0.05  # of the rebuilt images, relative to the images


@dataclass(frozen=True)
class CollapseWarning:
    """A warning: `name`, a few words, and `text`: what was observed, what it means and what to try."""

    name: str
    text: str


def collapse_warnings(outputs: dict[str, ModelOutputs]) -> list[CollapseWarning]:
    """Return all warnings about the model's code, the most serious first."""
    train = outputs["train"]
    sample = train.take(np.arange(min(len(train), MAX_IMAGES)))
    warnings = [constant_output(sample)]
    if isinstance(sample.model, HasPosterior):
        warnings.append(collapsed_posterior(kl_per_dimension(sample), sample.model, "an image"))
    elif is_discrete(sample.model):
        # Of all training images, since a rare code is used, too.
        warnings.append(stuck_bits(train) if train.model.alphabet == 2 else unused_codes(train))
    elif isinstance(sample.model, Embeds):
        warnings.append(dead_dimensions(sample))
    return [warning for warning in warnings if warning]


def constant_output(split: ModelOutputs) -> CollapseWarning | None:
    """Warn if the model outputs nearly the same image for every input."""
    image_variance = float(split.features.var(0, dtype=np.float64).sum())
    rebuilt_variance = float(split.reconstructions.var(0, dtype=np.float64).sum())
    if rebuilt_variance >= MIN_RELATIVE_VARIANCE * image_variance:
        return None
    share = rebuilt_variance / image_variance
    return CollapseWarning(
        "constant output",
        f"Constant output: the variance of the rebuilt images is {share:.1%} of the images' own. "
        "The model outputs nearly the same image for every input, so its code is not used. "
        f"{advice(split.model, CONSTANT_OUTPUT, 1)}",
    )


def collapsed_posterior(kl: np.ndarray, model: Any, input_name: str) -> CollapseWarning | None:
    """Warn if a variational code equals the prior for every input, except for one or two dimensions.

    `kl` (Z,) is the mean KL divergence from the prior of each dimension, in nats. A code with more dimensions than it
    needs prunes some: inactive dimensions beside enough active ones are no collapse.
    """
    active = int((kl >= ACTIVE_NATS).sum())
    inactive = len(kl) - active
    has_few_active = inactive > 0 and active <= max(1, int(MIN_ACTIVE_SHARE * len(kl)))
    if kl.sum() >= MIN_NATS and not has_few_active:
        return None
    meaning = (
        "The model hardly uses its code" if active else "The code is noise, and the decoder has learned to ignore it"
    )
    enough = max(active, 2) if active and inactive else len(kl)
    return CollapseWarning(
        "posterior collapse",
        f"Posterior collapse: the code has {kl.sum():.3g} nats of information about {input_name} in all, and "
        f"{inactive} of its {len(kl)} dimensions have less than {ACTIVE_NATS} each. {meaning}. "
        f"{advice(model, POSTERIOR_COLLAPSE, enough)}",
    )


def unused_codes(split: ModelOutputs) -> CollapseWarning | None:
    """Warn if many codes occur never or hardly ever. Few images can't use all codes."""
    model, counts = split.model, split.counts
    possible = min(model.alphabet, split.codes.size)
    used, effective = int((counts > 0).sum()), perplexity(counts)
    if used >= MIN_USED_SHARE * possible and effective >= MIN_PERPLEXITY_SHARE * possible:
        return None
    unit = "classes" if isinstance(model, Classifies) else "codes"
    return CollapseWarning(
        f"unused {unit}",
        f"Unused {unit}: {used} of {model.alphabet} {unit} occur in {len(split):,} training images, and their "
        f"perplexity is {effective:.3g}. The others carry no information. "
        f"{advice(model, UNUSED_CODES, max(used, 2))}",
    )


def stuck_bits(split: ModelOutputs) -> CollapseWarning | None:
    """Warn if many bits are the same for every image."""
    ones = split.codes.mean(0)  # (bits,)
    stuck = int(((ones == 0) | (ones == 1)).sum())
    if stuck < max(1, MIN_STUCK_SHARE * len(ones)):
        return None
    return CollapseWarning(
        "stuck bits",
        f"Stuck bits: {stuck} of the {len(ones)} bits of the code are the same for all {len(split):,} training images. "
        f"They carry no information. {advice(split.model, STUCK_BITS, max(len(ones) - stuck, 2))}",
    )


def dead_dimensions(split: ModelOutputs) -> CollapseWarning | None:
    """Warn if many dimensions of a continuous code hardly vary from image to image."""
    std = split.embeddings.std(0, dtype=np.float64)  # (Z,)
    dead = int((std <= MIN_RELATIVE_STD * std.max()).sum())
    if dead < max(1, MIN_DEAD_SHARE * len(std)):
        return None
    return CollapseWarning(
        "dead dimensions",
        f"Dead dimensions: {dead} of the {len(std)} dimensions of the code hardly vary from image to image (at most "
        f"{MIN_RELATIVE_STD:.0%} of the largest standard deviation). They carry no information. "
        f"{advice(split.model, DEAD_DIMENSIONS, max(len(std) - dead, 1))}",
    )


def advice(model: Any, sign: str, enough: int) -> str:
    """Return a sentence on what to try, from the model itself; "" if it has no advice.

    `enough` is the number of dimensions, bits or codes that would be enough.
    """
    suggestions = model.collapse_advice(sign, enough) if isinstance(model, AdvisesOnCollapse) else ""
    return f"Try {suggestions}." if suggestions else ""
