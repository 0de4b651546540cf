"""Finished records: never overwritten, returned where they say what was asked, added to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from robnet_zoo.eval.identity import identity_of, validate_identity
from robnet_zoo.eval.record import EvaluationRecord, read
from robnet_zoo.eval.record.setup import Addition
from robnet_zoo.runtime.errors import ZooError

KEPT = "It is not overwritten: name another --out, or delete it"
NOT_COMPARED = (
    "The record knew the model by its parameters alone; that their forward and backward pass were "
    "those of now was not compared."
)


def find_finished(
    path: Path | None, identity: dict[str, Any], resume: bool
) -> EvaluationRecord | None:
    """Return the finished record of an evaluation that is to be written to a path, if any.

    Args:
        path: of the record.
        identity: what was asked.
        resume: attacks may be added to the record.

    Raises:
        ZooError: another file or the record of another evaluation is there, or one without some
            of the attacks that must not be added to.
    """
    if path is None or not path.exists():
        return None
    try:
        record = read(path)
    except ZooError as error:
        raise ZooError(f"{error} {KEPT}.") from error
    what = "Cannot resume from" if resume else "Cannot write a record to"
    validate_identity(identity_of(record), identity, path, what, KEPT.lower())
    missing = [name for name in identity["attacks"] if name not in record.attack_names]
    if missing and not resume:
        raise ZooError(
            f"Record '{path}' is finished, without {', '.join(missing)}: add what is missing with "
            "--resume, name another --out, or delete it."
        )
    compared = record.model.fingerprint is not UNSET
    return record if compared else replace(record, warnings=_union(record.warnings, [NOT_COMPARED]))


def add_attacks(record: EvaluationRecord, new: EvaluationRecord) -> EvaluationRecord:
    """Return a finished record with the attacks of a new one behind its own.

    Args:
        record: the finished one.
        new: of the same evaluation, with other attacks, and with totals and checks over all.
    """
    own = tuple(replace(attack, name=attack.full_name) for attack in record.attacks)
    attacks = (*own, *new.attacks)
    addition = Addition(
        attacks=new.settings.attacks,
        created=new.created,
        device=new.settings.device,
        batch_size=new.settings.batch_size,
        folded=new.settings.folded,
        compile=new.settings.compile,
        environment=UNSET if new.environment == record.environment else new.environment,
    )
    known = record.model.fingerprint
    return replace(
        record,
        model=replace(record.model, fingerprint=new.model.fingerprint if known is UNSET else known),
        settings=replace(record.settings, attacks=tuple(attack.name for attack in attacks)),
        attacks=attacks,
        totals=new.totals,
        warnings=_union(record.warnings, new.warnings),
        checks=new.checks,
        added=(*(() if record.added is UNSET else record.added), addition),
    )


def _union(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*first, *second]))
