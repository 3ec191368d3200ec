// Every request to the server: the key, errors in words, streams, uploads.
import {events} from './sse.js';

const kKeyName = 'gritstone-api-key';

// What went wrong, in words for the reader. status 0: no answer came at all.
export class ApiError extends Error {
  constructor(status, message, {type = '', code = null, retryAfter = 0} = {}) {
    super(message);
    this.status = status;
    this.type = type;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

// Set by the dialogs: resolves to a key, or null if the reader gives none.
let askForKey = async () => null;
export function onKeyNeeded(handler) { askForKey = handler; }

let pendingKey = null;
// One prompt for all requests that were refused at the same time.
async function newKey(refused) {
  if (key() !== refused) return key();
  pendingKey ??= askForKey(refused !== null).finally(() => { pendingKey = null; });
  const given = await pendingKey;
  if (given !== null) sessionStorage.setItem(kKeyName, given);
  return given;
}

const key = () => sessionStorage.getItem(kKeyName);
export const forgetKey = () => sessionStorage.removeItem(kKeyName);

function authorization(current) {
  return current === null ? {} : {Authorization: `Bearer ${current}`};
}

export const isAbort = (error) => error?.name === 'AbortError';

const unreachable = () => new ApiError(0, 'The server does not answer. Check that gritstone serve is still running.');

function errorFrom(status, text, retryAfter) {
  let body = null;
  try { body = JSON.parse(text).error; } catch { /* not ours: a proxy's page, or nothing */ }
  return new ApiError(status, words(status, body, retryAfter),
                      {type: body?.type, code: body?.code, retryAfter: Number(retryAfter) || 0});
}

function words(status, body, retryAfter) {
  const said = typeof body?.message === 'string' && body.message !== '' ? body.message : '';
  if (status === 429) {
    return `The server is busy with other requests. ${Number(retryAfter) > 0 ? `Try again in ${retryAfter} s.` : 'Try again in a moment.'}`;
  }
  if (status === 401) return 'The server needs a valid API key.';
  if (status === 413) return said || 'This is larger than the server accepts.';
  if (status === 507) return `The server's disk is full. ${said}`.trim();
  if (said) return said;
  if (status === 503) return 'The server is not ready yet; it may still be loading its model.';
  if (status === 504) return 'The answer took longer than the server allows.';
  return `The server answered with status ${status}.`;
}

async function send(path, options) {
  for (;;) {
    const current = key();
    let response;
    try {
      response = await fetch(path, {...options, headers: {...options.headers, ...authorization(current)}, cache: 'no-store'});
    } catch (error) {
      if (isAbort(error)) throw error;
      throw unreachable();
    }
    if (response.status === 401 && await newKey(current) !== null) continue;
    if (!response.ok) throw errorFrom(response.status, await response.text().catch(() => ''), response.headers.get('Retry-After'));
    return response;
  }
}

function withJson(method, json, signal) {
  if (json === undefined) return {method, signal};
  return {method, signal, headers: {'Content-Type': 'application/json'}, body: JSON.stringify(json)};
}

// method, path, body as JSON (or undefined); resolves to the parsed answer. Throws ApiError, or AbortError when `signal` says so.
export async function call(method, path, json, signal) {
  const response = await send(path, withJson(method, json, signal));
  try {
    return await response.json();
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError(response.status, 'The server sent something that is not JSON.');
  }
}

// All objects of an OpenAI list, page after page, at most `limit`.
export async function list(path, limit = 1000, signal = undefined) {
  const items = [];
  for (let after = ''; items.length < limit;) {
    const page = await call('GET', `${path}?limit=100&order=desc${after}`, undefined, signal);
    items.push(...page.data);
    const last = page.last_id ?? page.data.at(-1)?.id;
    if (!page.has_more || !last || page.data.length === 0) break;
    after = `&after=${encodeURIComponent(last)}`;
  }
  return items;
}

// What the command line indexed lies on the server's disk under an absolute path and was never uploaded.
export const mayBeUploaded = (path) => !path.startsWith('/');

// The uploaded file behind a document, or null.
export async function uploadedFile(id, path, signal) {
  if (!mayBeUploaded(path)) return null;
  try {
    return await call('GET', `/v1/files/${encodeURIComponent(id)}`, undefined, signal);
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

// The raw bytes of an uploaded file.
export async function fileBytes(id, signal) {
  const response = await send(`/v1/files/${encodeURIComponent(id)}/content`, {method: 'GET', signal});
  return new Uint8Array(await response.arrayBuffer());
}

// Streams an answer: yields {event, data} with data parsed; ends after "done". Throws ApiError for an "error" event or a broken stream.
export async function* streamAnswer(request, signal) {
  const response = await send('/v1/answer', withJson('POST', {...request, stream: true}, signal));
  try {
    for await (const {event, data} of events(response.body)) {
      if (event === 'done' || data === '[DONE]') return;
      const parsed = JSON.parse(data);
      if (event === 'error') throw errorFrom(parsed.error?.status ?? 500, data, null);
      yield {event, data: parsed};
    }
  } catch (error) {
    if (isAbort(error) || error instanceof ApiError) throw error;
    throw signal.aborted ? new DOMException('stopped', 'AbortError') : new ApiError(0, 'The connection broke while the answer was coming.');
  }
  throw new ApiError(0, 'The connection ended before the answer was complete.');
}

// Uploads one file; XMLHttpRequest because fetch() tells nothing of what has been sent. onProgress(sentBytes, totalBytes).
export function upload(file, onProgress, signal) {
  const attempt = (current) => new Promise((resolve, reject) => {
    const form = new FormData();
    form.append('purpose', 'assistants');
    form.append('file', file, file.name);
    const xhr = new XMLHttpRequest();
    const stop = () => xhr.abort();
    xhr.open('POST', '/v1/files');
    for (const [name, value] of Object.entries(authorization(current))) xhr.setRequestHeader(name, value);
    xhr.upload.addEventListener('progress', (event) => onProgress(event.loaded, event.lengthComputable ? event.total : file.size));
    xhr.addEventListener('loadend', () => signal?.removeEventListener('abort', stop));
    xhr.addEventListener('abort', () => reject(new DOMException('stopped', 'AbortError')));
    xhr.addEventListener('error', () => reject(unreachable()));
    xhr.addEventListener('load', () => {
      if (xhr.status < 200 || xhr.status > 299) {
        reject(errorFrom(xhr.status, xhr.responseText, xhr.getResponseHeader('Retry-After')));
        return;
      }
      try { resolve(JSON.parse(xhr.responseText)); } catch { reject(new ApiError(xhr.status, 'The server sent something that is not JSON.')); }
    });
    if (signal?.aborted) { reject(new DOMException('stopped', 'AbortError')); return; }
    signal?.addEventListener('abort', stop);
    xhr.send(form);
  });
  const loop = async () => {
    for (;;) {
      const current = key();
      try {
        return await attempt(current);
      } catch (error) {
        if (error.status === 401 && await newKey(current) !== null) continue;
        throw error;
      }
    }
  };
  return loop();
}

// "ok", "loading" or "unreachable"; needs no key.
export async function health() {
  try {
    const response = await fetch('/health', {cache: 'no-store'});
    return response.ok ? 'ok' : response.status === 503 ? 'loading' : 'ok';
  } catch {
    return 'unreachable';
  }
}
