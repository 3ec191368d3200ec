// The collections (vector stores) and which one the page shows. Views listen for "change" (another collection or its figures).
import {ApiError, call, list} from './api.js';
import {byId, el, replace} from './dom.js';
import {plural} from './format.js';

const kName = 'gritstone-collection';

class Collections extends EventTarget {
  items = [];
  loaded = false;
  #currentId = localStorage.getItem(kName);

  get current() { return this.items.find((c) => c.id === this.#currentId) ?? null; }

  // A collection's name in /v1/answer: its id without the prefix.
  get currentName() { return this.current?.id.replace(/^vs_/, '') ?? null; }

  async load() {
    this.items = await list('/v1/vector_stores');
    this.items.sort((a, b) => label(a).localeCompare(label(b)));
    this.loaded = true;
    if (!this.current) this.#currentId = (this.items.find((c) => fileCount(c) > 0) ?? this.items[0])?.id ?? null;
    this.#changed();
  }

  select(id) {
    if (id === this.#currentId) return;
    this.#currentId = id;
    localStorage.setItem(kName, id);
    this.#changed();
  }

  async create(name) {
    const made = await call('POST', '/v1/vector_stores', {name});
    this.#currentId = made.id;
    localStorage.setItem(kName, made.id);
    await this.load();
    return made;
  }

  async remove(id) {
    await call('DELETE', `/v1/vector_stores/${encodeURIComponent(id)}`);
    if (id === this.#currentId) this.#currentId = null;
    await this.load();
  }

  // Reads one collection's figures again, quietly: a failure leaves the old ones.
  async refresh(id) {
    try {
      const fresh = await call('GET', `/v1/vector_stores/${encodeURIComponent(id)}`);
      const at = this.items.findIndex((c) => c.id === id);
      if (at >= 0) this.items[at] = fresh;
      this.#changed();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  #changed() { this.dispatchEvent(new Event('change')); }
}

export const collections = new Collections();

export const label = (c) => c.name || c.id.replace(/^vs_/, '');
export const fileCount = (c) => c.file_counts?.total ?? 0;

export function startPicker() {
  const picker = byId('collection-picker');
  picker.addEventListener('change', () => collections.select(picker.value));
  const show = () => {
    const options = collections.items.map((c) => el('option', {value: c.id}, `${label(c)} (${plural(fileCount(c), 'file')})`));
    if (options.length === 0) options.push(el('option', {value: ''}, collections.loaded ? 'No collection yet' : 'Loading…'));
    replace(picker, options);
    picker.value = collections.current?.id ?? '';
    picker.disabled = collections.items.length === 0;
  };
  collections.addEventListener('change', show);
  show();
}
