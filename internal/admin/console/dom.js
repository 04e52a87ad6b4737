// Makes elements. Texts become text nodes, so that nothing that comes from a page or an
// operator is ever read as markup.

export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function svg(tag, properties, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value' || name === 'checked') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(3).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

// host is what names a site: its origin without the scheme.
export const host = (origin) => origin.replace(/^https?:\/\//, '').replace(/\/$/, '');

// field is a labelled input with what it is for, and a place for what is wrong with it.
export function field(label, input, help) {
  return h('label', { class: 'field' }, h('span', {}, label), input, help && h('small', {}, help));
}

export function table(caption, head, rows, numbers = []) {
  const cell = (tag, value, i, more) => h(tag, { class: numbers.includes(i) ? 'number' : more, scope: tag === 'th' ? 'col' : undefined }, value ?? '');
  return h('div', { class: 'scroll' }, h('table', {}, caption && h('caption', {}, caption),
    h('thead', {}, h('tr', {}, head.map((value, i) => cell('th', value, i)))),
    h('tbody', {}, rows.map((row) => h('tr', {}, row.map((value, i) => cell('td', value, i, 'url')))))));
}

export function empty(title, ...advice) {
  return h('div', { class: 'empty' }, h('strong', {}, title), ...advice);
}

const whole = new Intl.NumberFormat('en');
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export const number = (n) => (n < 10000 ? whole.format(n) : compact.format(n));
export const percent = (share) => `${(share * 100).toFixed(share > 0.995 || share === 0 ? 0 : 1)} %`;
export const ms = (n) => (n >= 1000 ? `${(n / 1000).toFixed(1)} s` : `${Math.round(n)} ms`);

export function dollars(n) {
  if (n === 0) return '$0';
  return n < 0.01 ? '< 1 ¢' : `$${n.toFixed(2)}`;
}

export function when(text) {
  const at = new Date(text);
  return h('time', { datetime: text, title: at.toISOString() }, at.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' }));
}

export function ago(seconds) {
  for (const [unit, length] of [['day', 86400], ['hour', 3600], ['minute', 60]]) {
    const n = Math.floor(seconds / length);
    if (n >= 1) return `${n} ${unit}${n > 1 ? 's' : ''}`;
  }
  return `${seconds} second${seconds === 1 ? '' : 's'}`;
}

const moods = { fresh: 'good', hit: 'good', done: 'good', complete: 'good', stale: 'warn', spare: 'warn', purged: 'warn', partial: 'warn', queued: '', running: '', failed: 'bad', refused: 'bad', expired: 'bad', cancelled: 'warn' };

export const tag = (text) => h('span', { class: `tag ${moods[text] ?? ''}` }, text);
