// Evaluated in the page by web_page.py: the page's own modules on what they must get right. Resolves to [name, ok, shown] for each check.
async () => {
  const results = [];
  const check = (name, ok, shown = '') => results.push([name, Boolean(ok), String(shown)]);
  const same = (name, got, wanted) => check(name, JSON.stringify(got) === JSON.stringify(wanted), `${JSON.stringify(got)}, expected ${JSON.stringify(wanted)}`);
  const {renderAnswer} = await import('/js/markdown.js');
  const {around, locateQuote, unitOffsets} = await import('/js/utf8.js');
  const {events} = await import('/js/sse.js');
  const bytes = (text) => new TextEncoder().encode(text).length;

  // What a document can make an answer say must neither run nor fetch.
  const box = document.createElement('div');
  document.body.append(box);
  const makeCite = (n, citation) => {
    const mark = document.createElement('button');
    mark.textContent = `${n}${citation ? citation.id : '-'}`;
    return mark;
  };
  const render = (text, more = {}) => {
    box.replaceChildren(renderAnswer(text, {makeCite, ...more}));
    return box;
  };
  window.ran = 0;
  const hostile = ['<script>window.ran=1</script>', '<img src=x onerror="window.ran=1">', '![x](https://evil.example/p.png)', '[a](javascript:window.ran=1)',
    '<svg><style><img src=x onerror=window.ran=1>', '<a href="https://e.example" style="color:red" onclick="window.ran=1">t</a>', '<iframe src="/"></iframe>',
    '[x](https://ok.example/"onmouseover="window.ran=1)', '<form action="https://e.example"><input name=y></form>', '[d](data:text/html,hi)',
    '<math><mi//xlink:href="data:x,<script>window.ran=1</script>">', '| <img src=x onerror=window.ran=1> |\n|---|\n| x |', '`<b>`', '<!-- x --><base href="https://e.example">'];
  for (const text of hostile) {
    const shown = render(text);
    check(`inert: ${text}`, shown.querySelector('script, img, svg, style, iframe, form, input, base, math, [style], [onclick], [onerror], [onmouseover]') === null &&
      [...shown.querySelectorAll('a')].every((a) => /^https?:$/.test(a.protocol) && a.rel.includes('noopener')), shown.innerHTML);
  }
  // The sanitiser by itself, without the escaping before it. Its parser reports the handlers that it keeps from running; nothing else does.
  await new Promise((resolve) => setTimeout(resolve, 100));
  same('no handler reached the parser', window.violations, []);
  const dirty = '<p onclick="window.ran=1">a<img src=x onerror="window.ran=1"><svg><script>window.ran=1</script></svg><b>c</b></p>';
  const clean = DOMPurify.sanitize(dirty, {ALLOWED_TAGS: ['p', 'b'], ALLOWED_ATTR: [], RETURN_DOM_FRAGMENT: true});
  box.replaceChildren(clean);
  same('sanitiser', box.innerHTML, '<p>a<b>c</b></p>');
  await new Promise((resolve) => setTimeout(resolve, 100));
  check('nothing ran', window.ran === 0);
  window.violations = [];

  // Sentences come in bytes; markers become the citation their own sentence names.
  const citations = [{n: 1, id: 'a'}, {n: 2, id: 'b'}, {n: 1, id: 'c'}];
  const compose = (...parts) => {
    const sentences = [];
    let text = '';
    for (const [part, supported, cited] of parts) {
      const start = bytes(text);
      text += part;
      sentences.push({start, end: bytes(text), supported, citations: cited ?? []});
    }
    render(text, {sentences, citations});
    return {cites: [...box.querySelectorAll('button')].map((b) => b.textContent), unsupported: [...box.querySelectorAll('.unsupported')].map((s) => s.textContent).join('')};
  };
  same('marks by sentence', compose(['日本語 naïve [1]. ', true, [0]], ['No 🎉 ground. ', false], ['Again [1].', true, [2]]),
    {cites: ['1a', '1c'], unsupported: 'No 🎉 ground.'});
  same('bold sentence', compose(['**All bold.** ', false], ['_It [2]._', true, [1]]), {cites: ['2b'], unsupported: 'All bold.'});
  check('bold stays bold', box.querySelector('strong .unsupported') !== null, box.innerHTML);
  same('list items', compose(['- one [2].\n', true, [1]], ['- **two**.\n', false]), {cites: ['2b'], unsupported: 'two.'});
  check('list stays a list', box.querySelectorAll('ul > li').length === 2, box.innerHTML);
  same('code keeps brackets', compose(['`x[1]` and [1].', true, [2]]), {cites: ['1c'], unsupported: ''});
  same('a definition is no definition', (render('[1]: https://e.example\n\nsee [1]', {citations}), box.querySelectorAll('button').length), 2);
  same('forged sentence ends', (render('a \uE000b\uE001 c'), box.querySelectorAll('.unsupported').length), 0);

  // Byte offsets.
  same('offsets', unitOffsets('aé日🎉z', [0, 1, 3, 6, 10, 11, 2, 99]), [0, 1, 2, 3, 5, 6, 1, 6]);
  const text = 'Übung 🎉 macht den Meister. Ende.', quote = 'macht den Meister.';
  const start = 100 + bytes('Übung 🎉 ');
  same('quote by offset', locateQuote({text, start: 100, end: 100 + bytes(text)}, {start, end: start + bytes(quote), text: quote}), {from: 9, to: 27});
  same('quote by text, the nearer one', locateQuote({text: 'x y. x y.', start: 0, end: 90}, {start: 60, end: 70, text: 'x y.'}), {from: 5, to: 9});
  same('no quote', locateQuote({text: 'abc', start: 0, end: 90}, {start: 60, end: 70, text: 'zzz'}), null);
  same('bytes around', around(new TextEncoder().encode('ééé日本zzz'), 6, 9, 3), {before: 'é', span: '日', after: '本', cutBefore: true, cutAfter: true});

  // Events, however they are cut.
  const stream = ': ping\r\n\r\nevent: delta\ndata: {"a":"é🎉"}\n\ndata: one\ndata:two\r\n\r\nevent: x\rdata: y\r\revent: cut\ndata: off';
  const raw = new TextEncoder().encode(stream);
  for (const size of [1, 2, 7, 1000]) {
    const body = new ReadableStream({start(c) { for (let i = 0; i < raw.length; i += size) c.enqueue(raw.slice(i, i + size)); c.close(); }});
    const got = [];
    for await (const event of events(body)) got.push([event.event, event.data]);
    same(`events in pieces of ${size}`, got, [['delta', '{"a":"é🎉"}'], ['message', 'one\ntwo'], ['x', 'y']]);
  }
  box.remove();
  return results;
}
