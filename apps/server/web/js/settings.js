// The reader's settings, kept in this browser.
import {byId} from './dom.js';

const kName = 'gritstone-settings';
const kDefaults = {top_k: 5, max_tokens: 256, temperature: 0, reuse: 'auto', layout: 'docs-first'};

// What the form holds now, as fields of POST /v1/answer. A field out of its range counts as its default.
export function settings() {
  const form = byId('settings-form');
  const number = (name) => {
    const field = form.elements[name];
    return field.value !== '' && field.checkValidity() ? Number(field.value) : kDefaults[name];
  };
  return {
    top_k: number('top_k'), max_tokens: number('max_tokens'), temperature: number('temperature'),
    reuse: form.elements.reuse.value, layout: form.elements.layout.value,
  };
}

function fill(values) {
  for (const [name, value] of Object.entries(values)) {
    const field = byId('settings-form').elements[name];
    if (field) field.value = String(value);
    if (field?.tagName === 'SELECT' && field.value === '') field.value = kDefaults[name];
  }
}

function showSummary() {
  const s = settings();
  byId('settings-summary').textContent =
    `${s.top_k} passages, at most ${s.max_tokens} tokens, temperature ${s.temperature}, reuse ${s.reuse}, ${s.layout}`;
}

export function startSettings() {
  let stored = {};
  try { stored = JSON.parse(localStorage.getItem(kName)) ?? {}; } catch { /* damaged: the defaults hold */ }
  fill({...kDefaults, ...stored});
  showSummary();
  const form = byId('settings-form');
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('input', () => {
    localStorage.setItem(kName, JSON.stringify(settings()));
    showSummary();
  });
  byId('settings-reset').addEventListener('click', () => {
    localStorage.removeItem(kName);
    fill(kDefaults);
    showSummary();
  });
}
