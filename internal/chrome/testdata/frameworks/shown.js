// What a person sees of the page, a line each, with shadow trees in the place of
// their hosts' children; and whether the app has marked itself done.
(() => {
  const properties = ['color', 'background-color', 'font-size', 'display', 'padding-left', 'border-top-width'];
  const links = [], styles = [];
  let text = '', done = false, components = false;

  function walk(node) {
    if (node.nodeType === Node.TEXT_NODE) text += node.data;
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    const style = getComputedStyle(node);
    if (style.display === 'none') return;
    if (node.localName.includes('-')) components = true;
    if (node.localName === 'a') links.push('link: ' + node.href);
    if ('done' in node.dataset) done = true;
    if ('style' in node.dataset) for (const p of properties) styles.push(`style of ${node.dataset.style}: ${p} ${style.getPropertyValue(p)}`);
    const edge = /^(inline|contents)/.test(style.display) ? '' : '\n';
    text += edge;
    const slotted = node.localName === 'slot' ? node.assignedNodes() : [];
    for (const child of slotted.length > 0 ? slotted : (node.shadowRoot || node).childNodes) walk(child);
    text += edge;
  }
  walk(document.body);

  const lines = (name, s) => s.split('\n').map((line) => line.replace(/\s+/g, ' ').trim()).filter(Boolean).map((line) => name + ': ' + line);
  const metas = [...document.querySelectorAll('meta')].map((m) => `meta ${m.name || m.getAttribute('property') || 'charset'}: ` + (m.content || m.getAttribute('charset')));
  const canonical = [...document.querySelectorAll('link[rel=canonical]')].map((l) => 'canonical: ' + l.href);
  // innerText does not know shadow trees.
  const innerText = components ? [] : lines('innerText', document.body.innerText);
  return { done, lines: ['title: ' + document.title, ...metas, ...canonical, ...lines('text', text), ...innerText, ...links, ...styles] };
})()
