// Starts the page: views by the address's fragment, keys, the collections, waiting for a server that still loads.
import {health, onKeyNeeded} from './js/api.js';
import {isAsking, startAskView, stopAsking} from './js/ask_view.js';
import {collections, startPicker} from './js/collections.js';
import {keyDialog, nameDialog} from './js/dialogs.js';
import {startDocumentsView} from './js/documents_view.js';
import {byId} from './js/dom.js';
import {closePanel, panelIsOpen, startPanel} from './js/passage_panel.js';
import {isSearching, startSearchView, stopSearching} from './js/search_view.js';
import {startSettings} from './js/settings.js';

const kViews = {ask: 'question', search: 'query', documents: null};  // view -> the field it is for
const kLoadingPollMs = 1500;

const viewNow = () => (location.hash.slice(1) in kViews ? location.hash.slice(1) : 'ask');

function showView() {
  const view = viewNow();
  for (const name of Object.keys(kViews)) {
    byId(`view-${name}`).hidden = name !== view;
    const link = byId(`to-${name}`);
    if (name === view) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  closePanel();
  document.title = `${{ask: 'Ask', search: 'Search', documents: 'Documents'}[view]} · Gritstone`;
}

function focusField() {
  if (viewNow() === 'documents') {
    location.hash = '#ask';
    showView();  // hashchange comes later, and a hidden field takes no focus
  }
  const field = byId(viewNow() === 'search' ? 'query' : 'question');
  field.focus();
  field.select();
}

function onKey(event) {
  if (event.defaultPrevented || document.querySelector('dialog[open]')) return;
  const typing = event.target.closest?.('input, textarea, select');
  if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    focusField();
  } else if (event.key === 'Escape') {
    // One thing at a time, the nearest first.
    if (panelIsOpen()) closePanel();
    else if (isAsking()) stopAsking();
    else if (isSearching()) stopSearching();
  }
}

async function newCollection() {
  const name = await nameDialog();
  if (name === null) return;
  try {
    await collections.create(name);
    location.hash = '#documents';
    banner(null);
  } catch (error) {
    banner(error.message, newCollection);
  }
}

// A line above everything; null hides it. retry: what its button does, or null for no button.
function banner(words, retry = null) {
  byId('banner').hidden = words === null;
  byId('banner-text').textContent = words ?? '';
  const button = byId('banner-retry');
  button.hidden = retry === null;
  button.onclick = retry;
}

async function start() {
  banner(null);
  const state = await health();
  if (state === 'loading') {
    banner('The model is loading. You can look at documents meanwhile; answers come as soon as it is there.');
    waitUntilLoaded();
  }
  try {
    await collections.load();
  } catch (error) {
    banner(error.message, start);
  }
}

function waitUntilLoaded() {
  setTimeout(async () => {
    const state = await health();
    if (state === 'loading') waitUntilLoaded();
    else if (state === 'ok') {
      banner(null);
      if (!collections.loaded) start();
    } else banner('The server stopped while it was loading its model; its log says why.', start);
  }, kLoadingPollMs);
}

onKeyNeeded(keyDialog);
startSettings();
startPicker();
startPanel();
startAskView({onNewCollection: newCollection});
startSearchView();
startDocumentsView({onNewCollection: newCollection});
byId('new-collection').addEventListener('click', newCollection);
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();  // the fragment names the view
  byId('main').focus();
});
addEventListener('hashchange', showView);
addEventListener('keydown', onKey);
showView();
start();
