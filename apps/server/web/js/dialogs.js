// Questions to the reader: the API key, a new collection's name, whether to delete.
import {byId, el, replace} from './dom.js';

// Opens a <dialog> and resolves to the value of the button that closed it; '' for Esc.
function ask(dialog, focus) {
  return new Promise((resolve) => {
    dialog.returnValue = '';
    // Not a submit button: Enter in a field must mean the main button, which is the form's only one.
    dialog.querySelector('.close').onclick = () => dialog.close('');
    dialog.addEventListener('close', () => resolve(dialog.returnValue), {once: true});
    dialog.showModal();
    (focus ?? dialog.querySelector('input, button')).focus();
  });
}

// Resolves to the key, or null. refused: the last one given was not accepted.
export async function keyDialog(refused) {
  const dialog = byId('key-dialog');
  const input = byId('key-input');
  byId('key-refused').hidden = !refused;
  input.value = '';
  const answer = await ask(dialog, input);
  const given = input.value.trim();
  input.value = '';
  return answer === 'ok' && given !== '' ? given : null;
}

// Resolves to a name, or null.
export async function nameDialog() {
  const input = byId('name-input');
  input.value = '';
  const answer = await ask(byId('name-dialog'), input);
  const name = input.value.trim();
  return answer === 'ok' && name !== '' ? name : null;
}

// Resolves to {ok, checked}. option: the label of a check box, checked at first; none without it.
export async function confirmDialog({title, text, action, option = null}) {
  const dialog = byId('confirm-dialog');
  byId('confirm-title').textContent = title;
  replace(byId('confirm-text'), text);
  byId('confirm-ok').textContent = action;
  const box = el('input', {type: 'checkbox', checked: true});
  replace(byId('confirm-option'), option === null ? null : el('label', {class: 'check'}, box, el('span', {}, option)));
  const answer = await ask(dialog, byId('confirm-cancel'));
  return {ok: answer === 'ok', checked: option !== null && box.checked};
}
