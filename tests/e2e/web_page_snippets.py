"""JavaScript that web_page.py evaluates in the page to keep watch over it."""

# Text whose contrast with what is behind it is below 4.5:1. Disabled controls are exempt.
CONTRAST = """() => {
  const channel = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); const k = text.startsWith('color(') ? 1 : 255;
    return [n[0] / k, n[1] / k, n[2] / k, n[3] ?? 1]; };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (walker.currentNode.data.trim() === '' || e.closest(':disabled, .sr-only, option, script, noscript, .skip') || !e.checkVisibility()) continue;
    let b = e, back = null;
    while (b && !back) { const c = parse(getComputedStyle(b).backgroundColor); if (c[3] === 1) back = c; b = b.parentElement; }
    if (!back) continue;
    const x = light(parse(getComputedStyle(e).color)), y = light(back);
    const ratio = (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)} "${walker.currentNode.data.trim().slice(0, 30)}"`);
  }
  return low;
}"""
WATCH = """() => {
  window.violations = [];
  document.addEventListener('securitypolicyviolation', (e) => window.violations.push(`${e.effectiveDirective} ${e.blockedURI}`));
}"""
# When the first source and the first text of the answer appear.
FIRSTS = """() => {
  window.firsts = {};
  const look = () => {
    const now = document.querySelector('#current .exchange');
    if (!now) return;
    if (now.querySelector('.sources li') && !window.firsts.source) window.firsts.source = performance.now();
    if (now.querySelector('.answer').textContent !== '' && !window.firsts.text) window.firsts.text = performance.now();
  };
  new MutationObserver(look).observe(document.getElementById('current'), {subtree: true, childList: true, characterData: true});
}"""
