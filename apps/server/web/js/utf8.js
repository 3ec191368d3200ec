// The server counts UTF-8 bytes, JavaScript UTF-16 units. Both directions, in one place.

const kEncoder = new TextEncoder();
const kDecoder = new TextDecoder();

export const byteLength = (text) => kEncoder.encode(text).length;

// Index into `text` of each byte offset in `offsets` (ascending or not). An offset inside a character moves to that character's start, one
// past the end to the end.
export function unitOffsets(text, offsets) {
  const order = offsets.map((offset, i) => [offset, i]).sort((a, b) => a[0] - b[0]);
  const result = new Array(offsets.length).fill(text.length);
  let unit = 0, at = 0, next = 0;
  for (const character of text) {
    const code = character.codePointAt(0);
    const size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    while (next < order.length && order[next][0] < at + size) result[order[next++][1]] = unit;
    if (next === order.length) break;
    unit += character.length;
    at += size;
  }
  return result;
}

const isContinuation = (byte) => (byte & 0xC0) === 0x80;

// [before, span, after] of raw bytes around [start, end), with at most `margin` bytes on either side, cut between characters.
export function around(data, start, end, margin) {
  let from = Math.max(0, Math.min(start, data.length) - margin);
  while (from < start && isContinuation(data[from])) ++from;
  let to = Math.min(data.length, end + margin);
  while (to > end && to < data.length && isContinuation(data[to])) --to;
  const text = (a, b) => kDecoder.decode(data.subarray(a, b));
  return {before: text(from, start), span: text(start, end), after: text(end, to), cutBefore: from > 0, cutAfter: to < data.length};
}

// Where a citation's quote stands in its passage's text, as UTF-16 indices; null if it is not there.
// Byte offsets count in the source. Where the passage is the source's own bytes they are exact; where the reader removed markup, the quote
// is looked up, nearest to where its offset points.
export function locateQuote(passage, citation) {
  const size = byteLength(passage.text);
  const span = passage.end - passage.start;
  if (size === span) {
    const [from, to] = unitOffsets(passage.text, [citation.start - passage.start, citation.end - passage.start]);
    if (to > from && (!citation.text || passage.text.slice(from, to) === citation.text)) return {from, to};
  }
  if (!citation.text) return null;
  const expected = span > 0 ? (citation.start - passage.start) / span * passage.text.length : 0;
  let best = null;
  for (let at = passage.text.indexOf(citation.text); at >= 0; at = passage.text.indexOf(citation.text, at + 1)) {
    if (best === null || Math.abs(at - expected) < Math.abs(best.from - expected)) best = {from: at, to: at + citation.text.length};
  }
  return best;
}
