"""ARNAS (Ou, Feng and Sun, CVPR 2024): accurate and robust cells by multi-objective gradients.

- `search`, `objectives`: the search, and what it descends beside losses;
- `trace`, `statistics`: how a search moved, and what many searches chose;
- `orders`, `designs`: what first- and second-order gradients differ in, and how the placement and
  width of the cells matter.
"""
