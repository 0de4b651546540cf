"""Run the tests with the lowest and with the newest versions that pyproject.toml allows.

    python -m scripts.check_versions                          # both, the whole suite
    python -m scripts.check_versions lowest tests/models -x   # one, with options of pytest

Each environment is made by pip, takes up to 8 GB in the temporary folder (TMPDIR moves it) and is
deleted afterwards. The lowest versions of some packages have wheels for Python 3.11 alone. Both
majors of huggingface_hub, 1 and 2, are among them; what was installed is printed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
ADV_LIB = "adv-lib>=0.2.8,<0.3"  # what else it asks for is for plots
INSTALLED = """
import sys
from importlib.metadata import version
print(", ".join(f"{name} {version(name)}" for name in sys.argv[1:]))
"""
LOWER = re.compile(r"([\w.-]+)(?:\[.*?\])?>=([\d.]+)")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Test with the lowest and the newest versions.")
    parser.add_argument("versions", choices=("both", "lowest", "newest"), nargs="?", default="both")
    parser.add_argument("pytest", nargs=argparse.REMAINDER, help="its options and tests")
    options = parser.parse_args(argv)
    chosen = ("lowest", "newest") if options.versions == "both" else (options.versions,)
    failed = [versions for versions in chosen if not passes(versions, options.pytest)]
    for versions in chosen:
        print(f"{versions} versions: {'failed' if versions in failed else 'passed'}")
    return bool(failed)


def passes(versions: str, options: list[str]) -> bool:
    """Return whether the tests pass in a new environment with these versions."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "environment")
        venv.create(home, with_pip=True)
        python = str(home / "bin" / "python")
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("\n".join(lower_bounds() if versions == "lowest" else ()))
        editable = ["-e", f"{ROOT}[dev]", "--constraint", str(constraints)]
        install = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, *editable], check=True)
        subprocess.run([*install, "--no-deps", ADV_LIB], check=True)
        names = [bound.partition("==")[0] for bound in lower_bounds()]
        print(f"{versions} versions:", flush=True)
        subprocess.run([python, "-c", INSTALLED, *names], check=True)
        environment = os.environ | {
            "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
        }
        tests = [python, "-m", "pytest", *options]
        return subprocess.run(tests, cwd=ROOT, env=environment, check=False).returncode == 0


def lower_bounds() -> list[str]:
    """Return the lowest version of each package that is needed at run time, for pip."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    needs = [*project["dependencies"]]
    needs += [need for extra in extras if extra != "dev" for need in extras[extra]]
    found = [LOWER.match(need) for need in needs]
    return sorted({f"{match[1]}=={match[2]}" for match in found if match})


if __name__ == "__main__":
    sys.exit(main())
