"""The architectures: searched networks built from genotypes, and human-designed baselines."""

from robnet_zoo.models.baselines import BASELINES, build_baseline
from robnet_zoo.models.count import count_macs, count_parameters
from robnet_zoo.models.networks import Network, build_network

__all__ = [
    "BASELINES",
    "Network",
    "build_baseline",
    "build_network",
    "count_macs",
    "count_parameters",
]
