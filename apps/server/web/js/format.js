// Numbers, sizes and times as a reader wants them.

const kLocale = 'en';
const kGroups = new Intl.NumberFormat(kLocale);

export const count = (n) => kGroups.format(n ?? 0);
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

export function bytes(n) {
  if (!Number.isFinite(n)) return '';
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; ++unit; }
  return unit === 0 ? plural(n, 'byte') : `${n < 10 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

// Milliseconds: "0.43 ms", "38 ms", "1.24 s", "2 min 05 s".
export function duration(ms) {
  if (!Number.isFinite(ms)) return '–';
  if (ms < 10) return `${ms.toFixed(ms < 1 ? 2 : 1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
}

export const score = (value) => (Number.isFinite(value) ? value.toFixed(3) : '–');

// Unix seconds as a local date and time.
export function when(seconds) {
  if (!Number.isFinite(seconds) || seconds <= 0) return '';
  return new Date(seconds * 1000).toLocaleString(undefined, {dateStyle: 'medium', timeStyle: 'short'});
}

// The last part of a path, and what stands before it.
export function splitPath(path) {
  const at = (path ?? '').lastIndexOf('/');
  return at < 0 ? {folder: '', name: path ?? ''} : {folder: path.slice(0, at + 1), name: path.slice(at + 1)};
}
