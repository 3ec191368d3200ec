// Server-sent events over fetch(), which EventSource cannot do for POST.

// Yields {event, data} for each event of a response body. Comments (": ping") are skipped; an unfinished last event is dropped, as the
// standard asks.
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '', name = '', data = [];
  try {
    for (;;) {
      const {value, done} = await reader.read();
      if (done) return;
      rest += value;
      let from = 0;
      for (;;) {
        const end = lineEnd(rest, from);
        if (end === null) break;
        const line = rest.slice(from, end.at);
        from = end.next;
        if (line === '') {
          if (data.length > 0) yield {event: name || 'message', data: data.join('\n')};
          name = '';
          data = [];
        } else if (!line.startsWith(':')) {
          const colon = line.indexOf(':');
          const field = colon < 0 ? line : line.slice(0, colon);
          const text = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
          if (field === 'event') name = text;
          else if (field === 'data') data.push(text);
        }
      }
      rest = rest.slice(from);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// The next line break from `from`: LF, CR LF or CR. A CR that ends what has arrived may be half of a CR LF, so it waits.
function lineEnd(text, from) {
  for (let i = from; i < text.length; ++i) {
    if (text[i] === '\n') return {at: i, next: i + 1};
    if (text[i] === '\r') {
      if (i + 1 === text.length) return null;
      return {at: i, next: text[i + 1] === '\n' ? i + 2 : i + 1};
    }
  }
  return null;
}
