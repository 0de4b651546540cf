"""What the pages show runs, on a small network and few images; or it says here what runs it.

README.md and CONTRIBUTING.md have tests of their own. That every option exists is test_docs.py's.
"""

import re
import shutil
from pathlib import Path

import pytest
from helpers.documents import PAGES, ROOT, blocks, main_of, words
from helpers.examples import run_examples
from helpers.fitted import save_fitted

OWN = ("README.md", "CONTRIBUTING.md")  # have tests of their own
SHOWN = {
    str(page.relative_to(ROOT)): blocks(page.read_text("utf-8"))
    for page in PAGES
    if str(page.relative_to(ROOT)) not in OWN
}
# A pattern of commands that are only parsed, and why
PARSED = {
    r"robnet_zoo\.search ": "from a minute to days; tests/search runs each on a few images",
    r"robnet_zoo\.train ": "trains; tests/train and tests/cli/test_train.py",
    r"scripts\.|robnet_zoo data ": "are for a GPU; test_scripts.py, tests/data/test_convert.py",
    r"benchmarks\.": "measure for minutes; test_benchmarks.py",
    r"-zoo (attach|publish) ": "change what is published; tests/zoo/test_card.py, test_publish.py",
    r"--out eval/results|eval tables": "write to the checkout, or compare it; CI does",
    r"eval (certify|properties) ": "takes minutes; tests/eval/test_certify.py, test_properties.py",
    r"--dataset (cifar10|imagenet)\b": "needs data; tests/cli/test_eval_own_model.py",
    r"--protocol ": "needs weights of your own; tests/eval/test_protocols.py",
    r"eval (sweep|matrix) ": "judge many times; test_sweep.py, tests/attacks/test_transfer.py",
    r"--attack autoattack": "takes minutes; tests/attacks/test_l1.py",
    r"timm:": "downloads; tests/eval/test_own_inputs.py",
    r"eval diff ": "judges many times, or takes your records; tests/eval/test_diff.py",
    r"eval (figures|judges|report) ": "draw for long; test_sweep.py, test_judges.py, test_html.py",
    r"-m website ": "builds the whole site; tests/website",
    r"-zoo export ": "takes a quarter of a minute; tests/zoo/test_export.py",
    r"cat\.png": "needs your picture; tests/cli/test_image.py takes a digit",
    r"pip install ": "sets an environment up",
}
# The same of Python
UNRUN = {
    r'from_pretrained\("org/name"\)': "needs the Hub; tests/zoo/test_serving.py has one",
    r"copy_studies": "needs a server; tests/search/robnet/test_storage.py has one",
    r"datasets\.CIFAR10": "needs CIFAR-10; tests/eval/test_own_inputs.py takes such a data set",
    r"export_onnx|racl\.onnx": "waits for an export; tests/zoo/test_export.py",
    r"COMMAND = ": "is the end of CONTRIBUTING.md's example of a search, which runs",
}
# What of Python takes long, and what is run in its place
SMALLER = {
    "pgd100": "pgd2",
    '"autoattack-rand"': '"fgsm"',
    "draws=20": "draws=2",
    "eot=20": "eot=2",
}
BEFORE = """
import torch
from robnet_zoo import evaluate
from robnet_zoo.eval import get_attack

def linear(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 10)).eval()

model, net, network = linear(0), linear(0), linear(1)
images = torch.rand(2, 3, 8, 8)
labels = model(images).argmax(1)
data = images, labels
"""
EXAMPLES = {
    f"{page} {number}": block.text
    for page, shown in SHOWN.items()
    for number, block in enumerate(each for each in shown if each.language == "python")
}
COMMANDS = {
    page: [
        command
        for block in shown
        if block.language in ("", "bash")
        for command in block.commands
        if re.match(r"(\w+=\w+ )?(python|robnet-zoo|torchrun|pre-commit) ", command)
    ]
    for page, shown in SHOWN.items()
}


def reasons(text, table):
    return [pattern for pattern in table if re.search(pattern, text)]


RUN = {
    page: [command for command in commands if not reasons(command, PARSED)]
    for page, commands in COMMANDS.items()
}


def test_no_reason_is_out_of_date():
    commands = [command for page in COMMANDS.values() for command in page]
    for table, texts in ((PARSED, commands), (UNRUN, EXAMPLES.values())):
        assert {pattern for text in texts for pattern in reasons(text, table)} == table.keys()
    assert all(any(long in text for text in EXAMPLES.values()) for long in SMALLER)
    assert sum(map(len, RUN.values())) >= 8


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network in place of those for digits."""
    return save_fitted(tmp_path_factory.mktemp("weights") / "racl.digits").folder


@pytest.fixture
def desk(weights, tmp_path, monkeypatch):
    """A folder with what the commands name."""
    results = ROOT / "eval" / "results"
    for name, path in (
        ("racl.digits", weights),
        ("runs/my-copy", weights),
        ("eval/results", results),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(path)
    for name, record in (("a", "racl"), ("b", "arnas")):
        shutil.copy(results / f"{record}.digits.json", tmp_path / f"{name}.json")
    monkeypatch.setenv("ROBNET_ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def smaller(command):
    """Return a command's module and arguments, for the small network, two images and steps."""
    command = re.sub(r"(?<!/)\b\w+\.digits(?![\w.-])", "local-dir:racl.digits", command)
    command = re.sub(r" --n \d+", "", re.sub(r"\bpgd(20|100)\b", "pgd2", command))
    module, arguments = words(command)
    judges = "--model" in command and arguments[0] != "verify"
    for place, each in enumerate(arguments):
        if "*" in each:
            arguments[place : place + 1] = sorted(map(str, Path().glob(each)))
    return module, [*arguments, *(["--n", "2"] if judges else [])]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, commands in RUN.items() if commands])
def test_commands_run(desk, page, capsys):
    for command in RUN[page]:
        module, arguments = smaller(command)
        assert not main_of(module)(arguments), f"{command}\n{capsys.readouterr().err}"


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    run = {name: text for name, text in EXAMPLES.items() if not reasons(text, UNRUN)}
    for long, short in SMALLER.items():
        run = {name: text.replace(long, short) for name, text in run.items()}
    return run_examples(tmp_path_factory.mktemp("python"), run, BEFORE)


@pytest.mark.parametrize("name", [n for n, text in EXAMPLES.items() if not reasons(text, UNRUN)])
def test_python_runs(ends, name):
    _, error = ends[name]
    assert not error, error
