"""ARNAS (Ou, Feng and Sun, CVPR 2024): accurate and robust cells by multi-objective gradients.

- `objectives`, `search`, `session`: the losses, the search that joins their gradients
  (`search.unrolled`, `search.mgda`), and one search from its settings to its files;
- `trace`, `statistics`: how a search moved, and what many searches chose;
- `orders`, `designs`: what first- and second-order gradients differ in, and how the placement and
  width of the cells matter.
"""
