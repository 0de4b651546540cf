"""A certified evaluation on the terminal."""

from __future__ import annotations

from robnet_zoo.eval.studies.certificate import Certificate


def show(certificate: Certificate) -> None:
    """Print what is certain, and what the attack leaves."""
    threat, attack = certificate.threat_model, certificate.settings.attack
    data = certificate.data
    print(f"{certificate.model.name}: {data.n} images of {data.title}")
    print(f"bounds: {certificate.settings.method}")
    print(f"clean: {certificate.clean.accuracy}")
    for point in certificate.points:
        print(
            f"{threat.norm} {point.epsilon}: certified {point.certified}, {attack} {point.attacked}"
        )
    for norm, radii in certificate.radii.items():
        print(f"certified radius in {norm}: mean {radii.mean:.4g}, median {radii.median:.4g}")
    for check in certificate.checks:
        if not check.passed:
            print(f"check failed: {check.name}: {check.detail}")
