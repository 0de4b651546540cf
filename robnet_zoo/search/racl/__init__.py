"""RACL: a search with log-normal architecture weights under a Lipschitz confidence constraint.

"Adversarially Robust Neural Architectures" (Dong et al. 2020, arXiv 2009.00902); its sections and
equations are those of the first version. What it leaves open is settled in docs/search/racl.md.
"""
