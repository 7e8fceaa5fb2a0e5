// The frame and the look of the page that record.hpp writes.
#pragma once

namespace gradus::debug::detail {

inline constexpr const char* kStepperHead = R"html(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style>
:root { --bg:#fbfcfd; --card:#ffffff; --soft:#f1f4f7; --ink:#1b2530; --muted:#627080; --line:#d6dde4; --edge:#aab5c0;
  --fwd:#2468c4; --fwdbg:#e3eefb; --bwd:#c9551a; --bwdbg:#fdebdf; --leaf:#1c7f4a; --leafbg:#e4f4ea; --group:#6b7c8f0f; --hit:#f3c332;
  --neg:45,105,190; --pos:205,75,45; }
@media (prefers-color-scheme: dark) { :root { --bg:#11161b; --card:#1a2128; --soft:#222b34; --ink:#e5eaef; --muted:#9aa8b6;
  --line:#36424e; --edge:#5b6875; --fwd:#6fa9f2; --fwdbg:#1b2e47; --bwd:#f09057; --bwdbg:#43291a; --leaf:#5cc98d; --leafbg:#17352a;
  --group:#a9bdd212; --hit:#b08c1c; --neg:100,155,235; --pos:240,120,85; } }
* { box-sizing: border-box; }
html, body { height: 100%; margin: 0; }
body { display: grid; grid-template: auto 1fr / minmax(300px, 1fr) minmax(390px, 40%); background: var(--bg); color: var(--ink);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header { grid-column: 1 / -1; display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: center; padding: 8px 14px;
  border-bottom: 1px solid var(--line); background: var(--card); }
header h1 { font-size: 16px; margin: 0 6px 0 0; }
header .fill { flex: 1; }
button { font: inherit; color: inherit; background: var(--soft); border: 1px solid var(--line); border-radius: 7px; padding: 3px 11px;
  cursor: pointer; min-width: 36px; }
button:hover { border-color: var(--muted); }
button:focus-visible, input:focus-visible { outline: 2px solid var(--fwd); outline-offset: 1px; }
#where { min-width: 172px; text-align: center; font-variant-numeric: tabular-nums; color: var(--muted); }
#where b { color: var(--ink); }
#bar { width: 150px; accent-color: var(--fwd); }
body.back #bar { accent-color: var(--bwd); }
input[type=search] { font: inherit; color: inherit; background: var(--bg); border: 1px solid var(--line); border-radius: 7px; padding: 3px 10px;
  width: 220px; }
#graph { position: relative; overflow: hidden; cursor: grab; touch-action: none; }
#graph.drag { cursor: grabbing; }
#graph svg { position: absolute; inset: 0; width: 100%; height: 100%; }
#graph text { fill: var(--ink); font-size: 13px; user-select: none; }
#graph .sub { fill: var(--muted); font-size: 11px; }
.node { cursor: pointer; }
.node > rect { fill: var(--card); stroke: var(--edge); stroke-width: 1.2; }
.node.leaf > rect { fill: var(--leafbg); stroke: var(--leaf); }
.node.data > rect { stroke-dasharray: 4 3; }
.node.seen > rect { fill: var(--fwdbg); stroke: var(--fwd); }
.node.leaf.seen > rect { fill: var(--leafbg); stroke: var(--leaf); }
.node.back > rect, .node.leaf.back > rect { fill: var(--bwdbg); stroke: var(--bwd); }
.node.now > rect { stroke-width: 3.4; }
.node.hit > rect { stroke: var(--hit); stroke-width: 4; }
.node.dim { opacity: .25; }
.box > rect { fill: var(--group); stroke: var(--line); }
.box > text, .folded text.name { font-weight: 600; }
.box > text { fill: var(--muted) !important; cursor: pointer; }
.folded > rect { fill: var(--soft); stroke-width: 1.6; }
.edge { fill: none; stroke: var(--edge); stroke-width: 1.2; }
.edge.fwd { stroke: var(--fwd); stroke-width: 2.6; }
.edge.bwd { stroke: var(--bwd); stroke-width: 2.6; }
aside { overflow: auto; border-left: 1px solid var(--line); background: var(--card); padding: 14px 18px 40px; }
aside h2 { font-size: 19px; margin: 0; display: flex; gap: 10px; align-items: baseline; flex-wrap: wrap; }
aside h3 { font-size: 13px; margin: 18px 0 6px; color: var(--muted); font-weight: 600; }
aside h3 b { color: var(--ink); }
.tag { font-size: 12px; font-weight: 600; padding: 1px 9px; border-radius: 99px; color: var(--fwd); background: var(--fwdbg); }
.tag.b { color: var(--bwd); background: var(--bwdbg); }
.place { color: var(--muted); margin: 2px 0 0; overflow-wrap: anywhere; }
pre, .formula { margin: 8px 0; padding: 8px 12px; background: var(--soft); border-radius: 8px; overflow-x: auto; }
pre { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; white-space: pre-wrap; }
.formula { font: italic 16px/1.6 "STIX Two Text", Cambria, "Times New Roman", serif; }
.formula small { display: block; font: 13px/1.6 ui-monospace, Menlo, Consolas, monospace; color: var(--ink); }
.formula.b { border-left: 4px solid var(--bwd); } .formula.f { border-left: 4px solid var(--fwd); }
.tensor { display: grid; grid-template-columns: auto 1fr; gap: 4px 14px; align-items: start; margin: 4px 0 10px; }
.tensor canvas { image-rendering: pixelated; border-radius: 4px; border: 1px solid var(--line); cursor: crosshair; display: block; }
.tensor .facts { font-size: 12.5px; color: var(--muted); font-variant-numeric: tabular-nums; min-width: 0; }
.tensor .facts b { color: var(--ink); font-weight: 600; }
.cells { border-collapse: separate; border-spacing: 2px; font: 12px ui-monospace, Menlo, Consolas, monospace; font-variant-numeric: tabular-nums; }
.cells td { padding: 3px 6px; text-align: right; border-radius: 4px; cursor: crosshair; outline: 1px solid transparent; }
.cells td.pick, .cells td:hover { outline: 2px solid var(--ink); }
.scroll { overflow-x: auto; max-width: 100%; grid-column: 1 / -1; }
.scale { display: inline-block; width: 90px; height: 8px; border-radius: 4px; vertical-align: middle; margin: 0 6px;
  background: linear-gradient(90deg, rgb(var(--neg)), rgba(var(--neg), 0) 50%, rgba(var(--pos), 0) 50%, rgb(var(--pos))); }
a.jump { color: var(--fwd); cursor: pointer; text-decoration: none; } a.jump:hover { text-decoration: underline; }
.warn { color: var(--bwd); font-weight: 600; }
kbd { font: 12px ui-monospace, monospace; border: 1px solid var(--line); border-radius: 4px; padding: 0 5px; background: var(--soft); }
#hint { position: absolute; left: 8px; bottom: 6px; color: var(--muted); font-size: 12px; pointer-events: none; background: var(--bg);
  border-radius: 6px; padding: 1px 6px; opacity: .92; }
@media (max-width: 860px) { body { grid-template: auto 46vh 1fr / 1fr; } aside { border-left: 0; border-top: 1px solid var(--line); } }
</style></head><body>
<header><h1 id="title"></h1>
<button id="first" title="Home">|◀</button><button id="prev" title="left arrow">◀</button><span id="where"></span>
<button id="next" title="right arrow">▶</button><button id="last" title="End">▶|</button>
<input type="range" id="bar" min="0" value="0" aria-label="step">
<button id="turn" title="b: the same node in the other direction">⇅</button>
<span class="fill"></span>
<input type="search" id="search" placeholder="search: op, file, parameter" aria-label="search"><span id="found"></span>
<button id="fold">fold all</button><button id="unfold">unfold all</button><button id="fit" title="f">fit</button></header>
<div id="graph"><svg><g id="view"></g></svg><div id="hint"><kbd>←</kbd> <kbd>→</kbd> step &nbsp; <kbd>b</kbd> other direction &nbsp;
<kbd>/</kbd> search &nbsp; <kbd>f</kbd> fit &nbsp; wheel: zoom &nbsp; click a box's title: fold</div></div>
<aside id="panel"></aside>
<script id="data" type="application/json">)html";

}  // namespace gradus::debug::detail
