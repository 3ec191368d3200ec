// The style of the HTML report: one sheet, two colour schemes, screens from 320 pixels and paper.
#pragma once

namespace gritstone {

// Series c0..c7 are for configs (report_charts.h, series_class()), st-* for stages.
inline constexpr char kReportStyle[] = R"css(
:root {
  color-scheme: light dark;
  --paper: #f6f5f1; --card: #ffffff; --ink: #1b1d21; --muted: #62666e; --rule: #e3e1da; --grid: #e9e7e1; --strong: #b9b6ac;
  --best: #0b6b3a; --bad: #b3261e; --tint: #f2f0ea;
  --c0: #2458d3; --c1: #cf4a0a; --c2: #23803a; --c3: #9333b4; --c4: #0b7c92; --c5: #bf2348; --c6: #86690a; --c7: #59616f;
  --st-wait: #b9bec8; --st-queue: #9aa1ad; --st-embed: #4a7bea; --st-bm25: #7fb3ff; --st-vector: #1fa3b8; --st-fuse: #86d3de;
  --st-rerank: #b18cf0; --st-prompt: #d9b93b; --st-compose: #e08a2c; --st-load: #c2487f; --st-prefill: #d6502b; --st-decode: #4b9c5e;
  --st-cite: #a3c46b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131518; --card: #1b1e22; --ink: #e9e8e4; --muted: #a2a6ae; --rule: #31353b; --grid: #2a2e33; --strong: #5b6068;
    --best: #6fdc9b; --bad: #ff8f86; --tint: #23272c;
    --c0: #7fa8ff; --c1: #ff9a5c; --c2: #6fd487; --c3: #d79bf2; --c4: #55cfe3; --c5: #ff8aa3; --c6: #e2c14d; --c7: #aab2c0;
    --st-wait: #565c66; --st-queue: #727985; --st-embed: #5a88f0; --st-bm25: #86b6ff; --st-vector: #2bb3c9; --st-fuse: #7fc9d4;
    --st-rerank: #b694f2; --st-prompt: #d8bb48; --st-compose: #e5973f; --st-load: #d0608f; --st-prefill: #e0653f; --st-decode: #58ab6b;
    --st-cite: #a9c974;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 28px 20px 48px; max-width: 1120px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: break-word;
}
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 14px; letter-spacing: -0.01em; }
h2 { font-size: 19px; line-height: 1.3; margin: 0 0 4px; }
h3 { font-size: 15px; margin: 16px 0 6px; }
header { margin-bottom: 22px; }
section {
  background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 18px 20px 20px; margin: 0 0 18px;
}
.findings { margin: 0 0 14px; padding: 0 0 0 18px; font-size: 16px; }
.findings li { margin: 0 0 7px; padding-left: 3px; }
.note { color: var(--muted); font-size: 13px; margin: 0 0 12px; max-width: 78ch; }
.muted { color: var(--muted); }
.warning { color: var(--bad); margin: 0 0 8px; }
.sources { font-size: 13px; color: var(--muted); }
.sources > summary { cursor: pointer; }
.sources h3 { color: var(--ink); overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; margin: 0 0 10px; }
dt { color: var(--muted); }
dd { margin: 0; color: var(--ink); overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 0 -20px; padding: 0 20px; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--c0); outline-offset: 2px; }
table { border-collapse: collapse; font-size: 13px; min-width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 12px 6px 0; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--rule); }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--muted); font-weight: 500; line-height: 1.3; vertical-align: bottom; border-bottom-color: var(--strong); }
tbody th { font-weight: 500; white-space: nowrap; }
tbody tr:last-child th, tbody tr:last-child td { border-bottom: 0; }
.n { text-align: right; white-space: nowrap; }
tr.more .again { opacity: 0.38; font-weight: 400; }
td strong { color: var(--best); font-weight: 650; }
.range { display: block; color: var(--muted); font-size: 11px; white-space: nowrap; }
.chip {
  display: inline-block; min-width: 19px; padding: 0 5px; margin-right: 6px; border-radius: 10px; text-align: center; font-size: 11px;
  line-height: 19px; font-weight: 650; font-variant-numeric: tabular-nums; color: var(--card); background: var(--c);
}
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); } .c7 { --c: var(--c7); }
figure { margin: 0; }
svg { display: block; max-width: 100%; height: auto; font: 12px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
svg text { fill: var(--muted); font-variant-numeric: tabular-nums; }
svg .name { fill: var(--ink); white-space: pre; paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
svg .in { fill: var(--card); font-weight: 650; font-size: 11px; }
.grid { stroke: var(--grid); }
.grid.strong { stroke: var(--strong); stroke-dasharray: 3 3; }
.axis { stroke: var(--strong); }
.curve { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; }
.curve.d1 { stroke-dasharray: 7 4; } .curve.d2 { stroke-dasharray: 2 3; } .curve.d3 { stroke-dasharray: 9 3 2 3; }
.dot { fill: var(--card); stroke: var(--c); stroke-width: 2; }
.whisker { stroke: var(--c); stroke-width: 1.5; opacity: 0.6; }
.point { fill: var(--c); stroke: var(--card); stroke-width: 1.5; }
.front { fill: none; stroke: var(--strong); stroke-width: 2; stroke-dasharray: 5 4; }
.first { stroke: var(--ink); stroke-width: 2; }
.st, .swatch { fill: var(--s); background: var(--s); }
.st-wait { --s: var(--st-wait); } .st-queue { --s: var(--st-queue); } .st-embed { --s: var(--st-embed); } .st-bm25 { --s: var(--st-bm25); }
.st-vector { --s: var(--st-vector); } .st-fuse { --s: var(--st-fuse); } .st-rerank { --s: var(--st-rerank); }
.st-prompt { --s: var(--st-prompt); } .st-compose { --s: var(--st-compose); } .st-load { --s: var(--st-load); }
.st-prefill { --s: var(--st-prefill); } .st-decode { --s: var(--st-decode); } .st-cite { --s: var(--st-cite); }
.narrow { display: none; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 5px 20px; margin: 12px 0 0; padding: 0; font-size: 13px; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; }
.question { border-top: 1px solid var(--rule); padding: 9px 0; }
.question > summary { cursor: pointer; }
.question[open] > summary { font-weight: 600; margin-bottom: 6px; }
.why { font-size: 13px; font-weight: 400; }
.tag { font-size: 11px; padding: 1px 6px; border-radius: 5px; background: var(--tint); color: var(--muted); font-variant-numeric: tabular-nums; }
.gold { margin: 4px 0 8px; }
.answers td { min-width: 5ch; }
.answers td:nth-child(2) { min-width: 26ch; white-space: pre-wrap; }
.yes { color: var(--best); } .no { color: var(--bad); }
.of { margin: 14px 0 4px; font-size: 13px; color: var(--muted); }
.passages { margin: 0; padding-left: 24px; font-size: 13px; }
.passages li { margin: 0 0 9px; }
.where { display: block; }
.cited { margin-left: 6px; padding: 0 6px; border-radius: 5px; background: var(--tint); white-space: nowrap; }
.passage { display: block; white-space: pre-wrap; color: var(--muted); border-left: 3px solid var(--rule); padding-left: 9px; margin-top: 3px; }
footer { color: var(--muted); font-size: 12px; }
code { font-size: 0.95em; }
@media (max-width: 640px) {
  body { padding: 18px 10px 36px; }
  h1 { font-size: 23px; }
  section { padding: 15px 13px 16px; border-radius: 8px; }
  .scroll { margin: 0 -13px; padding: 0 13px; }
  .wide { display: none; }
  .narrow { display: block; }
  .narrow svg { width: 100%; }
  .findings { font-size: 15px; }
  th, td { padding-right: 10px; }
  tbody th { white-space: normal; overflow-wrap: anywhere; min-width: 34vw; font-size: 12px; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 5px; }
}
@media print {
  :root { --paper: #ffffff; --rule: #d5d5d5; }
  body { max-width: none; padding: 0; font-size: 11pt; }
  section { border: 0; padding: 0; margin-bottom: 22px; }
  .scroll { overflow: visible; margin: 0; padding: 0; }
  table { font-size: 8pt; }
  figure, tr, .question { break-inside: avoid; }
  h2, h3, .note { break-after: avoid; }
  .chip, .swatch, .st { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
)css";

}  // namespace gritstone
