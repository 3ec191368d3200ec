// The side panel (on a phone: a sheet from below) that shows a source passage, the cited words highlighted, with what stands around it.
import {call, fileBytes, isAbort, uploadedFile} from './api.js';
import {append, byId, el, replace} from './dom.js';
import {bytes, count, splitPath} from './format.js';
import {around, locateQuote} from './utf8.js';

const kMargin = 900;            // bytes of the original file shown on either side of a passage
const kLargestOriginal = 4e6;   // a larger file is not fetched for a look at one passage

let opener = null;       // gets the focus back
let stopLoading = null;  // AbortController of what the panel still waits for

export const panelIsOpen = () => !byId('panel').hidden;

export function closePanel() {
  if (!panelIsOpen()) return;
  stopLoading?.abort();
  byId('panel').hidden = true;
  document.body.classList.remove('panel-open');
  if (opener?.isConnected) opener.focus();
  opener = null;
}

// passage  {n, path, heading, start, end, text, file_id?}; store: id of its collection.
// citation {start, end, text, strength?, page?} or null: the passage as a whole.
export function openPanel(passage, citation, store) {
  stopLoading?.abort();
  stopLoading = new AbortController();
  if (!panelIsOpen()) opener = document.activeElement;
  const {folder, name} = splitPath(passage.path);
  replace(byId('panel-title'), passage.n ? el('span', {class: 'badge'}, String(passage.n)) : null,
    el('span', {title: passage.path}, name));
  const where = citation ?? passage;
  const facts = [passage.heading, citation?.page ? `page ${citation.page}` : '', `bytes ${count(where.start)} to ${count(where.end)}`,
    citation?.strength !== undefined ? `support ${Math.round(citation.strength * 100)} %` : '', folder];
  byId('panel-facts').textContent = facts.filter(Boolean).join(' · ');
  const body = byId('panel-body');
  const text = el('div', {class: 'passage-text'}, passageText(passage, citation));
  replace(body, text);
  byId('panel').hidden = false;
  document.body.classList.add('panel-open');
  byId('panel-close').focus({preventScroll: true});
  body.scrollTop = 0;
  const show = () => (text.querySelector('mark') ?? text.querySelector('.passage-own')).scrollIntoView({block: 'center'});
  show();
  if (passage.file_id && store) {
    addNeighbours(text, passage, store, stopLoading.signal).then(show, () => {});
    addOriginal(body, passage, where, stopLoading.signal).catch(() => {});
  }
}

function passageText(passage, citation) {
  const own = el('p', {class: 'passage-own', dir: 'auto'});
  const found = citation ? locateQuote(passage, citation) : null;
  if (!found) {
    append(own, passage.text);
    return citation?.text && citation.text !== passage.text ? [el('p', {class: 'quote'}, el('mark', {}, citation.text)), own] : own;
  }
  return append(own, passage.text.slice(0, found.from), el('mark', {}, passage.text.slice(found.from, found.to)),
    passage.text.slice(found.to));
}

// What stands before and after the passage in its document, from the collection's own text.
async function addNeighbours(text, passage, store, signal) {
  const path = `/v1/vector_stores/${encodeURIComponent(store)}/files/${encodeURIComponent(passage.file_id)}/content`;
  const {data} = await call('GET', path, undefined, signal);
  const at = data.findIndex((part) => part.start === passage.start && part.end === passage.end);
  if (at < 0) return;
  const neighbour = (part) => (part ? el('p', {class: 'passage-near', dir: 'auto'}, part.text) : null);
  if (at > 0) text.prepend(neighbour(data[at - 1]));
  if (at + 1 < data.length) text.append(neighbour(data[at + 1]));
}

// The file's own bytes around the cited span, where the file was uploaded and so is there to be read.
async function addOriginal(body, passage, where, signal) {
  const file = await uploadedFile(passage.file_id, passage.path, signal);
  if (file === null || !(file.bytes <= kLargestOriginal)) return;
  const view = el('div', {class: 'original'});
  let loaded = false;
  body.append(el('details', {class: 'more', ontoggle: async (event) => {
    if (!event.target.open || loaded) return;
    loaded = true;
    try {
      const part = around(await fileBytes(passage.file_id, signal), where.start, where.end, kMargin);
      replace(view, el('pre', {tabindex: '0'}, part.cutBefore ? '…' : '', part.before, el('mark', {}, part.span), part.after,
        part.cutAfter ? '…' : ''));
      view.querySelector('mark').scrollIntoView({block: 'nearest'});
    } catch (error) {
      if (!isAbort(error)) replace(view, el('p', {class: 'quiet'}, error.message));
    }
  }}, el('summary', {}, `In the original file (${bytes(file.bytes)})`), view));
}

export function startPanel() {
  byId('panel-close').addEventListener('click', closePanel);
}
