"""How long a reader on a slow telephone waits: for the theme, for answers to be folded, for the first widget to answer.

    python tests/slow_phone.py [--rounds 3] [--slower 4] [--site _build/html] [page ...]
    python tests/slow_phone.py --learning [--slower 6]

The site is served here, packed as servers pack it, to a Chromium of 390 x 844 whose processor is four times slower and
whose line has 1.6 Mbit/s and 150 ms. Medians over the rounds, in seconds from the start of the visit, with the load of
this machine beside them: a busy one makes everything late. Nothing is asserted. With `--learning`, how long the frames
take in which TrainItHere learns and draws, at the processor's own speed and slower.
"""

import argparse
import gzip
import os
import statistics
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from browser import Files, served

from attnlib.widgets import TrainItHere
from book._tools import toc
from book._tools.chromium import ARGUMENTS, find_chromium

SLOWER = 4
LINE = {"offline": False, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 0.75e6 / 8, "latency": 150}
AIM = 3.0  # seconds, on a quiet machine
PATIENCE = 120  # seconds
# Every 50 ms: what has come about since? A widget has answered a key, or a tick, when it offers to be reset.
CLOCK = """(() => {
  const times = (window.attnlibTimes = {});
  const HANDLE = ".attnlib-point, input[type=range]:enabled, input[type=checkbox]:enabled";
  let poked = -Infinity;
  const poke = (handle) => {
    if (handle.type === "checkbox") handle.click();
    else if (handle.type === "range") {
      handle.value = Number(handle.value) === Number(handle.max) ? handle.min : handle.max;
      handle.dispatchEvent(new Event("input", { bubbles: true }));
    } else handle.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
  };
  const asked = {
    theme: () => ["light", "dark"].includes(document.documentElement?.dataset.theme),
    folded: () => {
      const answers = [...document.querySelectorAll(".admonition.dropdown > :not(.admonition-title)")];
      if (document.readyState === "loading" && !answers.length) return false;
      return answers.every((each) => !each.checkVisibility({ visibilityProperty: true }));
    },
    widget: () => {
      const view = document.querySelector(".attnlib-view:has(.attnlib-start select:enabled)"); // alive, that is
      if (view?.querySelector(".attnlib-presets button:enabled:not([aria-disabled=true])")) return true;
      if (view && performance.now() - poked > 500) {
        poke(view.querySelector(HANDLE));
        poked = performance.now();
      }
      return false;
    },
  };
  const look = () => {
    for (const [name, came] of Object.entries(asked)) if (!(name in times) && came()) times[name] = performance.now();
    if (Object.keys(times).length < Object.keys(asked).length) setTimeout(look, 50);
  };
  look();
})();"""
TIMES = ("theme", "folded", "widget")
# What the script does in each frame, in ms, by the frame's time.
FRAMES = """() => {
  const ask = window.requestAnimationFrame.bind(window);
  window.attnlibFrames = {};
  window.requestAnimationFrame = (draw) => ask((now) => {
    const from = performance.now();
    draw(now);
    attnlibFrames[now] = (attnlibFrames[now] ?? 0) + performance.now() - from;
  });
}"""


class Packed(Files):
    """Serves text packed, and keeps the line open between two files, as servers do."""

    protocol_version = "HTTP/1.1"
    weight = 0

    def handle(self) -> None:
        with suppress(ConnectionError):  # the visitor has seen enough
            super().handle()

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        body, kind = path.read_bytes(), self.guess_type(str(path))
        packed = kind.startswith("text/") or kind.endswith(("javascript", "json", "svg+xml"))
        if packed:
            body = gzip.compress(body, 6)
        Packed.weight += len(body)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)


def visit(chromium: Browser, address: str, slower: float) -> dict[str, float]:
    """The times of one visit, in seconds, and the weight of what had come by then, in MB."""
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Network.enable")
    devtools.send("Network.emulateNetworkConditions", LINE)
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": slower})
    page.add_init_script(CLOCK)
    Packed.weight = 0
    page.goto(address, wait_until="commit", timeout=PATIENCE * 1000)
    found: dict[str, float] = {}
    start = time.monotonic()
    while len(found) < len(TIMES):
        if time.monotonic() - start > PATIENCE:
            raise TimeoutError(f"{address} gave only {found} in {PATIENCE} s")
        time.sleep(0.2)
        found = {name: at / 1000 for name, at in page.evaluate("window.attnlibTimes ?? {}").items()}
    found["MB"] = Packed.weight / 1e6
    context.close()
    return found


def learning(chromium: Browser, slower: float, seconds: float = 8) -> None:
    """Starts TrainItHere, and tells how long its frames take, and how far it comes."""
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.evaluate(FRAMES)
    script = "(html) => document.body.append(document.createRange().createContextualFragment(html))"
    page.evaluate(script, TrainItHere()._repr_html_())
    page.get_by_role("button", name="Start", exact=True).wait_for()
    devtools = page.context.new_cdp_session(page)
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": slower})
    page.evaluate("() => { attnlibFrames = {}; }")
    page.get_by_role("button", name="Start", exact=True).click()
    time.sleep(seconds)
    found = page.evaluate("attnlibFrames")
    told = page.locator(".attnlib-caption").inner_text().partition(" (")[0]
    page.close()
    took, at = sorted(found.values()), sorted(map(float, found))
    apart = sorted(after - before for before, after in pairwise(at))
    for what, values in (("script in a frame", took), ("between frames", apart)):
        parts = statistics.median(values), values[int(0.95 * len(values))], values[-1]
        median, nearly, most = (f"{part:6.1f}" for part in parts)
        print(f"{slower:g} times slower: {what:17}, ms: median {median}, 95 % {nearly}, most {most}")
    print(
        f"{slower:g} times slower: {told} after {seconds:g} s, {len(took)} frames, load {os.getloadavg()[0]:.2f}",
        flush=True,
    )


def main(site: Path, pages: list[str], rounds: int, slower: float) -> None:
    print(f"{'page':42} " + " ".join(f"{name:>7}" for name in (*TIMES, "MB", "load")))
    with sync_playwright() as playwright, served(site, Packed) as origin:
        path = find_chromium(playwright)
        chromium = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        late = 0
        for page in pages:
            seen = [visit(chromium, origin + page, slower) for _ in range(rounds)]
            medians = [statistics.median(one[name] for one in seen) for name in (*TIMES, "MB")]
            late += max(medians[: len(TIMES)]) > AIM
            print(f"{page:42} " + " ".join(f"{number:7.2f}" for number in (*medians, os.getloadavg()[0])), flush=True)
        chromium.close()
    print(f"{late} of {len(pages)} pages take more than {AIM} s, on {os.cpu_count()} cores.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", metavar="page", help="such as book/deep-learning/scores.html")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slower", type=float, default=SLOWER, help="1 where the machine is busy, and slow of itself")
    parser.add_argument("--site", type=Path, default=toc.ROOT / "_build" / "html")
    parser.add_argument("--learning", action="store_true", help="of TrainItHere instead")
    options = parser.parse_args()
    if options.learning:
        with sync_playwright() as playwright:
            started = playwright.chromium.launch(executable_path=find_chromium(playwright), args=list(ARGUMENTS))
            for rate in (1, options.slower):
                learning(started, rate)
            started.close()
        sys.exit()
    chapters = [path.relative_to(toc.ROOT).with_suffix(".html").as_posix() for path in toc.chapters()]
    main(options.site, options.pages or ["book/index.html", *chapters], options.rounds, options.slower)
