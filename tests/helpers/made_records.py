"""Records made of numbers, for what only reads records."""

from robnet_zoo.eval import record
from robnet_zoo.eval.record.check import Check
from robnet_zoo.eval.record.fields import proportion_of
from robnet_zoo.eval.record.results import AttackResult, ClassTotals, Clean, Totals, Trace
from robnet_zoo.eval.record.setup import DataInfo, ModelInfo, Settings, ThreatInfo
from robnet_zoo.threat_models import get_threat_model


def verdicts(robust, n):
    return "1" * robust + "0" * (n - robust)


def attack(name, robust, n, last=None, trace=(), **fields):
    found = {
        "name": name,
        "settings": {"name": name},
        "robust": proportion_of(verdicts(robust, n)),
        "verdicts": verdicts(robust, n),
        "last": None if last is None else proportion_of(verdicts(last, n)),
        "last_verdicts": None if last is None else verdicts(last, n),
        "first_broken": None,
        "trace": Trace(last=tuple(trace), any=tuple(trace)) if trace else None,
        "parts": (),
        "queries": None,
        "on_source": None,
        "median_distance": None,
        "max_perturbation": 0.0,
        "over_epsilon": 0,
        "seconds": 0.0,
        "forwards": 0,
        "backwards": 0,
    }
    return AttackResult(**{**found, **fields})


def make(
    name="racl.digits",
    clean=180,
    n=200,
    epsilon=None,
    parameters=1000,
    sha="a" * 64,
    norm=None,
    **robust,
):
    """Return a record of a model with so many images right, clean and under each attack.

    Attack names have underscores for hyphens; a pair stands for (any iterate, trace).
    """
    threat = get_threat_model("digits")
    threat = threat if epsilon is None else threat.at(epsilon, norm)
    results = []
    for key, value in robust.items():
        count, trace = value if isinstance(value, tuple) else (value, ())
        results.append(attack(key.replace("_", "-"), count, n, last=count, trace=trace))
    total = min([clean, *(result.robust.correct for result in results)])
    return record.EvaluationRecord(
        model=ModelInfo(
            name=name,
            state_sha256=sha,
            parameters=parameters,
            architecture=name.partition(".")[0],
            arguments={},
            weights=name,
            weights_file_sha256="",
            genotype_status="published",
        ),
        data=DataInfo(name="digits", split="test", n=n, available=450, sha256="d" * 64),
        threat_model=ThreatInfo(
            name="digits",
            norm=threat.norm,
            epsilon=threat.epsilon.text,
            epsilon_value=threat.epsilon.value,
            step=threat.step.text,
            step_value=threat.step.value,
        ),
        settings=Settings(
            seed=0,
            block_size=256,
            batch_size=256,
            device="cpu",
            attacks=tuple(result.name for result in results),
        ),
        clean=Clean(
            accuracy=proportion_of(verdicts(clean, n)),
            verdicts=verdicts(clean, n),
            predictions=(0,) * n,
        ),
        attacks=tuple(results),
        totals=Totals(
            robust=proportion_of(verdicts(total, n)),
            verdicts=verdicts(total, n),
            clean_mistakes=tuple(range(clean, n)),
            per_class=(ClassTotals(label=0, name="zero", n=n, clean=clean, robust=total),),
            seconds=1.0,
        ),
        environment={"python": "3"},
        created="2026-01-02T03:04:05+00:00",
        warnings=(),
        checks=(Check(name="pixels", passed=True, detail="Pixels go from 0 to 1."),),
    )
