import numpy as np
import pytest
import torch
from helpers.small_nets import DIGITS, build_net, digits, robust_net

from robnet_zoo.attacks import Attack
from robnet_zoo.eval import evaluate, get_attack
from robnet_zoo.eval.saved_images import read_images
from robnet_zoo.eval.studies.verify import verify
from robnet_zoo.runtime.errors import ZooError

N = 300  # two blocks
L2 = DIGITS.at("1.2", "L2")


class Stop(Attack):
    def run(self, model, batch, threat_model):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("attacks", "threat_model"),
    [
        (["fgsm", get_attack("pgd4", restarts=2), get_attack("square", queries=40)], DIGITS),
        (["pgd3", "deepfool"], L2),
        ([get_attack("pgd4", early_exit=True)], DIGITS),
    ],
    ids=["Linf", "L2", "early exit"],
)
def test_saved_images_give_the_verdicts_of_the_record(tmp_path, attacks, threat_model):
    path = tmp_path / "a.npz"
    judged = evaluate(robust_net(), digits(N), attacks, threat_model, save_images=path)
    saved = read_images(path)
    verified = verify(robust_net(), digits(N), saved, threat_model, record=judged)
    assert verified.verdicts == judged.totals.verdicts
    assert (verified.outside, verified.invalid, verified.notes) == ((), (), ())
    assert all(claim.only_here == claim.only_there == () for claim in verified.claims)
    assert (saved.norm, saved.epsilon) == (threat_model.norm, threat_model.epsilon.text)
    assert [it.name for it in tmp_path.iterdir()] == ["a.npz"]
    broken_by = np.load(path)["broken_by"]
    first = judged.attacks[0]
    pairs = zip(judged.clean.verdicts, first.verdicts, strict=True)
    wanted = {at for at, pair in enumerate(pairs) if pair == ("1", "0")}
    assert wanted == set((broken_by == first.name).nonzero()[0].tolist())
    assert (broken_by == "clean").sum() == len(judged.totals.clean_mistakes)
    assert (broken_by == "").sum() == judged.totals.robust.correct


def test_an_image_that_only_an_earlier_iterate_broke_is_saved_as_that_iterate(tmp_path):
    attack = get_attack("pgd6", targeted=True, step="0.2")  # whose steps pass over their goal
    path = tmp_path / "a.npz"
    judged = evaluate(robust_net(), digits(N), [attack], DIGITS, save_images=path).attacks[0]
    assert judged.last.correct > judged.robust.correct
    verified = verify(robust_net(), digits(N), read_images(path), DIGITS)
    assert verified.verdicts == judged.verdicts


def test_an_interrupted_evaluation_saves_the_same_images(tmp_path):
    def run(name, attacks=("fgsm", "pgd3"), **more):
        names = {"out": tmp_path / f"{name}.json", "save_images": tmp_path / f"{name}.npz"}
        return evaluate(robust_net(), digits(N), list(attacks), DIGITS, **names, **more)

    run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("parts", ["fgsm", Stop(name="stop")])
    assert len(list(tmp_path.glob("parts.json.parts/fgsm.*.npy"))) == 2
    run("parts", resume=True)
    whole, parts = (np.load(tmp_path / f"{name}.npz") for name in ("whole", "parts"))
    for key in whole:
        assert np.array_equal(whole[key], parts[key]), key
    assert not list(tmp_path.glob("*.parts"))


def test_blocks_without_images_are_done_again_and_only_where_images_are_asked_for(tmp_path):
    given = {"threat_model": DIGITS, "out": tmp_path / "a.json"}
    with pytest.raises(KeyboardInterrupt):
        evaluate(robust_net(), digits(40), ["fgsm", Stop(name="stop")], **given)
    assert not list(tmp_path.rglob("*.npy"))
    path = tmp_path / "a.npz"
    judged = evaluate(robust_net(), digits(40), ["fgsm"], **given, resume=True, save_images=path)
    verified = verify(robust_net(), digits(40), read_images(path), DIGITS)
    assert verified.verdicts == judged.totals.verdicts
    with pytest.raises(ZooError, match="is finished and its images are gone"):
        evaluate(robust_net(), digits(40), ["fgsm"], **given, save_images=path)


def test_a_file_made_for_something_else_is_noted(tmp_path):
    path = tmp_path / "a.npz"
    evaluate(robust_net(), digits(20), ["fgsm"], DIGITS, save_images=path)
    torch.manual_seed(0)
    other = verify(build_net().eval(), digits(20), read_images(path), DIGITS.at("0.1"))
    assert len(other.outside) > 10
    assert "made on a model with state sha256" in other.notes[0]
    assert other.notes[1] == "the images were made under Linf 0.15"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"save_images": "a.pt"}, "must end in .npz"),
        ({"save_images": "a.npz", "draws": 3}, "randomised model cannot be saved"),
    ],
)
def test_images_that_cannot_be_saved_are_refused_before_work(tmp_path, monkeypatch, more, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZooError, match=message):
        evaluate(robust_net(), digits(20), ["fgsm"], DIGITS, **more)
    assert not list(tmp_path.iterdir())


def test_the_commands_save_and_verify(run_eval, tmp_path):
    from helpers.fitted import save_fitted

    folder = tmp_path / "racl.digits"
    save_fitted(folder)
    model = ("--model", f"local-dir:{folder}")
    judge = ("--attack", "pgd3", "--eps", "0.03", "--n", "30", "--out", "a.json")
    code, out, _ = run_eval(*model, *judge, "--save-images", "a.npz")
    assert code == 0
    assert "Written: a.npz" in out
    code, out, _ = run_eval("verify", "a.npz", *model, "--record", "a.json")
    assert code == 0
    assert "Linf, epsilon 0.03" in out  # the file's, not the weights'
    assert "the record says" in out
    assert out.count("verdicts agree on 30 of 30 images") == 2
