"""What a record says was judged, on which images, under which threat model, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from robnet_zoo.attacks.fingerprint import Fingerprint
from robnet_zoo.eval.record.fields import Sha256, Size, Timestamp
from robnet_zoo.runtime.decode import Count, PositiveCount
from robnet_zoo.threat_models import Epsilon, Norm, ThreatModel


class ModelInfo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was judged.

    `state_sha256` hashes the parameters and buffers as they were in memory, and
    `weights_file_sha256` the file they came from, where there was one. `fingerprint` is what the
    model does to the first images: the same parameters may stand behind another function.
    `precision` is "float64" where the model computes in that.
    """

    name: str
    state_sha256: Sha256
    parameters: Count
    architecture: str
    arguments: dict[str, Any]
    weights: str
    weights_file_sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")]
    genotype_status: str
    fingerprint: Fingerprint | msgspec.UnsetType = msgspec.UNSET
    precision: Literal["float64"] | msgspec.UnsetType = msgspec.UNSET


class DataInfo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The images it was judged on, the first n of those available, and their hash."""

    name: str
    split: str
    n: PositiveCount
    available: PositiveCount
    sha256: Sha256

    @property
    def title(self) -> str:
        """The data set and its split, such as "digits test"."""
        return f"{self.name} {self.split}".strip()


class ThreatInfo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the attacker may do: sizes as written and as floats, for pixels in [0,1]."""

    name: str
    norm: Norm
    epsilon: str
    epsilon_value: Size
    step: str
    step_value: Size

    @classmethod
    def of(cls, threat_model: ThreatModel) -> ThreatInfo:
        """Return what the record says about a threat model."""
        return cls(
            name=threat_model.name,
            norm=threat_model.norm,
            epsilon=threat_model.epsilon.text,
            epsilon_value=threat_model.epsilon.value,
            step=threat_model.step.text,
            step_value=threat_model.step.value,
        )

    def threat_model(self) -> ThreatModel:
        """Return the threat model that this is about."""
        return ThreatModel(
            self.name,
            self.norm,
            Epsilon(self.epsilon_value, self.epsilon),
            Epsilon(self.step_value, self.step),
        )

    @property
    def ball(self) -> tuple[Norm, float]:
        """The norm and the size: accuracies are comparable where both are the same."""
        return self.norm, self.epsilon_value

    @property
    def title(self) -> str:
        """Both as text, such as "Linf 8/255"."""
        return f"{self.norm} {self.epsilon}"


class SurrogateInfo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose gradients attacks saw in the model's place: its parameters' hash and its function."""

    name: str
    state_sha256: Sha256
    fingerprint: Fingerprint | msgspec.UnsetType = msgspec.UNSET


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What else a repetition needs; `batch_size` and `device` do not change the verdicts.

    `folded` says that attacks saw the model in its folded form, `compile` in which mode it was
    compiled; the verdicts are the model's. `surrogate` gave the gradients, `eot` draws were
    averaged in each pass of an attack, and `draws` gave a verdict by the rule `decide`: the
    majority of their classes, or the mean of their probabilities.
    """

    seed: Count
    block_size: PositiveCount
    batch_size: PositiveCount
    device: str
    attacks: tuple[str, ...]
    folded: bool = False
    compile: str | None = None
    surrogate: SurrogateInfo | msgspec.UnsetType = msgspec.UNSET
    eot: PositiveCount | msgspec.UnsetType = msgspec.UNSET
    draws: PositiveCount | msgspec.UnsetType = msgspec.UNSET
    decide: Literal["majority", "mean"] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if len(set(self.attacks)) < len(self.attacks):
            raise ValueError("an attack is named twice")

    @property
    def adaptation(self) -> str:
        """How attacks were adapted and a randomised model judged; empty where neither was done."""
        said = []
        if self.surrogate is not msgspec.UNSET:
            said.append(f"gradients of the surrogate {self.surrogate.name}")
        if self.eot is not msgspec.UNSET and self.eot > 1:
            said.append(f"attacks average {self.eot} draws")
        if self.draws is not msgspec.UNSET and self.draws > 1:
            said.append(f"verdicts by the {self.decide} of {self.draws} draws")
        return ", ".join(said)


class Addition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Attacks that were added to a finished record, when, and where other than the first.

    `environment` is absent where it was the record's own.
    """

    attacks: Annotated[tuple[str, ...], Meta(min_length=1)]
    created: Timestamp
    device: str
    batch_size: PositiveCount
    folded: bool
    compile: str | None
    environment: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
