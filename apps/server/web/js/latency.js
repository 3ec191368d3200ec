// Where the time of an answer went: one bar of its stages, the same in a table of numbers, and what was reused.
import {el} from './dom.js';
import {bytes, count, duration, plural} from './format.js';

// Stages in the order they run; the colour class groups them: search, prompt, model.
const kStages = [
  ['wait', 'Wait for a slot', 'wait'], ['embed', 'Embed the question', 'search-1'], ['bm25', 'Word search (BM25)', 'search-2'], ['vector', 'Vector search', 'search-3'],
  ['fuse', 'Fuse rankings', 'search-4'], ['prompt', 'Build the prompt', 'prompt-1'], ['compose', 'Find reusable states', 'prompt-2'],
  ['queue', 'Wait for the engine', 'wait'], ['load', 'Load states', 'prompt-3'], ['prefill', 'Prefill (read the prompt)', 'model-1'],
  ['decode', 'Decode (write the answer)', 'model-2'], ['cite', 'Check sources', 'model-3'],
];

const kNoWait = 1;       // ms; less is no waiting worth a line
const kNothing = 0.005;  // ms; would be shown as zero

// Where a passage's states came from.
const kTiers = {ram: 'from memory', disk: 'from disk', computed: 'computed for later', live: 'computed'};

export function latencyView(answer) {
  const t = answer.timings;
  const msOf = (name) => (name === 'wait' ? answer.wait_ms : t[`${name}_ms`]) ?? 0;
  const stages = kStages.map(([name, label, tone]) => ({name, label, tone, ms: msOf(name)}))
    .filter((s) => s.ms > (s.tone === 'wait' ? kNoWait : kNothing));
  const sum = stages.reduce((total, s) => total + s.ms, 0);
  // What no stage accounts for: between the stages, and on the way.
  const rest = Math.max(0, (t.total_ms ?? 0) + (answer.wait_ms ?? 0) - sum);
  const whole = Math.max(sum + rest, 1e-6);
  const summary = [t.ttft_ms > 0 ? `First token after ${duration(t.ttft_ms)}` : 'No token generated', `total ${duration(t.total_ms)}`];
  const writes = answer.usage?.completion_tokens ?? 0;
  const speed = t.tpot_ms > 0 ? 1000 / t.tpot_ms : null;
  const bar = el('div', {class: 'bar', role: 'img', 'aria-label': stages.map((s) => `${s.label} ${duration(s.ms)}`).join(', ')});
  for (const s of stages) {
    const part = el('span', {class: `bar-part tone-${s.tone}`, title: `${s.label}: ${duration(s.ms)}`});
    part.style.flexGrow = String(s.ms / whole);  // through the object model: the content policy allows no style in markup
    bar.append(part);
  }
  if (rest > 0) {
    const part = el('span', {class: 'bar-part tone-rest', title: `Other: ${duration(rest)}`});
    part.style.flexGrow = String(rest / whole);
    bar.append(part);
  }
  const rows = stages.map((s) => el('li', {},
    el('span', {class: `swatch tone-${s.tone}`}), el('span', {class: 'stage-name'}, s.name), el('span', {class: 'number'}, duration(s.ms))));
  return el('section', {class: 'latency', 'aria-label': 'Time and reuse'},
    el('p', {class: 'latency-summary'}, el('strong', {}, summary[0]), ` · ${summary[1]}`,
      speed ? ` · ${plural(writes, 'token')} at ${speed.toFixed(speed < 10 ? 1 : 0)}/s` : ''),
    bar, el('ul', {class: 'stages'}, rows), reuseLine(answer), details(answer));
}

function reuseLine(answer) {
  const reuse = answer.reuse;
  if (!reuse || !answer.usage?.prompt_tokens) return null;
  const parts = [`${count(reuse.reused_tokens)} of ${count(answer.usage.prompt_tokens)} prompt tokens reused`, ` (policy ${reuse.policy}`];
  parts.push(reuse.certificate ? `, certificate ${reuse.certificate})` : ')');
  if (reuse.recomputed_tokens > 0) parts.push(`, ${count(reuse.recomputed_tokens)} computed again`);
  const tiers = Object.entries(kTiers).map(([tier, words]) => [reuse.passages.filter((p) => p.source === tier).length, words])
    .filter(([n]) => n > 0).map(([n, words]) => `${n} ${words}`);
  if (tiers.length > 0) parts.push(` · passages: ${tiers.join(', ')}`);
  return el('p', {class: 'reuse'}, parts.join(''));
}

function details(answer) {
  const reuse = answer.reuse;
  const items = (reuse?.passages ?? []).map((p, i) => el('li', {},
    `Passage ${i + 1}: ${plural(p.tokens, 'token')} ${kTiers[p.source] ?? p.source}`,
    p.bytes > 0 ? `, ${bytes(p.bytes)}` : '', p.load_ms > 0 ? `, loaded in ${duration(p.load_ms)}` : ''));
  const drafts = answer.drafts;
  if (drafts?.proposed > 0) {
    items.push(el('li', {}, `Quotes from the passages: ${count(drafts.accepted)} of ${count(drafts.proposed)} drafted tokens held`));
  }
  items.push(el('li', {}, `Collection generation ${count(answer.generation)}`, answer.model ? `, model ${answer.model}` : ''));
  return el('details', {class: 'more'}, el('summary', {}, 'Details'), el('ul', {class: 'plain-list'}, items));
}
