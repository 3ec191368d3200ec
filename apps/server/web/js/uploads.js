// Files on their way into a collection: sent, then indexed. One row each until it is searchable.
import {call, isAbort, upload} from './api.js';
import {collections} from './collections.js';
import {announce, byId, el, icon, replace} from './dom.js';
import {bytes, count} from './format.js';

const kAtOnce = 2;             // uploads at the same time
const kLargest = 64 * 1048576; // the server's limit for one upload
const kPollMs = [300, 2000];   // first and longest wait between two looks at the indexing
const kDoneShownMs = 4000;

// Stages of the indexing; text comes first, so a file can be asked about while its vectors are still computed.
const kStages = {queued: 'Waiting to be indexed', vectors: 'Searchable, vectors', done: 'Searchable'};

const waiting = [];
const active = new Set();
const rows = new Set();  // all that are shown or hidden on the page
let onIndexed = () => {};

// Queues files for the current collection.
export function addFiles(files) {
  const store = collections.current?.id;
  if (!store) return;
  for (const file of files) {
    const row = new Row(file, store);
    rows.add(row);
    byId('upload-list').prepend(row.element);
    if (file.size > kLargest) row.failed(new Error(`Larger than ${bytes(kLargest)}, the most the server takes at once.`), false);
    else if (file.size === 0) row.failed(new Error('The file is empty.'), false);
    else waiting.push(row);
  }
  showRows();
  next();
}

// Uploads go on when the reader looks at another collection; their rows wait where they belong.
function showRows() {
  const store = collections.current?.id;
  for (const row of rows) row.element.hidden = row.store !== store;
  byId('uploads').hidden = ![...rows].some((row) => row.store === store);
}

function next() {
  while (active.size < kAtOnce && waiting.length > 0) {
    const row = waiting.shift();
    active.add(row);
    row.run().finally(() => {
      active.delete(row);
      next();
    });
  }
}

class Row {
  constructor(file, store) {
    this.file = file;
    this.store = store;
    this.bar = el('progress', {max: 1, value: 0, 'aria-label': `Progress of ${file.name}`});
    this.words = el('span', {class: 'row-state'}, 'Waiting');
    this.actions = el('span', {class: 'row-actions'});
    this.element = el('li', {class: 'row upload'}, el('span', {class: 'row-name', title: file.name}, file.name),
      el('span', {class: 'row-size number'}, bytes(file.size)), this.words, this.bar, this.actions);
    this.#action('Cancel', () => this.#cancel());
  }

  async run() {
    if (this.element.parentElement === null) return;  // cancelled while it waited
    this.stop = new AbortController();
    try {
      this.element.classList.remove('failed');
      await this.#takeBack();  // what an attempt before has left
      this.#action('Cancel', () => this.#cancel());
      this.#show('Uploading', 0);
      const sent = await upload(this.file, (done, total) => this.#show(done < total ? 'Uploading' : 'Stored', total > 0 ? done / total : 0),
                                this.stop.signal);
      this.fileId = sent.id;
      await this.#index(sent.id);
      this.fileId = null;
      this.#show('Searchable', 1);
      announce(`${this.file.name} is indexed`);
      this.element.classList.add('done');
      replace(this.actions, icon('check'));
      setTimeout(() => this.#leave(), kDoneShownMs);
    } catch (error) {
      if (isAbort(error)) await this.#undo();
      else if (error.status === 404) this.#leave();  // deleted meanwhile, or its collection was
      else this.failed(error, true);
    }
    await collections.refresh(this.store);
    onIndexed(this.store);
  }

  failed(error, canRetry) {
    this.element.classList.add('failed');
    this.words.textContent = error.message;
    this.bar.hidden = true;
    announce(`${this.file.name}: ${error.message}`);
    replace(this.actions, canRetry ? this.#button('Try again', () => {
      this.bar.hidden = false;
      waiting.push(this);
      next();
    }) : null, this.#button('Dismiss', () => this.#leave()));
  }

  async #index(id) {
    const path = `/v1/vector_stores/${encodeURIComponent(this.store)}/files`;
    let state = await call('POST', path, {file_id: id}, this.stop.signal);
    let searchable = false;
    for (let wait = kPollMs[0]; state.status === 'in_progress'; wait = Math.min(wait * 1.4, kPollMs[1])) {
      if (state.progress?.stage === 'vectors' && !searchable) {
        searchable = true;
        announce(`${this.file.name} is searchable`);
        collections.refresh(this.store);
        onIndexed(this.store);
      }
      const p = state.progress;
      const words = kStages[p?.stage] ?? 'Indexing';
      this.#show(p?.total > 0 ? `${words} ${count(p.done)} of ${count(p.total)}` : words, p?.total > 0 ? p.done / p.total : null);
      await pause(wait, this.stop.signal);
      state = await call('GET', `${path}/${encodeURIComponent(id)}`, undefined, this.stop.signal);
    }
    if (state.status !== 'completed') throw new Error(state.last_error?.message || `Indexing ended as ${state.status}.`);
  }

  // value null: going on, nobody knows how far.
  #show(words, value) {
    this.words.textContent = words;
    if (value === null) this.bar.removeAttribute('value');
    else this.bar.value = value;
  }

  #cancel() {
    if (this.stop) this.stop.abort();
    else this.#leave();
  }

  // After a cancel: what has reached the server is taken back.
  async #undo() {
    this.words.textContent = 'Cancelled';
    await this.#takeBack();
    this.#leave();
  }

  async #takeBack() {
    if (!this.fileId) return;
    const id = encodeURIComponent(this.fileId);
    this.fileId = null;
    await call('DELETE', `/v1/vector_stores/${encodeURIComponent(this.store)}/files/${id}`).catch(() => {});
    await call('DELETE', `/v1/files/${id}`).catch(() => {});
  }

  #leave() {
    const at = waiting.indexOf(this);
    if (at >= 0) waiting.splice(at, 1);
    rows.delete(this);
    this.element.remove();
    showRows();
  }

  #action(words, act) { replace(this.actions, this.#button(words, act)); }
  #button(words, act) {
    return el('button', {type: 'button', class: 'quiet-button', onclick: act, 'aria-label': `${words}: ${this.file.name}`}, words);
  }
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException('stopped', 'AbortError'));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, {once: true});
  });
}

// indexed(store): a file has become searchable, or its upload ended otherwise.
export function startUploads({indexed}) {
  onIndexed = indexed;
  collections.addEventListener('change', showRows);
  const input = byId('file-input');
  byId('file-button').addEventListener('click', () => input.click());
  input.addEventListener('change', () => {
    addFiles([...input.files]);
    input.value = '';
  });
  // The whole page takes a drop; without these a missed drop would make the browser leave the page.
  let depth = 0;
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
  const light = (on) => document.body.classList.toggle('dragging', on);
  addEventListener('dragenter', (event) => { if (hasFiles(event)) { ++depth; light(true); } });
  addEventListener('dragleave', (event) => { if (hasFiles(event) && --depth <= 0) { depth = 0; light(false); } });
  addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = collections.current ? 'copy' : 'none';
  });
  addEventListener('drop', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    light(false);
    if (!collections.current) return;
    location.hash = '#documents';
    addFiles([...event.dataTransfer.files]);
  });
}
