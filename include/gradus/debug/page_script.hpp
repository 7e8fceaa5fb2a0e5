// What the page that record.hpp writes does: draws the graph, walks its nodes, shows values and chain-rule terms.
#pragma once

namespace gradus::debug::detail {

// Model: D.ops[k] and D.sources[k] are nodes "o<k>" and "s<k>"; groups are module paths. Steps: every op forwards, then every visit.
inline constexpr const char* kStepperModel = R"js(</script><script>
'use strict';
const $ = id => document.getElementById(id), D = JSON.parse($('data').textContent), failures = [];
window.onerror = (m, f, l) => { failures.push(m + ' (' + l + ')'); };
const nodes = new Map(), groups = new Map([['', { path: '', kids: [], groups: [], count: 0 }]]);
function group(path) {
  if (!groups.has(path)) {
    const up = path.includes('.') ? path.slice(0, path.lastIndexOf('.')) : '';
    const g = { path, kids: [], groups: [], count: 0 };
    groups.set(path, g); group(up).groups.push(g);
  }
  return groups.get(path);
}
const users = D.sources.map(() => -1);
D.ops.forEach((o, k) => {
  nodes.set('o' + k, { id: 'o' + k, op: o, order: k, group: o.m });
  o.in.forEach(u => { if (u.s >= 0 && users[u.s] < 0) users[u.s] = k; });
});
D.sources.forEach((s, k) => {
  if (users[k] < 0 || !s.v) return;
  nodes.set('s' + k, { id: 's' + k, source: s, order: users[k] - 0.5, group: D.ops[users[k]].m });
});
const key = u => u.o >= 0 ? 'o' + u.o : u.s >= 0 && nodes.has('s' + u.s) ? 's' + u.s : null;
const links = [];
D.ops.forEach((o, k) => o.in.forEach(u => { const from = key(u); if (from) links.push([from, 'o' + k]); }));
for (const n of nodes.values()) {
  group(n.group).kids.push(n);
  for (let p = n.group; ; p = p.slice(0, Math.max(0, p.lastIndexOf('.')))) { groups.get(p) ? groups.get(p).count++ : group(p).count++; if (!p) break; }
}
const steps = D.ops.map((o, k) => ({ id: 'o' + k, back: false })).filter((s, k) => !D.ops[k].second)
  .concat(D.visits.map(v => ({ id: v.o >= 0 ? 'o' + v.o : 's' + v.s, back: true })).filter(s => nodes.has(s.id)));
const forwards = steps.filter(s => !s.back).length;
let step = 0, open = new Set(), auto = new Set(), pick = null;
const chain = path => { const all = ['']; path.split('.').reduce((p, part) => { const q = p ? p + '.' + part : part; all.push(q); return q; }, ''); return path ? all : ['']; };
const inside = n => chain(n.group).every(p => !p || open.has(p) || auto.has(p));
const shown = n => { for (const p of chain(n.group)) if (p && !open.has(p) && !auto.has(p)) return 'g' + p; return n.id; };

// ---- layout: the contents of an open group first, then the group is one box among its neighbours ----
const W = 158, H = 44, GX = 26, GY = 30;
function measure(text, size) { return text.length * size * 0.56 + 26; }
function layout(g) {
  const items = g.kids.map(n => ({ id: n.id, node: n, order: n.order, w: n.source ? Math.min(W, Math.max(70, measure(label(n), 12))) : W, h: n.source ? 34 : H, leaf: !!n.source }));
  for (const c of g.groups) {
    if (!c.count) continue;
    const order = Math.min(...first(c));
    if (open.has(c.path) || auto.has(c.path)) {
      const inner = layout(c);
      items.push({ id: 'b' + c.path, group: c, order, inner, w: Math.max(inner.w + 28, measure(c.path, 13)), h: inner.h + 44 });
    } else items.push({ id: 'g' + c.path, group: c, order, within: g.path ? g.path + '.' : '', w: W + 20, h: 50 });
  }
  const home = new Map();
  for (const it of items) (it.group ? under(it.group) : [it.node]).forEach(n => home.set(n.id, it));
  items.forEach(it => { it.up = new Set(); it.down = new Set(); });
  for (const [a, b] of links) {
    const p = home.get(a), q = home.get(b);
    if (p && q && p !== q) { if (p.order < q.order) { p.down.add(q); q.up.add(p); } else { q.down.add(p); p.up.add(q); } }
  }
  items.sort((a, b) => a.order - b.order);
  for (const it of items) it.rank = Math.max(0, ...[...it.up].map(p => p.rank + 1));
  for (const it of [...items].reverse()) if (it.down.size && !it.up.size) it.rank = Math.max(it.rank, Math.min(...[...it.down].map(q => q.rank)) - 1);
  const rows = [];
  items.forEach(it => (rows[it.rank] = rows[it.rank] || []).push(it));
  const ranks = rows.filter(r => r);
  ranks.forEach(r => { let x = 0; r.forEach(it => { it.x = x; x += it.w + GX; }); });
  const middle = it => it.x + it.w / 2;
  const place = (row, side) => {
    for (const it of row) { const near = [...it[side]]; it.want = near.length ? near.reduce((s, n) => s + middle(n), 0) / near.length : middle(it); }
    row.sort((a, b) => a.want - b.want);
    let x = -1e9;
    for (const it of row) { it.x = Math.max(x, it.want - it.w / 2); x = it.x + it.w + GX; }
    const off = row.reduce((s, it) => s + it.want - middle(it), 0) / row.length;
    row.forEach(it => { it.x += off; });
  };
  for (let k = 0; k < 6; ++k) {
    ranks.forEach(r => place(r, 'up'));
    [...ranks].reverse().forEach(r => place(r, 'down'));
  }
  let y = 0;
  for (const r of ranks) { const h = Math.max(...r.map(it => it.h)); r.forEach(it => { it.y = y + (h - it.h) / 2; }); y += h + GY; }
  const left = Math.min(0, ...items.map(it => it.x)), low = Math.min(...items.map(it => it.x));
  items.forEach(it => { it.x -= low; });
  return { items, w: Math.max(0, ...items.map(it => it.x + it.w)), h: Math.max(0, y - GY), left };
}
function under(g) { return g.kids.concat(...g.groups.map(under)); }
function first(g) { return under(g).map(n => n.order); }
const label = n => n.op ? n.op.title : n.source.n || (n.source.leaf ? 'leaf' : 'data');
const shape = s => s ? '[' + s.s.join(', ') + ']' : '';
const html = s => String(s).replace(/[&<>"]/g, c => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);
const plural = (n, what) => n + ' ' + what + (n === 1 ? '' : 's');
const clip = (s, n) => s.length > n ? s.slice(0, n - 1) + '…' : s;
)js";

inline constexpr const char* kStepperDrawing = R"js(
// ---- drawing ----
let boxes = new Map(), view = { x: 0, y: 0, k: 1 }, extent = { w: 1, h: 1 };
function draw() {
  boxes = new Map();
  const top = layout(groups.get('')), back = [], front = [];
  extent = top;
  (function put(l, dx, dy, depth) {
    for (const it of l.items) {
      const x = it.x + dx, y = it.y + dy;
      boxes.set(it.id, { x, y, w: it.w, h: it.h });
      if (it.inner) {
        back.push(`<g class="box" data-g="${html(it.group.path)}"><rect x="${x}" y="${y}" width="${it.w}" height="${it.h}" rx="10"/><text x="${x + 12}" y="${y + 19}">▾ ${html(it.group.path)}</text></g>`);
        put(it.inner, x + (it.w - it.inner.w) / 2, y + 30, depth + 1);
      } else if (it.group) {
        front.push(`<g class="node folded" id="n-${html(it.id)}" data-g="${html(it.group.path)}"><rect x="${x}" y="${y}" width="${it.w}" height="${it.h}" rx="9"/><text class="name" x="${x + it.w / 2}" y="${y + 21}" text-anchor="middle">▸ ${html(clip(it.group.path.startsWith(it.within) ? it.group.path.slice(it.within.length) : it.group.path, 24))}</text><text class="sub" x="${x + it.w / 2}" y="${y + 38}" text-anchor="middle">${plural(under(it.group).filter(n => n.op).length, 'op')}</text></g>`);
      } else {
        const n = it.node, c = it.leaf ? (n.source.leaf ? ' leaf' : ' data') : '', name = n.source && n.source.n.startsWith(n.group + '.') ? n.source.n.slice(n.group.length + 1) : label(n);
        front.push(`<g class="node${c}" id="n-${n.id}" data-n="${n.id}"><rect x="${x}" y="${y}" width="${it.w}" height="${it.h}" rx="${it.leaf ? 16 : 8}"/><text x="${x + it.w / 2}" y="${y + (it.leaf ? 15 : 19)}" text-anchor="middle">${html(clip(name, 21))}</text><text class="sub" x="${x + it.w / 2}" y="${y + (it.leaf ? 28 : 35)}" text-anchor="middle">${html(shape(n.op ? n.op.v : n.source.v))}</text></g>`);
      }
    }
  })(top, 0, 0, 0);
  const seen = new Set(), lines = [];
  for (const [a, b] of links) {
    const p = shown(nodes.get(a)), q = shown(nodes.get(b)), id = p + ' ' + q;
    if (p === q || seen.has(id)) continue;
    seen.add(id);
    const s = boxes.get(p), t = boxes.get(q);
    if (!s || !t) continue;
    const x1 = s.x + s.w / 2, y1 = s.y + s.h, x2 = t.x + t.w / 2, y2 = t.y, d = Math.max(16, Math.min(46, (y2 - y1) / 2));
    const far = y2 - y1 > 150 && Math.abs(x1 - x2) < 120, bow = far ? (x1 <= x2 ? -1 : 1) * Math.min(230, 112 + (y2 - y1) / 12) : 0;
    const path = far ? `M${x1} ${y1}C${x1} ${y1 + 40} ${x1 + bow} ${y1 + 30} ${x1 + bow} ${y1 + 70}L${x1 + bow} ${y2 - 70}C${x1 + bow} ${y2 - 30} ${x2} ${y2 - 40} ${x2} ${y2}` : `M${x1} ${y1}C${x1} ${y1 + d} ${x2} ${y2 - d} ${x2} ${y2}`;
    lines.push(`<path class="edge" data-e="${html(id)}" d="${path}"/>`);
  }
  $('view').innerHTML = back.join('') + lines.join('') + front.join('');
}
function transform() { $('view').setAttribute('transform', `translate(${view.x} ${view.y}) scale(${view.k})`); }
function fit() {
  const r = $('graph').getBoundingClientRect();
  view.k = Math.min(1.25, (r.width - 40) / extent.w, (r.height - 50) / extent.h);
  view.x = (r.width - extent.w * view.k) / 2; view.y = Math.max(12, (r.height - extent.h * view.k) / 2);
  transform();
}
function reveal(id) {                       // moves the view as little as makes the node readable and visible
  const b = boxes.get(id), r = $('graph').getBoundingClientRect();
  if (!b) return;
  if (view.k < 0.62) { view.k = 0.8; view.x = r.width / 2 - (b.x + b.w / 2) * view.k; view.y = r.height / 2 - (b.y + b.h / 2) * view.k; }
  const m = 70, x = b.x * view.k + view.x, y = b.y * view.k + view.y, w = b.w * view.k, h = b.h * view.k;
  if (x < m || x + w > r.width - m) view.x += r.width / 2 - x - w / 2;
  if (y < m || y + h > r.height - m) view.y += r.height / 2 - y - h / 2;
  transform();
}
function mark() {
  const now = steps[step], seen = new Set(), back = new Set();
  steps.slice(0, step + 1).forEach(s => (s.back ? back : seen).add(shown(nodes.get(s.id))));
  if (step >= forwards) for (const n of nodes.values()) seen.add(shown(n));
  document.querySelectorAll('.node').forEach(e => {
    const id = e.id.slice(2);
    e.classList.toggle('seen', seen.has(id)); e.classList.toggle('back', back.has(id)); e.classList.toggle('now', !!now && id === shown(nodes.get(now.id)));
  });
  const hot = new Set(), n = now && nodes.get(now.id);
  if (n && n.op) n.op.in.forEach(u => { const k = key(u); if (k && (!now.back || u.g)) hot.add(shown(nodes.get(k)) + ' ' + shown(n)); });
  document.querySelectorAll('.edge').forEach(e => { e.classList.toggle('fwd', hot.has(e.dataset.e) && !now.back); e.classList.toggle('bwd', hot.has(e.dataset.e) && now.back); });
  document.body.classList.toggle('back', !!now && now.back);
}
function go(k, follow = true) {
  if (!steps.length) return;
  step = Math.max(0, Math.min(steps.length - 1, k));
  pick = null;
  const n = nodes.get(steps[step].id);
  if (!inside(n)) { auto = new Set(chain(n.group).filter(p => p && !open.has(p))); draw(); }
  mark();
  if (follow) reveal(shown(n));
  $('bar').value = step;
  $('where').innerHTML = `<b>${step + 1}</b> / ${steps.length} · ${steps[step].back ? 'backward' : 'forward'}`;
  panel();
}
)js";

inline constexpr const char* kStepperPanel = R"js(
// ---- values ----
const digits = v => v === null || v === undefined ? '–' : Number.isFinite(v) ? (v === 0 ? '0' : Math.abs(v) >= 1e5 || Math.abs(v) < 1e-3 ? v.toExponential(2) : String(+v.toPrecision(4))).replace('-', '−') : String(v);
const colour = (v, a) => !Number.isFinite(v) ? '#c0f' : `rgba(var(--${v < 0 ? 'neg' : 'pos'}), ${(0.8 * Math.min(1, Math.abs(v) / (a || 1))).toFixed(3)})`;
const number = v => v === 'n' ? NaN : v === 'p' ? Infinity : v === 'm' ? -Infinity : v;
function values(s) { return s && s.x ? s.x.map(number) : null; }
const peak = s => Math.max(Math.abs(s.r[0] ?? 0), Math.abs(s.r[2] ?? 0)) || 1;
function facts(s) {
  if (!s.r) return '';
  const bad = (s.r[4] ? `<span class="warn"> NaN ${s.r[4]}</span>` : '') + (s.r[5] ? `<span class="warn"> infinite ${s.r[5]}</span>` : '');
  return `<div class="facts">${s.t} <b>[${s.s.join(', ')}]</b>${bad}<br>min <b>${digits(s.r[0])}</b> &nbsp;mean <b>${digits(s.r[1])}</b> &nbsp;max <b>${digits(s.r[2])}</b> &nbsp;norm <b>${digits(s.r[3])}</b><br>` +
    `−${digits(peak(s))}<span class="scale"></span>${digits(peak(s))}</div>`;
}
let pictures = [];
function tensor(s, role) {                  // numbers when they are few, a picture otherwise
  if (!s) return '<p class="place">not kept</p>';
  const x = values(s), c = s.s.length ? s.s[s.s.length - 1] : 1, a = s.r ? peak(s) : 1;
  if (x && x.length && c <= 10 && x.length <= 80) {
    let t = '';
    for (let i = 0; i < x.length; i += c) t += '<tr>' + x.slice(i, i + c).map((v, j) => `<td data-r="${role}" data-i="${i + j}" style="background:${colour(v, a)}" class="${pick && pick.role === role && pick.i === i + j ? 'pick' : ''}">${digits(v)}</td>`).join('') + '</tr>';
    return `<div class="tensor"><div class="scroll"><table class="cells">${t}</table></div>${facts(s)}</div>`;
  }
  if (!s.p) return `<div class="tensor">${facts(s)}</div>`;
  const scale = Math.max(1, Math.min(14, Math.floor(210 / Math.max(s.p.r, s.p.c)))), id = 'c' + pictures.length;
  pictures.push([id, s]);
  return `<div class="tensor"><canvas id="${id}" width="${s.p.c}" height="${s.p.r}" style="width:${s.p.c * scale}px;height:${s.p.r * scale}px" data-r="${role}"></canvas>${facts(s)}</div>`;
}
function paint() {
  const css = getComputedStyle(document.documentElement), neg = css.getPropertyValue('--neg').split(',').map(Number), pos = css.getPropertyValue('--pos').split(',').map(Number);
  for (const [id, s] of pictures) {
    const canvas = $(id);
    if (!canvas) continue;
    const g = canvas.getContext('2d'), img = g.createImageData(s.p.c, s.p.r), raw = atob(s.p.d);
    for (let i = 0; i < raw.length; ++i) {
      const v = raw.charCodeAt(i), c = v === 255 ? [190, 0, 255] : v < 127 ? neg : pos;
      img.data.set([...c, v === 255 ? 255 : Math.round(Math.min(1, Math.abs(v - 127) / 127) * 255)], 4 * i);
    }
    g.putImageData(img, 0, 0);
    canvas.title = 'each cell: the value of largest magnitude of its block, ' + s.p.r + ' x ' + s.p.c + ' cells';
  }
}
const valueOf = u => u.o >= 0 ? (u.k ? null : D.ops[u.o].v) : u.s >= 0 ? D.sources[u.s].v : null;
const sourceName = u => u.o >= 0 ? D.ops[u.o].title : u.s >= 0 ? D.sources[u.s].n || (D.sources[u.s].leaf ? 'a leaf' : 'data') : 'nothing';
const jump = u => { const k = key(u); return k ? `<a class="jump" data-n="${k}">${html(sourceName(u))}</a>` : html(sourceName(u)); };
const at = (i, s) => { const out = []; for (let d = s.length - 1; d >= 0; --d) { out.unshift(i % s[d]); i = Math.floor(i / s[d]); } return out.length ? '[' + out.join(',') + ']' : ''; };
const letters = n => n === 1 ? ['x'] : ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
const called = (o, k) => { const f = D.formulas[o.n], m = f && f.b[k] && f.b[k].match(/^d([a-z]+)/); return m ? m[1] : letters(o.in.length)[k] || 'x' + k; };
// The chain-rule term of element i of input k in numbers.
function term(o, k, i) {
  const u = o.in[k], g = values(u.g), dy = values(o.g), name = called(o, k);
  if (!g) return '';
  if (i === null) { i = 0; g.forEach((v, j) => { if (Math.abs(v) > Math.abs(g[i])) i = j; }); }
  const lead = `d${name}${at(i, u.g.s)} = `, same = o.g && u.g.s.join() === o.g.s.join(), kind = o.n;
  if (kind === 'MatmulNode' && o.in.length === 2 && dy && u.g.s.length === 2 && o.g.s.length === 2) {
    const other = values(valueOf(o.in[1 - k])), N = o.g.s[1], M = o.g.s[0], r = Math.floor(i / u.g.s[1]), c = i % u.g.s[1], parts = [];
    if (other) {
      const K = valueOf(o.in[1 - k]).s[1];
      if (k === 0) for (let n = 0; n < N; ++n) parts.push([dy[r * N + n], other[c * K + n]]);
      else for (let m = 0; m < M; ++m) parts.push([other[m * K + r], dy[m * N + c]]);
      const some = parts.slice(0, 4).map(p => `${digits(p[0])}·${digits(p[1])}`).join(' + ');
      return lead + some + (parts.length > 4 ? ` + … (${parts.length} terms)` : '') + ' = ' + digits(g[i]);
    }
  }
  if (kind === 'SoftmaxNode' && dy && same) {
    const y = values(o.v), C = o.v.s[o.v.s.length - 1] || 1, row = Math.floor(i / C) * C;
    if (y) { let s = 0; for (let c = 0; c < C; ++c) s += dy[row + c] * y[row + c]; return lead + `${digits(y[i])} · (${digits(dy[i])} − ${digits(s)}) = ${digits(g[i])}`; }
  }
  const pointwise = /^UnaryNode|^(Add|Sub|Mul|Div|Affine|Pow|Dropout|Where)Node$/.test(kind);
  if (pointwise && same && dy) {
    const d = dy[i] !== 0 ? g[i] / dy[i] : NaN;
    return lead + `dy${at(i, o.g.s)} · ∂y/∂${name} = ${digits(dy[i])} · ${Number.isFinite(d) ? digits(d) : '∂y/∂' + name} = ${digits(g[i])}`;
  }
  if (pointwise && dy) return lead + `Σ dy · ∂y/∂${name} over the elements that it was broadcast to = ${digits(g[i])}`;
  if (kind === 'SumNode' && dy) return lead + `dy = ${digits(g[i])}`;
  return lead + `Σ_j dy_j · ∂y_j/∂${name}${at(i, u.g.s)} = ${digits(g[i])}`;
}
function panel() {
  pictures = [];
  const now = steps[step], n = nodes.get(now.id), out = [];
  if (n.op) {
    const o = n.op, f = D.formulas[o.n], back = now.back, line = o.src;
    out.push(`<h2>${html(o.title)} <span class="tag ${back ? 'b' : ''}">${back ? 'backward' : 'forward'}</span></h2>`);
    out.push(`<p class="place">${html(o.n)}${o.f ? ` made at <b>${html(o.f)}:${o.l}</b>` : ''}${o.m ? ` in ${html(o.m)}` : ''}${o.us ? ` · forward ${digits(o.us)} µs` : ''}${o.bus >= 0 ? `, backward ${digits(o.bus)} µs` : ''}</p>`);
    if (line) out.push(`<pre>${html(line)}</pre>`);
    out.push(`<div class="formula f">${f ? html(f.y) : 'y = f(' + o.in.map((u, k) => called(o, k)).join(', ') + ')'}</div>`);
    const name = k => called(o, k);
    if (!back) {
      o.in.forEach((u, k) => { out.push(`<h3><b>${name(k)}</b> from ${jump(u)}</h3>`, tensor(valueOf(u), 'v' + k)); });
      out.push('<h3><b>y</b>, the result</h3>', tensor(o.v, 'y'));
    } else {
      const from = D.ops.map((p, j) => [p, j]).filter(([p]) => p.in.some(u => u.o === n.order && u.g));
      out.push(`<h3><b>dy</b> = dL/dy${from.length ? ', ' + (from.length > 1 ? 'the sum of what ' : 'from ') + from.map(([p, j]) => `<a class="jump" data-n="o${j}" data-b="1">${html(p.title)}</a>`).join(' and ') + (from.length > 1 ? ' sent' : '') : ''}</h3>`, tensor(o.g, 'dy'));
      o.in.forEach((u, k) => {
        if (!u.g) { out.push(`<h3><b>${name(k)}</b> from ${jump(u)}: no gradient wanted</h3>`); return; }
        const chosen = pick && pick.role === 'g' + k ? pick.i : null, t = term(o, k, chosen);
        out.push(`<h3><b>d${name(k)}</b> = dL/d${name(k)}, sent to ${jump(u)}</h3>`,
          `<div class="formula b">${f && f.b[k] ? html(f.b[k]) : 'd' + name(k) + ' = (∂y/∂' + name(k) + ')ᵀ dy'}${t ? `<small>${html(t)}</small>` : ''}</div>`, tensor(u.g, 'g' + k));
      });
      if (o.saved.length) out.push(`<p class="place">kept from the forward pass: ${html(o.saved.join(', '))}</p>`);
      out.push('<h3><b>y</b>, the result of the forward pass</h3>', tensor(o.v, 'y'));
    }
  } else {
    const s = n.source;
    out.push(`<h2>${html(s.n || 'a leaf')} <span class="tag b">gradient complete</span></h2><p class="place">dL/dw is added to grad()</p>`);
    const from = D.ops.map((p, j) => [p, j]).filter(([p]) => p.in.some(u => 's' + u.s === n.id && u.g));
    out.push(`<h3><b>dL/dw</b> from ${from.map(([p, j]) => `<a class="jump" data-n="o${j}" data-b="1">${html(p.title)}</a>`).join(' + ')}</h3>`, tensor(s.g, 'g'));
    if (s.g && s.v && s.g.r && s.v.r) out.push(`<p class="place">|dL/dw| / |w| = ${digits(s.g.r[3] / s.v.r[3])}</p>`);
    out.push('<h3><b>w</b></h3>', tensor(s.v, 'w'));
  }
  $('panel').innerHTML = out.join('\n');
  paint();
}
)js";

inline constexpr const char* kStepperEvents = R"js(
// ---- hands ----
const find = (id, back) => { const k = steps.findIndex(s => s.id === id && s.back === back); return k >= 0 ? k : steps.findIndex(s => s.id === id); };
function visit(id, back) { const k = find(id, back); if (k >= 0) go(k); }
$('first').onclick = () => go(0); $('last').onclick = () => go(steps.length - 1); $('prev').onclick = () => go(step - 1); $('next').onclick = () => go(step + 1);
$('turn').onclick = () => visit(steps[step].id, !steps[step].back);
$('bar').oninput = e => go(+e.target.value);
$('fit').onclick = fit;
$('fold').onclick = () => { open.clear(); auto.clear(); draw(); mark(); fit(); };
$('unfold').onclick = () => { open = new Set([...groups.keys()].filter(p => p)); auto.clear(); draw(); mark(); fit(); };
$('panel').onclick = e => {
  const a = e.target.closest('[data-n]'), c = e.target.closest('[data-i]');
  if (a) visit(a.dataset.n, a.dataset.b ? true : steps[step].back);
  else if (c) { pick = { role: c.dataset.r, i: +c.dataset.i }; panel(); }
};
let drag = null;
const graph = $('graph');
graph.onpointerdown = e => { drag = { x: e.clientX, y: e.clientY, moved: false }; };
graph.onpointermove = e => {
  if (!drag || !(e.buttons & 1)) return;
  const dx = e.clientX - drag.x, dy = e.clientY - drag.y;
  if (!drag.moved && Math.hypot(dx, dy) < 4) return;
  if (!drag.moved) graph.setPointerCapture(e.pointerId);
  drag = { x: e.clientX, y: e.clientY, moved: true };
  view.x += dx; view.y += dy; graph.classList.add('drag'); transform();
};
graph.onpointerup = e => {
  graph.classList.remove('drag');
  const moved = drag && drag.moved;
  drag = null;
  if (moved) return;
  const n = e.target.closest('[data-n]'), g = e.target.closest('[data-g]');
  if (n) visit(n.dataset.n, steps[step].back);
  else if (g && (g.classList.contains('folded') || e.target.tagName === 'text')) {
    const p = g.dataset.g;
    if (open.has(p) || auto.has(p)) { open.delete(p); auto.delete(p); } else { open.add(p); }
    draw(); mark();
  }
};
graph.onwheel = e => {
  e.preventDefault();
  const r = graph.getBoundingClientRect(), x = e.clientX - r.left, y = e.clientY - r.top, k = Math.max(0.05, Math.min(3, view.k * Math.exp(-e.deltaY / 500)));
  view.x = x - (x - view.x) * k / view.k; view.y = y - (y - view.y) * k / view.k; view.k = k; transform();
};
let hits = [], hit = -1;
function search() {
  const q = $('search').value.trim().toLowerCase();
  hits = q ? [...nodes.values()].filter(n => [label(n), n.op ? n.op.n : '', n.op ? n.op.f + ':' + n.op.l : '', n.group].join(' ').toLowerCase().includes(q)) : [];
  hit = -1;
  $('found').textContent = q ? hits.length + ' found' : '';
  const ids = new Set(hits.map(shown));
  document.querySelectorAll('.node').forEach(e => { const on = ids.has(e.id.slice(2)); e.classList.toggle('hit', on); e.classList.toggle('dim', !!q && !on); });
}
$('search').oninput = search;
$('search').onkeydown = e => {
  if (e.key === 'Enter' && hits.length) { hit = (hit + 1) % hits.length; const n = hits[hit]; visit(n.id, n.source ? true : steps[step].back); if (find(n.id, false) < 0) reveal(shown(n)); const keep = hit; search(); hit = keep; }
  if (e.key === 'Escape') { e.target.value = ''; search(); e.target.blur(); }
};
document.onkeydown = e => {
  if (e.target.tagName === 'INPUT' && e.target.type === 'search') return;
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const f = { ArrowRight: () => go(step + 1), ArrowDown: () => go(step + 1), ArrowLeft: () => go(step - 1), ArrowUp: () => go(step - 1), Home: () => go(0), End: () => go(steps.length - 1),
    b: $('turn').onclick, f: fit, '/': () => $('search').focus() }[e.key];
  if (f) { e.preventDefault(); f(); }
};
window.onresize = () => reveal(shown(nodes.get(steps[step].id)));

// ---- start ----
document.title = D.title; $('title').textContent = D.title; $('bar').max = steps.length - 1;
const all = [...groups.keys()].filter(p => p);
if (nodes.size <= 60) open = new Set(all);
draw(); fit();
const asked = new URLSearchParams(location.hash.slice(1));
if (asked.has('unfold')) { open = new Set(all); draw(); fit(); }
if (asked.has('fold')) { open.clear(); draw(); fit(); }
if (steps.length) go(asked.has('step') ? +asked.get('step') : 0, asked.has('step'));
if (asked.has('fit')) fit();
// #selftest: walks every step with the arrow key, folds, searches; the outcome stands in the body for a test to read.
if (asked.has('selftest')) {
  try {
    const press = key => document.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
    const visited = new Set();
    press('Home');
    for (let k = 0; k < steps.length; ++k) {
      if (step !== k) failures.push('step ' + step + ' instead of ' + k);
      visited.add(steps[step].id);
      if (!$('panel').querySelector('h2') || /undefined|NaN<|\[object/.test($('panel').innerHTML)) failures.push('panel of step ' + k + ': ' + $('panel').textContent.slice(0, 120));
      if (!boxes.has(shown(nodes.get(steps[step].id)))) failures.push('step ' + k + ' is not drawn');
      if (document.querySelectorAll('.node.now').length !== 1) failures.push('step ' + k + ' is not marked');
      press('ArrowRight');
    }
    $('fold').onclick(); const folded = boxes.size;
    $('unfold').onclick(); const unfolded = boxes.size;
    const flat = [...boxes].filter(([id]) => nodes.has(id)), cut = [];
    flat.forEach(([i, a], x) => flat.slice(x + 1).forEach(([j, b]) => { if (a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h) cut.push(i + '/' + j); }));
    if (cut.length) failures.push('nodes overlap: ' + cut.slice(0, 5).join(' '));
    $('search').value = label([...nodes.values()][0]); search();
    if (!hits.length) failures.push('the search finds nothing');
    $('search').value = ''; search();
    document.body.dataset.selftest = (failures.length ? 'FAILED ' + failures.slice(0, 5).join('; ') : 'ok') + ' steps=' + steps.length + ' forward=' + forwards + ' nodes=' + visited.size + ' folded=' + folded + ' unfolded=' + unfolded;
  } catch (e) { document.body.dataset.selftest = 'FAILED ' + e + ' ' + e.stack; }
}
</script></body></html>
)js";

}  // namespace gradus::debug::detail
