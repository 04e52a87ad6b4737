// What a browser shows of the page: its visible text in the order of the
// flattened tree, a line a block, and what the head says of it. With scroll, the
// page is looked at from top to end before.
(async ({ scroll }) => {
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  if (scroll) {
    const screens = Math.min(40, Math.ceil(document.documentElement.scrollHeight / innerHeight));
    for (let i = 1; i <= screens; i++) {
      scrollTo(0, i * innerHeight);
      await pause(50);
    }
    scrollTo(0, 0);
    await pause(500);
  }
  const lines = [];
  let line = '';
  const end = () => {
    const text = line.replace(/\s+/g, ' ').trim();
    if (text !== '') lines.push(text);
    line = '';
  };
  const isInline = /^(inline|contents|ruby)/;
  function walk(node) {
    if (node.nodeType === Node.TEXT_NODE) {
      line += node.data;
      return;
    }
    if (node.nodeType !== Node.ELEMENT_NODE && node.nodeType !== Node.DOCUMENT_FRAGMENT_NODE) return;
    if (node.nodeType === Node.ELEMENT_NODE) {
      if (/^(script|style|noscript|template|head)$/.test(node.localName)) return;
      const display = getComputedStyle(node).display;
      if (display === 'none') return;
      const inline = isInline.test(display) && node.localName !== 'br';
      if (!inline) end();
      if (node.localName === 'slot' && node.assignedNodes().length > 0) node.assignedNodes().forEach(walk);
      else (node.shadowRoot || node).childNodes.forEach(walk);
      if (!inline) end();
      return;
    }
    node.childNodes.forEach(walk);
  }
  if (document.body) walk(document.body);
  end();
  const all = (selector) => [...document.querySelectorAll(selector)];
  const title = document.querySelector('title');
  return {
    text: lines.join('\n'),
    meta: [['title', title ? title.textContent : ''], ...all('meta[name][content], meta[property][content], meta[http-equiv][content]')
      .map((m) => [m.getAttribute('name') || m.getAttribute('property') || m.httpEquiv, m.content])],
    links: all('link[rel][href]').filter((l) => /\b(canonical|alternate|prev|next|amphtml)\b/i.test(l.rel))
      .map((l) => [l.rel + (l.hreflang ? ' ' + l.hreflang : ''), l.href]),
    structured: all('script[type^="application/ld+json" i]').map((s) => s.textContent.trim()),
  };
})
