"""A model whose logits are kept, so that no image is passed twice.

Square Attack asks about the same image again and again: on small ones, many of its proposals change
nothing or have been made before.
"""

from __future__ import annotations

from hashlib import blake2b

import torch
from torch import Tensor

from robnet_zoo.attacks.model import AttackedModel

CAPACITY = 2**16  # images; the oldest are forgotten first


class LogitCache:
    """A model whose images (N, C, H, W) are passed through the model once each.

    An image has the same logits in any batch, so that the answers are the model's own. Only for
    callers that need no gradient, and images on the CPU, where telling them apart costs little.
    """

    def __init__(self, model: AttackedModel, capacity: int = CAPACITY) -> None:
        self.model, self.capacity = model, capacity
        self._known: dict[bytes, Tensor] = {}

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits (N, classes)."""
        keys = [blake2b(image.tobytes(), digest_size=16).digest() for image in images.numpy()]
        places = {key: place for place, key in enumerate(keys) if key not in self._known}
        if places:
            new = self.model(images[list(places.values())])
            self._known.update(zip(places, new, strict=True))
        if self.model.on_pass is not None:
            self.model.on_pass(len(keys) - len(places), False)  # as much progress as passes are
        logits = torch.stack([self._known[key] for key in keys])
        while len(self._known) > self.capacity:
            del self._known[next(iter(self._known))]
        return logits
