"""ARNAS (Ou, Feng and Sun, CVPR 2024): accurate and robust cells by multi-objective gradients.

- `unrolled`: the gradient of a validation loss by the architecture, through a step of the weights;
- `search`: the search itself, which joins the objectives' gradients with `search.mgda`;
- `orders`, `statistics`, `designs`: what the approximation costs, what many searches choose, and
  how the placement and width of the cells matter.
"""
