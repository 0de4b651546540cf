import json
from pathlib import Path

import pytest
import torch
from helpers.fitted import save_fitted
from helpers.small_nets import DIGITS, digits, robust_net, seeded_net
from torch import nn

from robnet_zoo.attacks.methods.transfer import Transfer
from robnet_zoo.attacks.methods.transfer_cache import cache_folder
from robnet_zoo.attacks.methods.transfer_source import Source, split
from robnet_zoo.eval import evaluate, get_attack
from robnet_zoo.eval.__main__ import main
from robnet_zoo.eval.checks import check_results
from robnet_zoo.eval.studies import transfer_matrix as matrix
from robnet_zoo.runtime import console
from robnet_zoo.runtime.errors import ZooError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ROBNET_ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "adversarial"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Weights folders of two architectures for digits."""
    base = tmp_path_factory.mktemp("weights")
    for name in ("racl", "pc_darts"):
        save_fitted(base / f"{name}.digits", name)
    return base


class Counted(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.calls = net, 0

    def forward(self, images):
        self.calls += 1
        return self.net(images)


def relative(noise=0.5):
    """Return the robust network with its weights disturbed: a relative of the target."""
    net, generator = robust_net(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            spread = noise * parameter.std()
            parameter += spread * torch.randn(parameter.shape, generator=generator)
    return net


def transfer(net, base="pgd5", shape=None):
    source = Source("source", net, shape)
    return Transfer(name=f"transfer:source:{base}", source=source, base=get_attack(base))


def judge(*attacks, n=96, **options):
    return evaluate(robust_net(), digits(n), attacks, DIGITS, **options)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("transfer:vgg19", ("vgg19", "pgd20")),
        ("transfer:vgg19.digits:fgsm", ("vgg19.digits", "fgsm")),
        ("transfer:local-dir:runs/copy", ("local-dir:runs/copy", "pgd20")),
        ("transfer:local-dir:runs/copy:pgd100", ("local-dir:runs/copy", "pgd100")),
        ("transfer:hf-hub:org/net:mifgsm", ("hf-hub:org/net", "mifgsm")),
        ("transfer:net.py:build", ("net.py:build", "pgd20")),
        ("transfer:runs/a b/net.py:build:pgd5", ("runs/a b/net.py:build", "pgd5")),
        ("transfer:timm:resnet18.a1_in1k", ("timm:resnet18.a1_in1k", "pgd20")),
        ("transfer:torchvision:resnet50:fgsm", ("torchvision:resnet50", "fgsm")),
        (
            "transfer:net.py:build:torchattacks:VMIFGSM",
            ("net.py:build", "torchattacks:VMIFGSM"),
        ),
        ("transfer:local-dir:runs/a:b:pgd5", ("local-dir:runs/a:b", "pgd5")),
    ],
)
def test_a_name_says_source_and_attack(name, parts):
    assert split(name) == parts


@pytest.mark.parametrize("base", ["fgsm", "pgd5", "mifgsm5"])
def test_from_the_model_itself_it_is_the_white_box_attack(base):
    report = judge(base, transfer(robust_net(), base))
    white, own = report.attacks
    assert own.verdicts == white.last_verdicts
    attacked = report.clean.accuracy.correct
    assert (own.on_source.correct, own.on_source.n) == (white.last.correct, attacked)


def test_from_another_model_it_breaks_less_than_the_white_box():
    white, black = judge("pgd5", transfer(relative())).attacks
    assert white.robust.correct + 3 < black.robust.correct < 96
    assert black.on_source.accuracy < black.robust.accuracy
    assert black.max_perturbation <= 0.15 + 1e-6
    assert black.over_epsilon == 0


def test_images_are_kept_and_used_again(cache):
    source = Counted(relative())
    first = judge(transfer(source)).attacks[0]
    calls = source.calls
    second = judge(transfer(source)).attacks[0]
    looks = source.calls - calls  # whose function it is, for record and block; is it ever right
    assert looks == 3
    assert calls > looks + 5
    assert (first.verdicts, first.on_source) == (second.verdicts, second.on_source)
    assert len(list(cache.iterdir())) == 1


class Straight(nn.Module):
    """Sees pixels in whole levels, with the gradients of the pixels themselves or none of a half.

    Its parameters and logits are the same either way.
    """

    def __init__(self, net, half):
        super().__init__()
        self.net, self.half = net, half

    def forward(self, images):
        kept = torch.cat([images[:, :, :4].detach(), images[:, :, 4:]], 2) if self.half else images
        return self.net((kept * 4).round().detach() / 4 + kept - kept.detach())


def test_another_pass_of_the_same_parameters_has_images_of_its_own(cache):
    whole, half = (transfer(Straight(relative(), half)) for half in (False, True))
    assert whole.source.sha256 == half.source.sha256
    first = judge(whole).attacks[0]
    stale = judge(half).attacks[0]
    assert (stale.verdicts, stale.on_source) != (first.verdicts, first.on_source)
    cache.rename(cache.with_name("other"))
    assert judge(half).attacks[0].verdicts == stale.verdicts
    assert stale.settings["source_fingerprint"] != first.settings["source_fingerprint"]


def test_no_name_of_a_source_counts_for_its_images(cache):
    first = judge(get_attack("transfer:one:pgd5", source=relative())).attacks[0]
    same = judge(get_attack("transfer:two:pgd5", source=relative())).attacks[0]
    assert len(list(cache.iterdir())) == 1
    other = judge(get_attack("transfer:one:pgd5", source=relative(0.3))).attacks[0]
    assert len(list(cache.iterdir())) == 2
    assert same.verdicts == first.verdicts != other.verdicts
    assert (first.name, first.settings["source"]) == ("transfer:one:pgd5", "one")


def test_a_function_is_a_source_too(cache):
    nets = relative(), relative(0.3)  # nothing tells them apart but what they do
    whole, other = (
        judge(get_attack("transfer:mine:pgd5", source=lambda images, net=net: net(images)))
        for net in nets
    )
    assert whole.attacks[0].verdicts == judge(transfer(nets[0])).attacks[0].verdicts
    assert other.attacks[0].verdicts != whole.attacks[0].verdicts


def test_a_source_that_is_wrong_by_itself_is_named():
    report = judge(get_attack("transfer:new:fgsm", source=seeded_net(1)))
    assert any("wrong on most images without any attack" in text for text in report.warnings)
    assert not judge(transfer(relative())).warnings


def test_a_record_is_not_resumed_with_another_function_of_a_source(tmp_path):
    out = tmp_path / "a.json"
    judge(transfer(Straight(relative(), half=False)), n=16, out=out)
    assert judge(transfer(Straight(relative(), half=False)), n=16, out=out)
    with pytest.raises(ZooError, match="made with another attacks"):
        judge(transfer(Straight(relative(), half=True)), n=16, out=out, resume=True)


def test_another_source_seed_size_or_attack_has_images_of_its_own(cache):
    judge(transfer(relative()), n=16)
    judge(transfer(relative(0.3)), n=16)
    judge(transfer(relative()), n=16, seed=1)
    judge(transfer(relative(), "pgd6"), n=16)
    evaluate(robust_net(), digits(16), [transfer(relative())], DIGITS.at("0.1"))
    evaluate(robust_net(), digits(17), [transfer(relative())], DIGITS)
    assert len(list(cache.iterdir())) == 6


@pytest.mark.parametrize("where", [0.3, 0.999])
def test_altered_images_are_made_anew_and_reported(cache, where):
    first = judge(transfer(relative()))
    (path,) = cache.iterdir()
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= 1
    path.write_bytes(content)
    second = judge(transfer(relative()))
    assert second.attacks[0].verdicts == first.attacks[0].verdicts
    assert any("made anew" in warning for warning in second.warnings)
    assert not judge(transfer(relative())).warnings


def test_a_cache_in_the_way_of_a_file_is_reported_only(cache):
    cache.parent.write_text("a file")
    report = judge(transfer(relative()))
    assert any("ROBNET_ZOO_CACHE" in warning for warning in report.warnings)
    assert report.attacks[0].robust.correct < report.clean.accuracy.correct


def test_a_source_that_its_own_images_do_not_break_is_noted():
    class Blunt(nn.Module):
        """Sees only whole grey levels, so that no gradient comes through."""

        def __init__(self):
            super().__init__()
            self.net = robust_net()

        def forward(self, images):
            return self.net(images.detach().round() + 0 * images)

    report = judge(transfer(Blunt(), "fgsm"))
    checks = {check.name: check for check in check_results(report)}
    assert report.attacks[0].on_source.accuracy > 0.9
    assert not checks["source-broken"].passed
    strong = check_results(judge(transfer(relative())))
    assert all(check.passed for check in strong if check.name == "source-broken")


def test_sources_of_other_images_are_refused():
    with pytest.raises(ZooError, match=r"3x32x32 and these are 1x8x8; transfer from a model of"):
        judge(transfer(relative(), shape=(3, 32, 32)))


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("net", "The source is the text 'net'; give an nn.Module"),
        (nn.Conv2d, "The source is the class Conv2d; give an instance"),
        (nn.Conv2d(3, 3, 3), "Source 'mine': The model cannot take images of shape"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 1000)), "knows 1000 classes and the model 10"),
        (robust_net().half(), r"source's '0.weight' is float16; .*: source.float\(\)"),
        (torch.no_grad()(robust_net()), "No gradient flows from the logits of source 'mine'"),
    ],
)
def test_sources_that_cannot_be_used_are_refused(source, told):
    with pytest.raises(ZooError, match=told):
        judge(get_attack("transfer:mine:fgsm", source=source), n=16)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("transfer:", "names no source, or no attack behind its last colon; write transfer:SOURCE"),
        ("transfer:racl.digits:", "no attack behind its last colon"),
        ("transfer:timm:", "names no source"),
        ("transfer:timm", "names no source"),
        ("transfer:net.py::pgd5", "names no source"),
        ("transfer:net.py:build:pgd5", "none of the zoo's: hand the attack's name to evaluate"),
        ("transfer:racl.digits:square", "Attack 'square' cannot be transferred"),
        ("transfer:resnet19:pgd5", "did you mean resnet18"),
        ("transfer:local-dir:nowhere:pgd5", "No weights in 'nowhere'"),
    ],
)
def test_names_that_cannot_be_transferred_are_refused(name, told):
    with pytest.raises(ZooError, match=told.replace("(", r"\(")):
        get_attack(name)


def test_restarts_are_refused(folders):
    attack = get_attack(f"transfer:local-dir:{folders / 'racl.digits'}:pgd5", restarts=2)
    with pytest.raises(ZooError, match="leave out --restarts"):
        judge(attack)


def test_the_cache_is_in_the_users_cache_folder_by_default(monkeypatch):
    monkeypatch.delenv("ROBNET_ZOO_CACHE")
    assert cache_folder() == Path("~/.cache/robnet_zoo/adversarial").expanduser()


class TestMatrix:
    def run(self, folders, out, *options, names=("racl.digits", "pc_darts.digits")):
        models = ",".join(f"local-dir:{folders / name}" for name in names)
        arguments = ["matrix", "--models", models, "--attack", "pgd3", "--eps", "0.05"]
        return main([*arguments, "--n", "48", "--out", str(out), *options])

    def test_the_diagonal_is_the_white_box_accuracy(self, folders, tmp_path, capsys):
        assert self.run(folders, tmp_path / "m") == 0
        found = matrix.read(tmp_path / "m" / "matrix.json")
        assert found.models == ("racl.digits", "pc_darts.digits")
        accuracies = found.accuracies()
        for number, name in enumerate(found.models):
            white = tmp_path / f"{name}.json"
            model = ["--model", f"local-dir:{folders / name}", "--out", str(white)]
            assert main([*model, "--attack", "pgd3", "--eps", "0.05", "--n", "48"]) == 0
            record = json.loads(white.read_text())
            assert found.clean[number] == record["clean"]["verdicts"]
            assert found.verdicts[number][number] == record["attacks"][0]["last_verdicts"]
            other = accuracies[1 - number][number]
            assert other.correct > accuracies[number][number].correct
        lines = (tmp_path / "m" / "matrix.csv").read_text().splitlines()
        assert lines[0] == "source,racl.digits,pc_darts.digits"
        assert lines[2].split(",")[1] == f"{100 * accuracies[0][0].accuracy:.2f}"
        assert (tmp_path / "m" / "matrix.png").read_bytes().startswith(b"\x89PNG")
        assert "source,racl.digits" in capsys.readouterr().out

    def test_it_uses_kept_images_and_estimates_without_them(
        self, folders, tmp_path, cache, monkeypatch
    ):
        worked = []

        class Counted(console.Progress):
            def advance(self, amount, note=""):
                worked.append(amount)
                super().advance(amount, note)

        monkeypatch.setattr(console, "Progress", Counted)
        assert self.run(folders, tmp_path / "first") == 0
        judging = 2 * 2 * 48  # images
        assert sum(worked) > 3 * judging
        worked.clear()
        kept = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
        assert self.run(folders, tmp_path / "second", "--batch-size", "16") == 0
        assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == kept
        assert len(kept) == 2
        assert sum(worked) == judging
        first, second = (matrix.read(tmp_path / n / "matrix.json") for n in ("first", "second"))
        assert (first.verdicts, first.clean) == (second.verdicts, second.clean)

    def test_one_data_set_is_needed(self, folders, tmp_path, capsys):
        config = folders / "pc_darts.digits" / "config.json"
        before = config.read_text()
        content = json.loads(before)
        content["threat_model"]["epsilon"] = "0.2"
        config.write_text(json.dumps(content))
        arguments = ",".join(f"local-dir:{folders / n}.digits" for n in ("racl", "pc_darts"))
        code = main(["matrix", "--models", arguments, "--out", str(tmp_path / "m")])
        config.write_text(before)
        assert code == 2
        assert "a matrix needs one data set and threat model" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--attack", "autoattack"], "cannot be transferred"),
            (["--n", "0"], "n 0 is out of range"),
        ],
    )
    def test_mistakes_are_said_in_one_sentence(self, folders, tmp_path, capsys, options, told):
        assert self.run(folders, tmp_path / "m", *options) == 2
        message = capsys.readouterr().err
        assert told in message
        assert message.count("\n") == 1

    def test_a_model_named_twice_is_refused(self, folders, tmp_path, capsys):
        assert self.run(folders, tmp_path / "m", names=("racl.digits", "racl.digits")) == 2
        assert "named twice" in capsys.readouterr().err

    def test_an_altered_record_is_refused(self, folders, tmp_path):
        assert self.run(folders, tmp_path / "m") == 0
        path = tmp_path / "m" / "matrix.json"
        stored = json.loads(path.read_text())
        for altered, told in (
            ({"schema": stored["schema"]}, "missing required field `models`"),
            ({**stored, "schema": "other/1"}, r"`\$.schema`"),
            ({**stored, "verdicts": stored["verdicts"][:1]}, "verdicts of every model"),
        ):
            path.write_text(json.dumps(altered))
            with pytest.raises(ZooError, match=rf"matrix\.json.*{told}"):
                matrix.read(path)
        with pytest.raises(ZooError, match="Cannot read the transfer matrix"):
            matrix.read(tmp_path / "nowhere.json")
