// Retrieval alone: the passages for a query, with the scores that ordered them.
import {call, isAbort} from './api.js';
import {collections} from './collections.js';
import {announce, byId, el, icon, replace} from './dom.js';
import {duration, plural, score, splitPath} from './format.js';
import {openPanel} from './passage_panel.js';

let running = null;

export const stopSearching = () => running?.abort();
export const isSearching = () => running !== null;

async function search() {
  const query = byId('query').value.trim();
  const store = collections.current?.id;
  if (query === '' || !store) return;
  running?.abort();
  running = new AbortController();
  const mine = running;
  const box = byId('hits');
  replace(box, el('p', {class: 'stage-now'}, el('span', {class: 'pulse', 'aria-hidden': 'true'}), 'Searching'));
  const form = byId('search-form');
  const started = performance.now();
  try {
    const request = {query, max_num_results: Number(form.elements.k.value) || 10, mode: form.elements.mode.value};
    const result = await call('POST', `/v1/vector_stores/${encodeURIComponent(store)}/search`, request, mine.signal);
    const hits = result.data.map(toHit);
    const took = result.timings?.total_ms ?? performance.now() - started;
    replace(box, summary(hits, took, result), hits.length > 0 ? el('ol', {class: 'hit-list'}, hits.map((hit) => hitView(hit, store))) : null);
    announce(`${plural(hits.length, 'passage')} found`);
  } catch (error) {
    if (isAbort(error)) {
      if (running === mine) replace(box);
    } else {
      replace(box, el('div', {class: 'notice error', role: 'alert'}, icon('warning'), el('p', {}, error.message),
        el('button', {type: 'button', class: 'quiet-button', onclick: search}, 'Try again')));
    }
  } finally {
    if (running === mine) running = null;
  }
}

// One search result as a passage. OpenAI's members, and ours beside them: spans and scores.
function toHit(item, i) {
  const part = item.content?.[0] ?? {};
  return {
    n: i + 1, path: item.filename, file_id: item.file_id, heading: item.heading ?? part.heading ?? '', start: item.start ?? part.start ?? 0,
    end: item.end ?? part.end ?? 0, text: item.content?.map((c) => c.text).join('\n') ?? '', score: item.score, scores: item.scores ?? {},
  };
}

function summary(hits, took, result) {
  if (hits.length === 0) return el('p', {class: 'empty-line'}, 'Nothing in this collection matches. Other words, or another collection, may.');
  const t = result.timings;
  const stages = t ? [['embed', t.embed_ms], ['bm25', t.bm25_ms], ['vector', t.vector_ms], ['fuse', t.fuse_ms]]
    .filter(([, ms]) => ms > 0).map(([name, ms]) => `${name} ${duration(ms)}`).join(', ') : '';
  return el('p', {class: 'quiet'}, `${plural(hits.length, 'passage')} in ${duration(took)}${stages ? ` (${stages})` : ''}` +
    `${result.vectors_incomplete ? '. Some passages have no vector yet and are ranked by words.' : ''}`);
}

function hitView(hit, store) {
  const {folder, name} = splitPath(hit.path);
  const figure = (label, value) => el('div', {class: 'figure'}, el('dt', {}, label), el('dd', {class: 'number'}, score(value)));
  return el('li', {class: 'hit'},
    el('div', {class: 'hit-head'}, el('span', {class: 'badge'}, String(hit.n)),
      el('button', {type: 'button', class: 'hit-name', onclick: () => openPanel(hit, null, store)},
        folder ? el('span', {class: 'folder'}, folder) : null, name),
      hit.heading ? el('span', {class: 'source-heading'}, hit.heading) : null),
    el('dl', {class: 'figures'}, figure('Score', hit.score), figure('BM25', hit.scores.bm25 ?? NaN),
      figure('Dense', hit.scores.dense ?? NaN)),
    el('p', {class: 'hit-text', dir: 'auto'}, hit.text));
}

export function startSearchView() {
  byId('search-form').addEventListener('submit', (event) => {
    event.preventDefault();
    search();
  });
  let last = null;
  collections.addEventListener('change', () => {
    const now = collections.current?.id ?? null;
    if (now !== last) {
      running?.abort();
      replace(byId('hits'));
    }
    last = now;
    byId('search-button').disabled = now === null;
  });
}
