"""DSRNA (Hosseini, Yang and Xie, CVPR 2021): search that maximises measures of robustness.

- `metrics`: the certified lower bound and the Jacobian norm bound of a supernet;
- `search`: the bilevel search with either of them, or both.

The paper's own formulas, code and cells are not public: docs/search/dsrna.md says what is known
and what is a reconstruction.
"""
