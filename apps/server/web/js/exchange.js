// One question with its answer on the page: sources, text as it comes, citations, abstention, time.
import {collections, label} from './collections.js';
import {append, el, icon, replace} from './dom.js';
import {count, duration, plural, score, splitPath} from './format.js';
import {latencyView} from './latency.js';
import {renderAnswer} from './markdown.js';
import {openPanel} from './passage_panel.js';

const kShownSources = 5;

const keyOf = (p) => `${p.path}\u0000${p.start}\u0000${p.end}`;

// The DOM of one exchange. `element` is an <article>; the methods follow the events of the stream, in order.
export class Exchange {
  constructor(question, store, {onRetry}) {
    this.store = store;
    this.storeName = label(collections.current);
    this.question = question;
    this.onRetry = onRetry;
    this.text = '';
    this.sources = [];
    this.fileIds = new Map();  // of passages, by path and span: the final document names none
    this.status = el('p', {class: 'stage-now'});
    this.sourceBox = el('section', {class: 'sources', 'aria-label': 'Sources', hidden: true});
    this.answer = el('div', {class: 'answer', dir: 'auto', 'aria-live': 'polite', 'aria-busy': 'true'});
    this.after = el('div', {class: 'after'});
    this.element = el('article', {class: 'exchange'}, el('h2', {class: 'question', dir: 'auto', tabindex: '-1'}, question), this.sourceBox,
      this.status, this.answer, this.after);
    this.started = performance.now();
    this.#phase('Searching the documents');
    this.timer = setInterval(() => this.#tick(), 200);
  }

  retrieved({sources}) {
    this.sources = sources;
    for (const s of sources) if (s.file_id) this.fileIds.set(keyOf(s), s.file_id);
    this.#showSources(sources, new Set());
    this.#phase(sources.length > 0 ? `Reading ${plural(sources.length, 'passage')}` : 'No passage found');
  }

  delta({text}) {
    if (this.text === '') this.#phase('Writing');
    this.text += text;
    // A frame may hold many tokens; the whole text is parsed once for all of them.
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (!this.finished) replace(this.answer, renderAnswer(this.text, {makeCite: (n) => this.#cite(n, null)}));
    });
  }

  answered(result) {
    this.#finish();
    this.result = result;
    const cited = new Set(result.citations.map((c) => c.n));
    if (result.passages.length > 0 && !result.abstained) this.#showSources(this.#withIds(result.passages), cited);
    if (result.abstained) {
      this.#showAbstention(result);
    } else {
      replace(this.answer, renderAnswer(result.answer, {
        sentences: result.sentences, citations: result.citations, makeCite: (n, citation) => this.#cite(n, citation)}));
      append(this.after, this.#notes(result));
    }
    append(this.after, latencyView(result));
  }

  stopped() {
    this.#finish();
    append(this.after, this.#notice('stop', this.text === '' ? 'Stopped before the first word.' :
      'Stopped. What was written was not checked against its sources.', 'Ask again'));
  }

  failed(error) {
    this.#finish();
    const notice = this.#notice('warning', error.message, 'Try again');
    notice.classList.add('error');
    notice.setAttribute('role', 'alert');
    append(this.after, notice);
  }

  get running() { return !this.finished; }

  #finish() {
    this.finished = true;
    clearInterval(this.timer);
    this.status.hidden = true;
    this.answer.setAttribute('aria-busy', 'false');
  }

  #phase(words) {
    this.phase = words;
    this.#tick();
  }

  #tick() {
    replace(this.status, el('span', {class: 'pulse', 'aria-hidden': 'true'}), `${this.phase} · `,
      el('span', {class: 'number'}, duration(performance.now() - this.started)));
  }

  #withIds(passages) {
    return passages.map((p) => ({...p, file_id: p.file_id ?? this.fileIds.get(keyOf(p))}));
  }

  #notice(symbol, words, action) {
    return el('div', {class: 'notice'}, icon(symbol), el('p', {}, words),
      el('button', {type: 'button', class: 'quiet-button', onclick: () => this.onRetry(this.question)}, action));
  }

  #showSources(passages, cited) {
    this.sourceBox.hidden = false;
    if (passages.length === 0) {
      replace(this.sourceBox, el('p', {class: 'quiet'}, 'Nothing in this collection matches the question.'));
      return;
    }
    const items = passages.map((p) => el('li', {}, this.#sourceButton(p, cited.has(p.n))));
    const title = cited.size > 0 ? `${plural(passages.length, 'source')}, ${cited.size} cited` : plural(passages.length, 'source');
    replace(this.sourceBox, el('h3', {}, title), el('ol', {class: 'source-list'}, items.slice(0, kShownSources)),
      items.length > kShownSources ? el('details', {class: 'more'}, el('summary', {}, `${items.length - kShownSources} more`),
        el('ol', {class: 'source-list'}, items.slice(kShownSources))) : null);
  }

  #sourceButton(passage, isCited) {
    const {folder, name} = splitPath(passage.path);
    return el('button', {type: 'button', class: isCited ? 'source cited' : 'source', title: `${folder}${name}`,
      'aria-label': [`Source ${passage.n}: ${name}`, passage.heading, `score ${score(passage.score)}`, isCited && 'cited'].filter(Boolean).join(', '),
      onclick: () => openPanel(passage, this.#firstCitation(passage.n), this.store)},
    el('span', {class: 'badge'}, String(passage.n)), el('span', {class: 'source-name'}, name),
    el('span', {class: 'source-heading'}, passage.heading || ''), el('span', {class: 'number', title: 'Score'}, score(passage.score)));
  }

  #firstCitation(n) {
    return this.result?.abstained ? null : this.result?.citations.find((c) => c.n === n) ?? null;
  }

  // The button for a marker [n]; null (the marker stays text) where there is no such passage.
  #cite(n, citation) {
    const passages = this.result ? this.#withIds(this.result.passages) : this.sources;
    const passage = passages.find((p) => p.n === n) ?? this.sources.find((p) => p.n === n);
    if (!passage) return null;
    const name = splitPath(passage.path).name;
    return el('button', {type: 'button', class: 'cite', 'aria-label': `Source ${n}: ${name}${passage.heading ? `, ${passage.heading}` : ''}`,
      title: `${name}${passage.heading ? ` › ${passage.heading}` : ''}`,
      onclick: () => openPanel(passage, citation ?? this.#firstCitation(n), this.store)}, String(n));
  }

  #showAbstention(result) {
    const nearest = this.#withIds(result.passages);
    replace(this.answer, el('div', {class: 'abstained'},
      el('h3', {}, icon('abstain'), 'Not answered from these documents'),
      el('p', {}, result.answer),
      result.abstain_reason ? el('p', {class: 'quiet'}, `Why: ${result.abstain_reason}`) : null));
    this.sourceBox.hidden = true;
    if (nearest.length > 0) {
      append(this.after, el('section', {class: 'nearest', 'aria-label': 'Nearest passages'}, el('h3', {}, 'Nearest passages'),
        el('ol', {class: 'nearest-list'}, nearest.map((p) => el('li', {}, this.#sourceButton(p, false), el('p', {dir: 'auto'}, excerpt(p.text)))))));
    }
    if (result.withheld) {
      append(this.after, el('details', {class: 'more'}, el('summary', {}, 'What the model wrote; no passage supports it'),
        el('blockquote', {}, result.withheld)));
    }
  }

  #notes(result) {
    const notes = [];
    const unsupported = result.sentences.filter((s) => !s.supported).length;
    if (unsupported > 0) {
      notes.push(el('p', {class: 'note'}, el('span', {class: 'unsupported'}, 'Underlined like this'),
        `: ${unsupported} of ${plural(result.sentences.length, 'sentence')} ${unsupported === 1 ? 'has' : 'have'} no support in the documents.`));
    }
    if (result.finish_reason === 'length') {
      notes.push(el('p', {class: 'note'}, 'The answer was cut at its longest length; raise it under Settings.'));
    }
    if (result.dropped.length > 0) {
      notes.push(el('details', {class: 'more'}, el('summary', {}, `${plural(result.dropped.length, 'passage')} left out`),
        el('ul', {class: 'plain-list'}, result.dropped.map((d) => el('li', {}, `${d.path} (${plural(d.tokens, 'token')}): ${d.reason}`)))));
    }
    if (result.damaged_chunks > 0) {
      notes.push(el('p', {class: 'note warn'}, `${plural(result.damaged_chunks, 'passage')} of this collection ` +
        `${result.damaged_chunks === 1 ? 'is' : 'are'} damaged and were left out; gritstone collection verify tells more.`));
    }
    return notes;
  }
}

function excerpt(text) {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length <= 220 ? line : `${line.slice(0, line.lastIndexOf(' ', 220))}…`;
}

// For the announcer: what a screen reader should hear when the answer is there.
export function spokenSummary(result) {
  if (result.abstained) return 'Not answered from these documents.';
  return `Answer complete, ${plural(result.citations.length, 'citation')}, ${count(Math.round(result.timings.total_ms / 100) / 10)} seconds.`;
}

export const currentStore = () => collections.current?.id ?? null;
