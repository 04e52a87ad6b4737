// Kettle & Crane, a shop in one file: routes, data from an API, and styles that
// exist only in memory, like those of the CSS-in-JS libraries.

const app = document.getElementById('app');
const api = (path) => fetch('/api' + path).then((r) => (r.ok ? r.json() : Promise.reject(r.status)));
const euros = (n) => '€' + n.toFixed(2);

// h('p', { class: 'price' }, 'text', child) makes an element.
function h(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes || {})) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

const sheet = document.head.appendChild(h('style')).sheet;
[
  'body { font: 17px/1.6 Georgia, serif; color: #2b2622; background: #fbf8f3; margin: 0 auto; max-width: 46rem; padding: 2rem; }',
  'header a { color: inherit; text-decoration: none; font-variant: small-caps; letter-spacing: .08em; margin-right: 1.5rem; }',
  'h1 { font-weight: 500; border-bottom: 1px solid #d9cfc1; padding-bottom: .4rem; }',
  '.items { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem; padding: 0; list-style: none; }',
  '.items li { background: #fff; border: 1px solid #e8dfd2; border-radius: 4px; padding: 1rem; }',
  '.price { color: #8a4b14; font-weight: 600; }',
].forEach((rule, i) => sheet.insertRule(rule, i));

function describe({ title, description, status, data }) {
  document.title = title + ' · Kettle & Crane';
  document.querySelectorAll('[data-page]').forEach((e) => e.remove());
  const add = (name, attributes, ...children) =>
    document.head.append(h(name, { ...attributes, 'data-page': '' }, ...children));
  if (description) add('meta', { name: 'description', content: description });
  if (status) add('meta', { name: 'prerender-status-code', content: status });
  if (data) add('script', { type: 'application/ld+json' }, JSON.stringify(data));
  add('link', { rel: 'canonical', href: location.origin + location.pathname });
}

const card = (item) =>
  h('li', {}, h('a', { href: '/items/' + item.id }, item.name), h('div', { class: 'price' }, euros(item.price)));

async function shelf() {
  const items = await api('/items');
  describe({ title: 'Everything', description: items.length + ' things for the kitchen.' });
  return [h('h1', {}, 'Everything we make'), h('ul', { class: 'items' }, ...items.map(card))];
}

async function itemPage(id) {
  const item = await api('/items/' + encodeURIComponent(id)).catch(() => null);
  if (!item) return missing();
  const related = await Promise.all((item.related || []).map((r) => api('/items/' + r)));
  describe({
    title: item.name,
    description: item.text,
    data: {
      '@context': 'https://schema.org',
      '@type': 'Product',
      name: item.name,
      description: item.text,
      offers: { '@type': 'Offer', price: item.price.toFixed(2), priceCurrency: 'EUR' },
    },
  });
  const page = [
    h('h1', {}, item.name),
    h('p', { class: 'price' }, euros(item.price)),
    h('p', {}, item.text),
  ];
  if (related.length) page.push(h('h2', {}, 'Goes with it'), h('ul', { class: 'items' }, ...related.map(card)));
  return page;
}

function about() {
  describe({ title: 'About us', description: 'Who makes these things.' });
  return [h('h1', {}, 'About us'), h('p', {}, 'Two people, one workshop, no server-side rendering.')];
}

function missing() {
  describe({ title: 'Not found', status: 404 });
  return [h('h1', {}, 'Not found'), h('p', {}, 'We do not make this, or no longer.')];
}

async function route() {
  const path = location.pathname;
  const item = /^\/items\/([^/]+)$/.exec(path);
  let page;
  if (path === '/') page = await shelf();
  else if (item) page = await itemPage(decodeURIComponent(item[1]));
  else if (path === '/about') page = about();
  else page = missing();
  app.replaceChildren(
    h('header', {}, h('a', { href: '/' }, 'Kettle & Crane'), h('a', { href: '/about' }, 'About')),
    h('main', {}, ...page),
  );
}

document.addEventListener('click', (e) => {
  const link = e.target.closest('a[href^="/"]');
  if (!link || e.metaKey || e.ctrlKey) return;
  e.preventDefault();
  history.pushState(null, '', link.href);
  route();
});
addEventListener('popstate', route);
route();
