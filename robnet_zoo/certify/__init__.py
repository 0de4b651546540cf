"""What is certain about a model on a ball around each image, whatever the attack.

- `graph`: the model as affine maps, ReLUs and max pools; `operations`, `tracing`: found by
  running it, and held against it at other images;
- `ball`: what may be done to an image;
- `relaxation`, `linear`: lines around ReLUs and pools, interval and linear bounds;
- `zonotope`, `slopes`: bounds for deep networks, and tighter ones;
- `size`: which models are too large for which of them;
- `margins`: bounds of logits and margins, certified radii;
- `jacobian`: bounds to first order.
"""

from robnet_zoo.certify.margins import bounds, certified, certified_margin, certified_radius

__all__ = ["bounds", "certified", "certified_margin", "certified_radius"]
