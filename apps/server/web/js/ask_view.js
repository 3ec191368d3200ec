// The question form, the running answer and the ones before it.
import {isAbort, streamAnswer} from './api.js';
import {collections, fileCount, label} from './collections.js';
import {announce, byId, el, replace} from './dom.js';
import {currentStore, Exchange, spokenSummary} from './exchange.js';
import {plural} from './format.js';
import {settings} from './settings.js';

const kKeptExchanges = 30;

let running = null;  // AbortController of the answer that is coming
let shown = null;    // the newest Exchange

export const isAsking = () => running !== null;
export const stopAsking = () => running?.abort();

async function ask(question) {
  if (running !== null || question === '' || currentStore() === null) return;
  running = new AbortController();
  const mine = running;
  keepEarlier();
  const exchange = new Exchange(question, currentStore(), {onRetry: (again) => { ask(again); }});
  shown = exchange;
  replace(byId('current'), exchange.element);
  showState();
  exchange.element.scrollIntoView({block: 'nearest'});
  announce('Searching the documents');
  try {
    const request = {question, collection: collections.currentName, ...settings()};
    for await (const {event, data} of streamAnswer(request, mine.signal)) {
      if (event === 'retrieval') {
        exchange.retrieved(data);
        announce(`${plural(data.sources.length, 'source')} found, reading`);
      } else if (event === 'delta') {
        exchange.delta(data);
      } else if (event === 'answer') {
        exchange.answered(data);
        announce(spokenSummary(data));
      }
    }
    if (exchange.running) exchange.failed(new Error('The server ended the answer early.'));
  } catch (error) {
    // What fails after the answer is there (a broken last event) changes nothing for the reader.
    if (exchange.running) {
      if (isAbort(error)) exchange.stopped();
      else exchange.failed(error);
    }
    if (isAbort(error)) announce('Stopped');
  } finally {
    running = null;
    showState();
  }
}

// The answer shown so far moves below, folded under its question.
function keepEarlier() {
  if (shown === null) return;
  const list = byId('earlier-list');
  list.prepend(el('details', {class: 'earlier-item'}, el('summary', {}, shown.question, el('span', {class: 'quiet'}, ` in ${shown.storeName}`)), shown.element));
  while (list.children.length > kKeptExchanges) list.lastElementChild.remove();
  byId('earlier').hidden = false;
  shown = null;
}

function showState() {
  const busy = running !== null;
  byId('ask-button').hidden = busy;
  byId('stop-button').hidden = !busy;
  const none = collections.loaded && collections.current === null;
  const empty = !none && collections.current !== null && fileCount(collections.current) === 0;
  byId('ask-button').disabled = collections.current === null || empty;
  byId('ask-empty').hidden = !(none || empty) || shown !== null;
  byId('ask-ready').hidden = none || empty || !collections.loaded || shown !== null;
  byId('ask-empty-title').textContent = none ? 'Start with a collection' : `${label(collections.current ?? {id: ''})} has no documents yet`;
  byId('ask-empty-text').textContent = none ?
    'A collection holds the documents that questions are answered from. Make one, then drop files into it.' :
    'Add text, Markdown or HTML files; you can ask as soon as the first one is indexed.';
  byId('ask-empty-button').textContent = none ? 'New collection' : 'Add documents';
  if (collections.current) byId('ready-name').textContent = label(collections.current);
}

export function startAskView({onNewCollection}) {
  const form = byId('ask-form');
  const field = byId('question');
  const fit = () => {
    field.style.height = 'auto';
    field.style.height = `${Math.min(field.scrollHeight + 2, 240)}px`;
  };
  field.addEventListener('input', fit);
  addEventListener('resize', fit);
  field.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    ask(field.value.trim());
  });
  byId('stop-button').addEventListener('click', () => {
    stopAsking();
    field.focus();
  });
  byId('ask-empty-button').addEventListener('click', () => {
    if (collections.current === null) onNewCollection();
    else location.hash = '#documents';
  });
  let last = null;
  collections.addEventListener('change', () => {
    const now = collections.current?.id ?? null;
    if (now !== last && running === null) keepEarlier();
    last = now;
    showState();
  });
  showState();
}
