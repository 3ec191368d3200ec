// An answer's Markdown as page content: parsed by marked, cleaned by DOMPurify, with its [n] markers as buttons and its unsupported
// sentences marked. Both libraries are Debian's, served from /vendor.
import {el} from './dom.js';
import {unitOffsets} from './utf8.js';

// Private-use characters that stand for the ends of an unsupported sentence while Markdown is parsed. Characters of this kind in an answer
// are removed first, so none can be forged.
const kOpen = '\uE000', kClose = '\uE001';
const kMarker = /\[(\d{1,3})\]/g;

const escapeHtml = (text) => text.replace(/[&<>"]/g, (c) => ({'&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;'})[c]);

const {marked} = window;
// Debian's DOMPurify 2.4.1-2+deb12u1 reads `shadowNode` outside the function it belongs to (its backported nesting limit), so every call
// throws a ReferenceError. With a harmless node of this name the stray test is false, which is what upstream does there; the limit
// itself is tested again for every element of the tree. A version without the slip never looks at it.
globalThis.shadowNode ??= Object.freeze({__depth: 0});
marked.use({
  renderer: {
    html: (html) => escapeHtml(html),  // tags in an answer are text, shown as written
    image: (href, title, text) => escapeHtml(text || href),  // nothing is ever fetched for an answer
    link: (href, title, text) => linkHtml(href, text),
  },
  tokenizer: {
    def: () => undefined,  // "[1]: text" is a marker and text, not a link's definition
    link(source) { return /^!?\[\d{1,3}\]\(/.test(source) ? undefined : false; },
  },
});

const kOptions = {gfm: true, breaks: false, headerIds: false, mangle: false, silent: true};

// A link shows where it leads: what a document says about itself is not to be trusted.
function linkHtml(href, text) {
  let url;
  try { url = new URL(href); } catch { return text; }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return text;
  const shown = text.trim() === href ? '' : ` <small>(${escapeHtml(url.host)})</small>`;
  return `<a href="${escapeHtml(url.href)}">${text}</a>${shown}`;
}

const kAllowed = {
  ALLOWED_TAGS: ['p', 'br', 'hr', 'strong', 'em', 'del', 'code', 'pre', 'blockquote', 'ul', 'ol', 'li', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6',
                 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'a', 'small'],
  ALLOWED_ATTR: ['href', 'start', 'align'],
  RETURN_DOM_FRAGMENT: true,
};

// text      the answer, or as much of it as has come.
// sentences [{start, end, supported, citations}] in bytes of `text`, or none while it streams.
// citations the list that a sentence's `citations` index.
// makeCite  (n, citation or null) -> element for a marker; citation is the sentence's own with that number.
export function renderAnswer(text, {sentences = [], citations = [], makeCite}) {
  const {source, markers} = prepare(text, sentences, citations);
  const fragment = DOMPurify.sanitize(marked.parse(source, kOptions), kAllowed);
  for (const link of fragment.querySelectorAll('a')) {
    link.setAttribute('target', '_blank');
    link.setAttribute('rel', 'noopener noreferrer nofollow');
  }
  for (const table of fragment.querySelectorAll('table')) {
    const frame = el('div', {class: 'table-frame', tabindex: '0', role: 'region', 'aria-label': 'Table'});
    table.replaceWith(frame);
    frame.append(table);
  }
  decorate(fragment, markers, makeCite);
  return fragment;
}

// The Markdown with sentence ends marked, and for each [n] in order the citation its sentence names.
function prepare(text, sentences, citations) {
  const offsets = unitOffsets(text, sentences.flatMap((s) => [s.start, s.end]));
  const ranges = sentences.map((s, i) => ({...s, from: offsets[2 * i], to: offsets[2 * i + 1]}));
  const markers = [];
  for (const match of text.matchAll(kMarker)) {
    const n = Number(match[1]);
    const sentence = ranges.find((r) => match.index >= r.from && match.index < r.to);
    const own = sentence?.citations?.map((i) => citations[i]).find((c) => c?.n === n);
    markers.push({n, citation: own ?? citations.find((c) => c.n === n) ?? null});
  }
  const inserts = [];
  for (const range of ranges) {
    if (range.supported || range.to <= range.from) continue;
    // Inside the sentence's own Markdown: after "- ", "## " or "**" at its start, before "**" at its end, or these would no longer be read.
    const part = text.slice(range.from, range.to);
    const lead = part.match(/^[\s>]*(?:(?:[-*+]|\d{1,9}[.)]|#{1,6})[ \t]+)?[*_~`]*/)[0].length;
    const tail = part.match(/[\s*_~`]*$/)[0].length;
    if (lead + tail >= part.length) continue;
    inserts.push({at: range.from + lead, mark: kOpen}, {at: range.to - tail, mark: kClose});
  }
  inserts.sort((a, b) => a.at - b.at);
  let source = '', from = 0;
  const clean = (part) => part.replace(/[\uE000\uE001]/g, '');
  for (const {at, mark} of inserts) {
    source += clean(text.slice(from, at)) + mark;
    from = at;
  }
  return {source: source + clean(text.slice(from)), markers};
}

// Replaces markers and sentence ends in the text nodes. Code keeps its brackets.
function decorate(fragment, markers, makeCite) {
  const walker = document.createTreeWalker(fragment, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  const found = nodes.reduce((n, node) => n + [...node.data.matchAll(kMarker)].length, 0);
  // Markdown may swallow a marker; then the order says nothing, and the first citation of a number must do.
  const inOrder = found === markers.length;
  let seen = 0, open = false;
  const citationOf = (n) => {
    const marker = inOrder ? markers[seen] : markers.find((m) => m.n === n);
    ++seen;
    return marker?.citation ?? null;
  };
  for (const node of nodes) {
    const inCode = node.parentElement?.closest('code, pre') != null;
    const parts = [];
    for (const piece of node.data.split(/([\uE000\uE001]|\[\d{1,3}\])/)) {
      if (piece === kOpen) open = true;
      else if (piece === kClose) open = false;
      else if (piece !== '') {
        const marker = piece.match(/^\[(\d{1,3})\]$/);
        let part = document.createTextNode(piece);
        if (marker) {
          const citation = citationOf(Number(marker[1]));
          if (!inCode) part = makeCite(Number(marker[1]), citation) ?? part;
        }
        parts.push(open && piece.trim() !== '' ? el('span', {class: 'unsupported'}, part) : part);
      }
    }
    node.replaceWith(...parts);
  }
}
