"""The site: what its pages hold, that its links resolve, and that it works in a browser."""

import re
import shutil

import pytest

from robnet_zoo.eval.reports.tables import read_records
from robnet_zoo.zoo.architectures import ARCHITECTURES
from website import build as building
from website.build import build
from website.checkout import DOCS, RESULTS, repository
from website.guides import guides
from website.leaderboard import leaderboard
from website.links import relocate
from website.models import models

LOADED = re.compile(r"<(?:script|img|iframe|link)[^>]+?(?:src|href)=.?(https?:[^\" >]+)")
FEW = ("racl.digits", "racl.digits-natural", "dsrna_cb.digits")  # records; each has a report


@pytest.fixture(scope="module")
def records():
    return {name: each for name, each in read_records(RESULTS).items() if name in FEW}


@pytest.fixture(scope="module")
def site(tmp_path_factory, records):
    """The built site, with few records."""
    pytest.importorskip("mkdocs", reason="the extra 'site' is not installed")
    out = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(building, "read_records", lambda folder: records)
        build(out, examples=False)
    return out


def test_links_stay_in_the_site_or_lead_to_the_repository():
    text = (
        "[a](../trust.md#checks) [b](../../search/racl) ![c](../../search/racl/cells.png) "
        "[`d`](../../robnet_zoo/cli/main.py) [e](https://arxiv.org) `[f](../../x)`"
    )
    moved, copied = relocate(text, DOCS / "search" / "racl.md")
    assert moved == (
        f"[a](../trust.md#checks) [b]({repository()}/tree/main/search/racl) "
        "![c](../files/search/racl/cells.png) "
        f"[`d`]({repository()}/blob/main/robnet_zoo/cli/main.py) [e](https://arxiv.org) "
        "`[f](../../x)`"
    )
    assert [path.name for path in copied.values()] == ["cells.png"]


def test_every_page_of_docs_is_a_guide():
    assert {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} < set(guides())


def test_the_leaderboard_has_every_record_and_sorts_by_its_numbers(records):
    text = leaderboard(records)["leaderboard.md"]
    rows = re.findall(r"<tr>(<td.*?)</tr>", text)
    assert len(rows) == len(FEW)
    keys = {keys[0]: keys for keys in (re.findall(r'data-key="(.*?)"', row) for row in rows)}
    racl = records["racl.digits"]
    assert float(keys["racl.digits"][4]) == pytest.approx(racl.clean.accuracy.accuracy, abs=1e-6)
    robust = racl.attack("autoattack").robust.accuracy
    assert float(keys["racl.digits"][8]) == pytest.approx(robust, abs=1e-6)
    assert keys["racl.digits-natural"][8] == ""  # AutoAttack was not run on it
    assert keys["dsrna_cb.digits"][-1] == "1 failed"


def test_a_models_page_says_what_failed_and_what_is_not_here(records):
    pages = models(records)
    assert {f"models/{name}.md" for name in ARCHITECTURES} < set(pages)
    assert "fails the check converged" in pages["models/dsrna_cb.md"]
    assert "78.4 %" in pages["models/racl.md"]
    assert '<svg class="plot" role="img"' in pages["models/racl.md"]
    assert "<svg" not in pages["models/resnet18.md"]
    assert "There are no weights" in pages["models/resnet18.md"]


@pytest.mark.slow
def test_the_site_asks_nothing_of_other_hosts(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(ARCHITECTURES)
    for page in pages:
        loaded = re.findall(
            r"<(?:script|img|iframe|link)[^>]+?(?:src|href)=\"?(https?:[^\" >]+)",
            page.read_text("utf-8"),
        )
        assert not loaded, page


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window, and what it says on its console."""
    webdriver = pytest.importorskip("selenium.webdriver")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("there is no chromium with its chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=500,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    own = webdriver.Chrome(options=options, service=service)
    yield own
    own.quit()


@pytest.mark.slow
@pytest.mark.browser
def test_the_leaderboard_sorts_and_filters_in_a_browser(site, browser):
    browser.get((site / "leaderboard.html").as_uri())

    def shown():
        rows = browser.find_elements("css selector", ".sortable tbody tr")
        return [row.find_element("css selector", "code").text for row in rows if row.is_displayed()]

    heads = browser.find_elements("css selector", ".sortable th button")
    clean = next(head for head in heads if head.text.startswith("clean"))
    browser.execute_script("arguments[0].click()", clean)
    assert shown() == ["racl.digits-natural", "racl.digits", "dsrna_cb.digits"]
    browser.execute_script("arguments[0].click()", clean)
    assert shown() == ["dsrna_cb.digits", "racl.digits", "racl.digits-natural"]
    browser.execute_script(
        "const list = document.querySelector('.sortable select'); list.value = 'digits, Linf 0.15';"
        "list.dispatchEvent(new Event('change'))"
    )
    assert len(shown()) == len(FEW)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("page", ["index", "leaderboard", "models/racl", "gallery", "search/racl"])
def test_pages_fit_a_phone_and_say_nothing_on_the_console(site, browser, page):
    browser.get((site / f"{page}.html").as_uri())
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= browser.execute_script("return innerWidth")
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []


@pytest.mark.slow
def test_links_between_pages_resolve(site):
    targets = re.compile(r'(?:href|src)="([^"#:]+)(?:#[^"]*)?"')
    missing = [
        (page.name, target)
        for page in site.rglob("*.html")
        if page.name != "404.html"  # it is served from any place
        for target in targets.findall(page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert missing == []
