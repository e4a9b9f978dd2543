"""Style sheet and script of a page. Colours are variables, so that charts follow a change between dark and light."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5d6778; --line: #e0e4eb; --back: #f7f8fa; --card: #fff;
  --low: #7fb2e5; --high: #e4572e;
  --c0: #3f72b5; --c1: #e07b22; --c2: #469a50; --c3: #d0484c; --c4: #4fa7a0; --c5: #d9b21f; --c6: #9a6bb0;
  --c7: #e58ca0; --c8: #93705b; --c9: #8b94a3;
  --c10: color-mix(in srgb, var(--c0) 50%, var(--card)); --c11: color-mix(in srgb, var(--c1) 50%, var(--card));
  --c12: color-mix(in srgb, var(--c2) 50%, var(--card)); --c13: color-mix(in srgb, var(--c3) 50%, var(--card));
  --c14: color-mix(in srgb, var(--c4) 50%, var(--card)); --c15: color-mix(in srgb, var(--c5) 50%, var(--card));
  --c16: color-mix(in srgb, var(--c6) 50%, var(--card)); --c17: color-mix(in srgb, var(--c7) 50%, var(--card));
  --c18: color-mix(in srgb, var(--c8) 50%, var(--card)); --c19: color-mix(in srgb, var(--c9) 50%, var(--card)); }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --soft: #9aa5b5; --line: #2c3442; --back: #12151c; --card: #1a1f29;
  --c0: #6a9bdc; --c1: #f09a4a; --c2: #6fbf78; --c3: #ea6f72; --c4: #74c7c0; --c5: #e8c84a; --c6: #bb92cf;
  --c7: #f2abba; --c8: #b39380; --c9: #a3acba; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 92rem; padding: 2rem 1.25rem; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; } h2 { font-size: 1.05rem; margin: 0; }
p { color: var(--soft); margin: .2rem 0 1rem; font-size: .9rem; } header p { margin-bottom: 1.4rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .8rem; }
.card, section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
.card { padding: .7rem 1rem; } .card b { display: block; font-size: 1.3rem; font-weight: 600; }
.card span { color: var(--soft); font-size: .85rem; }
main { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1rem; margin-top: 1rem; }
section { padding: 1rem; min-width: 0; } section.wide { grid-column: 1 / -1; }
.legend { display: flex; flex-wrap: wrap; gap: .15rem .9rem; font-size: .8rem; margin-bottom: .4rem; }
.legend i { display: inline-block; width: .75em; height: .75em; border-radius: 2px; margin-right: .4em; }
.chart { width: 100%; } .chart svg text { font-family: inherit; }
.scroll { overflow: auto; max-height: 60rem; background: linear-gradient(to right, var(--card), var(--card)) right /
  2rem 100% no-repeat local, linear-gradient(to left, #0003, transparent) right / .8rem 100% no-repeat; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-variant-numeric: tabular-nums;
  font-size: .87rem; }
th, td { padding: .35rem .5rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
thead th { white-space: normal; overflow-wrap: normal; vertical-align: bottom; }
thead th { position: sticky; top: 0; background: var(--card); z-index: 1; }
tfoot td { position: sticky; bottom: 0; background: var(--card); border-top: 1px solid var(--line); border-bottom: 0;
  font-weight: 600; }
th.text, td.text { text-align: left; }
td.text:nth-last-child(-n+2) { white-space: normal; overflow-wrap: normal; min-width: 10rem; }
td:first-child { max-width: 18rem; overflow: hidden; text-overflow: ellipsis; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--card); }
thead th:first-child, tfoot td:first-child { z-index: 2; }
th button { all: unset; cursor: pointer; color: var(--soft); font-weight: 500; }
th button:hover, th button:focus-visible { color: var(--ink); text-decoration: underline; }
th[aria-sort=ascending] button::after { content: " \\25B2"; }
th[aria-sort=descending] button::after { content: " \\25BC"; }
.graph { display: block; width: 100%; } .graph text { fill: var(--ink); font-size: 12.5px; }
.graph .soft { fill: var(--soft); } .graph path { fill: none; stroke: var(--soft); stroke-width: 1.3; opacity: .7; }
#vg-tooltip-element.page-theme { position: fixed; visibility: hidden; z-index: 1000; padding: .5rem .7rem;
  background: var(--card); color: var(--ink); border: 1px solid var(--line); border-radius: .4rem;
  font-size: .82rem; box-shadow: 0 2px 10px #0003; pointer-events: none; }
#vg-tooltip-element.page-theme.visible { visibility: visible; }
#vg-tooltip-element.page-theme table { width: auto; }
#vg-tooltip-element.page-theme td { border: 0; padding: .05rem .3rem; }
#vg-tooltip-element.page-theme td.key { color: var(--soft); max-width: none; }
@media (max-width: 60rem) { main { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 40rem) { body { padding: 1rem .6rem; } section { padding: .7rem; }
  td:first-child { max-width: 9rem; } .cards { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
"""

SCRIPT = """
for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => {
  const head = button.parentElement, table = head.closest("table"), body = table.tBodies[0], at = head.cellIndex;
  const text = head.classList.contains("text"), now = head.getAttribute("aria-sort");
  const way = (now ? now === "descending" : text) ? 1 : -1;
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
  const key = row => row.cells[at].dataset.key, number = text => text === "" ? -Infinity : Number(text);
  const order = text ? (a, b) => way * (a < b ? -1 : a > b ? 1 : 0)
    : (a, b) => way * (number(a) - number(b));
  body.append(...[...body.rows].sort((a, b) => order(key(a), key(b))));
});
const charts = JSON.parse(document.getElementById("charts").textContent);
charts.forEach((chart, i) => vegaEmbed(`#chart-${i}`, chart,
  { mode: "vega-lite", renderer: "svg", actions: false, tooltip: { theme: "page" } }).catch(error => {
    document.getElementById(`chart-${i}`).textContent = `This chart cannot be drawn: ${error}`;
    console.error(error);
  }));
"""
