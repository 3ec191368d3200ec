// The documents of a collection: what is in it, in what state, and how to take something out.
import {call, isAbort, list, mayBeUploaded, uploadedFile} from './api.js';
import {collections, fileCount, label} from './collections.js';
import {byId, el, icon, replace} from './dom.js';
import {confirmDialog} from './dialogs.js';
import {bytes, count, plural, splitPath, when} from './format.js';
import {startUploads} from './uploads.js';

const kListed = 1000;
const kPollMs = [2000, 8000];  // a short list, a long one
const kStates = {completed: 'Searchable', in_progress: 'Indexing', failed: 'Failed', cancelled: 'Cancelled'};

let loading = null;
let files = [];

const nameOf = (file) => file.filename ?? file.path ?? file.attributes?.path ?? file.attributes?.filename ?? file.id;

async function load() {
  loading?.abort();
  const store = collections.current;
  showHead();
  if (store === null) {
    files = [];
    showFiles();
    return;
  }
  loading = new AbortController();
  const mine = loading;
  try {
    const found = await list(`/v1/vector_stores/${encodeURIComponent(store.id)}/files`, kListed, mine.signal);
    files = found.sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
    showFiles();
    // Files that another client or an earlier visit left indexing move on by themselves.
    const unfinished = files.some((f) => f.status === 'in_progress' || f.progress?.stage === 'vectors');
    if (unfinished) setTimeout(() => { if (loading === mine) load(); }, files.length > 100 ? kPollMs[1] : kPollMs[0]);
  } catch (error) {
    if (isAbort(error)) return;
    replace(byId('file-list'), el('li', {class: 'notice error', role: 'alert'}, icon('warning'), el('p', {}, error.message),
      el('button', {type: 'button', class: 'quiet-button', onclick: load}, 'Try again')));
  }
}

function showHead() {
  const store = collections.current;
  byId('documents-none').hidden = store !== null || !collections.loaded;
  byId('documents-some').hidden = store === null;
  if (store === null) return;
  byId('documents-title').textContent = label(store);
  const facts = [plural(fileCount(store), 'file'), bytes(store.usage_bytes), store.file_counts?.failed > 0 ?
    `${store.file_counts.failed} failed` : '', store.created_at ? `made ${when(store.created_at)}` : ''];
  byId('documents-facts').textContent = facts.filter(Boolean).join(' · ');
}

function showFiles() {
  const wanted = byId('file-filter').value.trim().toLowerCase();
  const shown = files.filter((f) => nameOf(f).toLowerCase().includes(wanted));
  byId('file-filter-box').hidden = files.length < 8;
  byId('files-empty').hidden = files.length > 0;
  const focused = document.activeElement?.closest('#file-list button')?.dataset.file;
  const folder = commonFolder(files.map(nameOf));
  byId('files-folder').hidden = folder === '';
  byId('files-folder').textContent = `In ${folder}`;
  replace(byId('file-list'), shown.map((file) => row(file, folder)));
  if (focused) byId('file-list').querySelector(`[data-file="${CSS.escape(focused)}"]`)?.focus();
  byId('files-more').hidden = files.length < kListed && shown.length > 0 || files.length === 0;
  byId('files-more').textContent = shown.length === 0 ? 'No file has this in its name.' : `The first ${kListed} files are listed.`;
}

// The folder that all paths share, said once above the list; '' where there is none.
function commonFolder(paths) {
  if (paths.length < 2) return '';
  let folder = splitPath(paths[0]).folder;
  for (const path of paths) {
    while (!path.startsWith(folder)) folder = folder.slice(0, folder.lastIndexOf('/', folder.length - 2) + 1);
  }
  return folder === '/' ? '' : folder;
}

// Text is searchable before its vectors are there, whether a server indexes it or `gritstone index --dense later` did.
function stateOf(file) {
  const p = file.progress;
  if (p?.stage === 'vectors' && file.status !== 'failed') return `Searchable, vectors ${count(p.done)} of ${count(p.total)}`;
  return kStates[file.status] ?? file.status;
}

function row(file, shared) {
  const {folder, name} = splitPath(nameOf(file).slice(shared.length));
  const searchable = file.status === 'completed' || (file.status === 'in_progress' && file.progress?.stage === 'vectors');
  return el('li', {class: `row file ${searchable ? 'completed' : file.status}`},
    el('span', {class: 'row-name', title: nameOf(file)}, folder ? el('span', {class: 'folder'}, folder) : null, name),
    el('span', {class: 'row-size number'}, bytes(file.usage_bytes)),
    el('span', {class: 'row-state'}, el('span', {class: 'dot', 'aria-hidden': 'true'}), stateOf(file),
      file.last_error?.message ? `: ${file.last_error.message}` : ''),
    el('span', {class: 'row-actions'}, el('button', {type: 'button', class: 'icon-button', 'aria-label': `Delete ${name}`, title: 'Delete', 'data-file': file.id,
      onclick: () => remove(file)}, icon('trash'))));
}

async function remove(file) {
  const store = collections.current;
  // A file that was uploaded stays on the server until it is deleted as a file, too; what the command line indexed has no such copy.
  const uploaded = await uploadedFile(file.id, nameOf(file)).then((found) => found !== null, () => false);
  const {ok, checked} = await confirmDialog({
    title: 'Delete this document?', action: 'Delete',
    text: `${nameOf(file)} leaves ${label(store)}: its text, vectors and cached states are deleted. This cannot be undone.`,
    option: uploaded ? 'Also delete the uploaded file from the server' : null});
  if (!ok) return;
  await attempt(async () => {
    await call('DELETE', `/v1/vector_stores/${encodeURIComponent(store.id)}/files/${encodeURIComponent(file.id)}`);
    if (checked) await call('DELETE', `/v1/files/${encodeURIComponent(file.id)}`).catch(() => {});
  });
  await collections.refresh(store.id);
  await load();
}

async function removeCollection() {
  const store = collections.current;
  const uploaded = files.filter((file) => mayBeUploaded(nameOf(file)));
  const {ok, checked} = await confirmDialog({
    title: 'Delete this collection?', action: 'Delete collection',
    text: `${label(store)} with ${plural(fileCount(store), 'file')} is deleted: texts, vectors and cached states. This cannot be undone.`,
    option: uploaded.length > 0 ? `Also delete its ${plural(uploaded.length, 'uploaded file')} from the server` : null});
  if (!ok) return;
  await attempt(async () => {
    await collections.remove(store.id);
    if (checked) for (const file of uploaded) await call('DELETE', `/v1/files/${encodeURIComponent(file.id)}`).catch(() => {});
  });
}

// Runs a change; what fails is said above the list.
async function attempt(change) {
  const box = byId('documents-error');
  replace(box);
  try {
    await change();
  } catch (error) {
    replace(box, el('div', {class: 'notice error', role: 'alert'}, icon('warning'), el('p', {}, error.message)));
  }
}

export function startDocumentsView({onNewCollection}) {
  startUploads({indexed: (store) => { if (store === collections.current?.id) load(); }});
  byId('file-filter').addEventListener('input', showFiles);
  byId('delete-collection').addEventListener('click', removeCollection);
  byId('documents-new').addEventListener('click', onNewCollection);
  let last;
  collections.addEventListener('change', () => {
    const now = collections.current?.id ?? null;
    if (now === last) {
      showHead();
      return;
    }
    last = now;
    replace(byId('documents-error'));
    load();
  });
}
