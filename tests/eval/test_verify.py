import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.fitted import save_fitted
from helpers.small_nets import DIGITS, digits, robust_net

from robnet_zoo.attacks import get_attack
from robnet_zoo.attacks.verdicts import within
from robnet_zoo.eval import evaluate
from robnet_zoo.eval.record.fields import bits
from robnet_zoo.eval.saved_images import read_images
from robnet_zoo.eval.studies.verify import verify
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import ThreatModel

N = 60


@pytest.fixture(scope="module")
def attacked():
    """Return adversarial images of the robust net, and the verdicts on them."""
    images, labels = digits(N)
    adversarial = get_attack("pgd5", early_exit=True)(robust_net(), images, labels, DIGITS)
    robust = robust_net()(adversarial).argmax(1) == labels
    return adversarial, robust


def saved(folder, name="a.npz", **arrays):
    np.savez_compressed(folder / name, **{key: np.asarray(it) for key, it in arrays.items()})
    return read_images(folder / name)


def test_the_verdicts_are_those_of_the_attacks_own_images(attacked, tmp_path):
    adversarial, robust = attacked
    verified = verify(robust_net(), digits(N), saved(tmp_path, x_adv=adversarial), DIGITS)
    assert verified.verdicts == bits(robust.tolist())
    assert 0 < verified.robust.correct < verified.clean.correct
    assert verified.max_perturbation == pytest.approx(DIGITS.epsilon.value, abs=1e-6)
    assert (verified.outside, verified.invalid, verified.claims) == ((), (), ())


def test_what_breaks_the_rules_is_named_and_never_counts_as_broken(attacked, tmp_path):
    adversarial, robust = attacked
    broken = (~robust & (robust_net()(digits(N)[0]).argmax(1) == digits(N)[1])).nonzero()[:3, 0]
    far, dark, blank = broken.tolist()
    moved = adversarial.clone()
    clean = digits(N)[0]
    moved[far] = clean[far] + 1.01 * (adversarial[far] - clean[far])
    moved[dark] = torch.where(adversarial[dark] == 0, -0.01, adversarial[dark])
    moved[blank] = torch.nan
    verified = verify(robust_net(), digits(N), saved(tmp_path, x_adv=moved), DIGITS)
    assert far in verified.outside
    assert {dark, blank} <= set(verified.invalid)
    honest = verify(robust_net(), digits(N), saved(tmp_path, x_adv=adversarial), DIGITS)
    changed = [i for i in range(N) if verified.verdicts[i] != honest.verdicts[i]]
    assert changed == sorted([far, dark, blank])
    assert verified.robust.correct == honest.robust.correct + 3


def test_the_ball_is_that_of_evaluations_whose_rounding_grows_with_an_l1_norm(tmp_path):
    images = torch.zeros(1, 1, 8, 8)
    shown = images.clone()
    shown.view(-1)[:60] = 0.5
    shown.view(-1)[60] = 1.5e-5  # over 30 by less than float32 leaves open in a sum of 30
    threat = ThreatModel.of("L1", 30)
    pair = images, torch.zeros(1).long()
    assert within(shown, images, threat).all()
    assert verify(robust_net(), pair, saved(tmp_path, x_adv=shown), threat).outside == ()


def test_models_and_data_are_taken_as_evaluations_take_them(attacked, tmp_path):
    adversarial, robust = attacked
    images, labels = digits(N)
    net, pair = robust_net(), (images.permute(0, 2, 3, 1).numpy(), labels.numpy())
    verified = verify(lambda batch: (net(batch),), pair, saved(tmp_path, adv=adversarial), DIGITS)
    assert verified.verdicts == bits(robust.tolist())


def test_a_clean_mistake_stays_one_whatever_image_is_shown(tmp_path):
    images, labels = digits(N)
    kind = images.clone()
    wrong = (robust_net()(images).argmax(1) != labels).nonzero()[:, 0]
    assert len(wrong)
    verified = verify(robust_net(), (images, labels), saved(tmp_path, x_adv=kind), DIGITS)
    assert verified.robust.correct == N - len(wrong)


def test_verdicts_of_the_file_and_of_a_record_are_compared(attacked, tmp_path):
    adversarial, robust = attacked
    claimed = robust.clone()
    claimed[5] = ~claimed[5]
    file = saved(tmp_path, x_adv=adversarial, robust=claimed)
    strong = evaluate(robust_net(), digits(N), ["pgd20"], DIGITS, n=40)
    verified = verify(robust_net(), digits(N), file, DIGITS, record=strong)
    own, recorded = verified.claims
    assert own.only_here + own.only_there == (5,)
    assert recorded.robust.n == 40
    assert recorded.only_there == ()  # twenty steps break what five do
    assert recorded.robust == strong.totals.robust
    with pytest.raises(ZooError, match="judged under Linf 0"):
        verify(robust_net(), digits(N), file, DIGITS.at("0.1"), record=strong)
    other = replace_data(strong)
    with pytest.raises(ZooError, match="40 images are not the first of this data set"):
        verify(robust_net(), digits(N), file, DIGITS, record=other)


def replace_data(made):
    from msgspec.structs import replace as change

    return change(made, data=change(made.data, sha256="a" * 64))


def layouts(adversarial, labels):
    chosen = torch.tensor([7, 3, 50])
    return {
        "nhwc": {"arr_0": adversarial.permute(0, 2, 3, 1)},
        "grey": {"adv": adversarial[:, 0], "y": labels},
        "double": {"images": adversarial.double(), "labels": labels.double()},
        "some": {"x_adv": adversarial[chosen], "indices": chosen, "labels": labels[chosen]},
        "another name": {"mine": adversarial, "labels": labels, "distances": torch.zeros(N)},
    }


@pytest.mark.parametrize("layout", ["nhwc", "grey", "double", "some", "another name"])
def test_common_layouts_are_read(attacked, tmp_path, layout):
    adversarial, robust = attacked
    arrays = layouts(adversarial, digits(N)[1])[layout]
    verified = verify(robust_net(), digits(N), saved(tmp_path, **arrays), DIGITS)
    wanted = [bool(robust[at]) for at in verified.indices]
    assert verified.verdicts == bits(wanted)
    assert len(verified.verdicts) == (3 if layout == "some" else N)


@pytest.mark.parametrize("wrap", ["tensor", "pair", "dict"])
def test_saved_tensors_are_read(attacked, tmp_path, wrap):
    adversarial, robust = attacked
    content = {
        "tensor": adversarial,
        "pair": (adversarial, digits(N)[1]),
        "dict": {"adv_complete": adversarial, "note": "AutoAttack", "eps": 0.15},
    }[wrap]
    torch.save(content, tmp_path / "a.pth")
    verified = verify(robust_net(), digits(N), read_images(tmp_path / "a.pth"), DIGITS)
    assert verified.verdicts == bits(robust.tolist())


def test_bytes_are_measured_as_they_are(attacked, tmp_path):
    adversarial, _ = attacked
    pixels = (adversarial * 255).round().byte().permute(0, 2, 3, 1)
    file = saved(tmp_path, x_adv=pixels)
    verified = verify(robust_net(), digits(N), file, DIGITS.at("0.149"))
    size = (pixels.permute(0, 3, 1, 2).float() / 255 - digits(N)[0]).abs().max()
    assert verified.max_perturbation == pytest.approx(float(size))
    assert verified.outside  # bytes hold 0.15 as 38 grey levels, 0.14902
    assert not verify(robust_net(), digits(N), file, DIGITS).outside


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros(N)}, "holds no adversarial images .*but y"),
        ({"x_adv": np.zeros((N, 3, 8, 8))}, r"have shape \(3, 8, 8\) and the clean ones \(1, 8"),
        ({"x_adv": np.full((N, 1, 8, 8), 200.0)}, "go from 200 to 200; they must lie in"),
        ({"x_adv": np.zeros((N + 1, 1, 8, 8))}, "holds 61 images and the data set 60"),
        ({"x_adv": np.zeros((1, 1, 8, 8)), "indices": [60]}, "has index 60 and the data set 60"),
        ({"x_adv": np.zeros((2, 1, 8, 8)), "labels": [0]}, "2 images and labels of shape"),
        ({"x_adv": np.zeros((2, 1, 8, 8)), "y": [0, 0.5]}, "labels in .* are no whole numbers"),
        ({"x_adv": np.zeros((N, 1, 8, 8)), "y": np.full(N, 9)}, "labels in .* are not those of"),
        ({"x_adv": np.array({"a": 1}, object)}, "Cannot read .*more than plain arrays"),
    ],
)
def test_files_of_no_use_get_one_sentence(tmp_path, arrays, message):
    with pytest.raises(ZooError, match=message) as raised:
        verify(robust_net(), digits(N), saved(tmp_path, **arrays), DIGITS)
    assert "\n" not in str(raised.value)


class Trap:
    def __reduce__(self):
        return print, ("executed",)


def test_files_that_would_execute_code_are_refused(tmp_path, capsys):
    torch.save(Trap(), tmp_path / "a.pt")
    (tmp_path / "b.npz").write_bytes(b"PK not a zip")
    for name, message in (("a.pt", "Cannot read"), ("b.npz", "Cannot read"), ("c", "no file")):
        with pytest.raises(ZooError, match=message):
            read_images(tmp_path / name)
    assert "executed" not in capsys.readouterr().out


def test_the_command_shows_verdicts_and_writes_them(run_eval, tmp_path):
    folder = tmp_path / "racl.digits"
    save_fitted(folder)
    model = ("--model", f"local-dir:{folder}")
    images, labels = digits(20)
    noisy = images + 0.15 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    file = saved(tmp_path, x_adv=noisy, labels=labels, verdicts="1" * 20)
    code, out, _ = run_eval("verify", "a.npz", *model, "--out", "v.json")
    assert code == 0
    for text in ("racl.digits", "20 of 450 images", "20 images lie outside", "the file says 100"):
        assert text in out
    written = json.loads((tmp_path / "v.json").read_text())
    assert written["outside"] == list(range(20))
    assert written["robust"]["correct"] == written["clean"]["correct"]
    code, out, err = run_eval("verify", "a.npz", *model, "--n", "21")
    assert (code, out) == (2, "")
    assert "n 21 is out of range" in err
    assert run_eval("verify", "a.npz")[0] == 2
    assert len(replace(file, labels=None)) == 20
