import { ask, get } from './api.js';
import { empty, field, h, host, table, tag } from './dom.js';
import { address } from './app.js';
import { form } from './form.js';

export async function sites(place, app) {
  const search = h('input', { type: 'text', placeholder: 'a part of the host', value: app.query.q ?? '' });
  place.append(h('div', { class: 'head' }, h('div', {}, h('h1', { tabindex: '-1' }, 'Sites'), h('p', { class: 'lead' }, 'Whose pages are rendered, and how.')),
    app.may('admin') && h('a', { class: 'button', href: address('site') }, 'New site')),
  h('form', { class: 'row', onsubmit: (event) => { event.preventDefault(); app.go('sites', { q: search.value }); } }, field('Search', search), h('button', {}, 'Search')), h('br', {}));
  const box = h('section', { class: 'card' });
  place.append(box);
  const rows = [];
  await more();
  async function more(cursor) {
    const answer = await get('/v1/sites', { q: app.query.q, cursor, limit: 100 });
    rows.push(...answer.sites.map((s) => [h('a', { href: address('site', { host: host(s.origin) }) }, s.origin), s.version ? tag('configured') : 'as flags or the template say',
      h('a', { href: address('pages', { site: host(s.origin) }) }, 'Pages'), h('a', { href: address('overview', { site: host(s.origin) }) }, 'Statistics')]));
    box.replaceChildren(rows.length ? table('', ['Site', 'Settings', '', ''], rows) : empty('No such site', h('p', {}, 'A new site is a host whose pages may be rendered.')));
    if (answer.next) box.append(h('button', { onclick: () => app.tried(more(answer.next)) }, 'More'));
  }
}

// site is a site as a form and as the document that it is: what is typed into one is in
// the other, and both are checked by the server as one types.
export async function site(place, app) {
  const name = app.query.host ?? '';
  let current = { value: { origin: '' }, etag: '"0"' };
  if (name) {
    const answer = await ask('GET', `/v1/sites/${encodeURIComponent(name)}`, { raw: true });
    current = { value: answer.value, etag: answer.headers.get('ETag') };
  }
  const schema = await get('/v1/site.schema.json');
  place.append(h('div', { class: 'head' }, h('div', {}, h('h1', { tabindex: '-1' }, name || 'New site'), h('p', { class: 'lead' }, 'What is left empty has its default. The document beside the form is the same, for a file in your repository.'))));
  const verdict = h('section', { class: 'card', 'aria-live': 'polite' });
  const file = h('textarea', { spellcheck: 'false', 'aria-label': 'The site as a JSON document', readonly: !app.may('admin') });
  const save = h('button', { class: 'main', disabled: true, onclick: () => app.tried(store()) }, 'Save');
  const left = h('section', { class: 'card', 'aria-label': 'Form' });
  const state = { document: structuredClone(current.value) };

  const view = form(schema, state.document, (document) => { state.document = document; file.value = JSON.stringify(document, null, 2); changed(); });
  left.append(view.element);
  file.value = JSON.stringify(state.document, null, 2);
  file.addEventListener('input', () => {
    try {
      state.document = JSON.parse(file.value);
    } catch (error) {
      show([{ pointer: '', detail: `It is no JSON: ${error.message}` }]);
      return;
    }
    view.set(state.document);
    changed();
  });
  place.append(verdict, h('div', { class: 'pair' }, left, h('section', { class: 'card' }, h('h2', {}, 'As a file'), file)));
  if (current.etag !== '"0"' && app.may('admin')) place.append(h('button', { class: 'bad', onclick: () => app.tried(remove()) }, 'Delete these settings'));

  let timer, attempt = 0;
  app.left.addEventListener('abort', () => clearTimeout(timer));
  function changed() {
    save.disabled = true;
    clearTimeout(timer);
    timer = setTimeout(check, 300);
  }

  const target = () => `/v1/sites/${encodeURIComponent(name || host(state.document.origin ?? '') || '-')}`;

  async function check() {
    const mine = ++attempt;
    let answer;
    try {
      answer = await ask('POST', `${target()}/validation`, { body: state.document });
    } catch (error) {
      answer = { faults: [{ pointer: '', detail: error.message }] };
    }
    if (mine === attempt) show(answer.faults, answer.changes);
  }

  function show(faults, changes = []) {
    view.faults(faults);
    file.setAttribute('aria-invalid', String(faults.length > 0));
    save.disabled = faults.length > 0 || !changes.length || !app.may('admin');
    const said = faults.length ? faults.map((f) => h('li', { class: 'bad' }, f.pointer && [h('code', {}, f.pointer), ': '], f.detail))
      : changes.length ? changes.map((c) => h('li', {}, h('code', {}, c.pointer), ': ', c.before === undefined ? 'was not set' : h('code', {}, JSON.stringify(c.before)), ' → ', c.after === undefined ? 'not set' : h('code', {}, JSON.stringify(c.after))))
        : [h('li', { class: 'good' }, 'Nothing is changed.')];
    verdict.replaceChildren(h('h2', {}, faults.length ? 'What is wrong' : 'What would change'), h('ul', { class: 'notes' }, said), app.may('admin') && save);
  }
  show([]);
  if (!app.may('admin')) {
    for (const input of left.querySelectorAll('input, select, textarea, button')) input.disabled = true;
    verdict.replaceChildren(h('p', { class: 'soft' }, 'You may look. Admins of the site may change it.'));
  }

  async function store() {
    await ask('PUT', target(), { body: state.document, headers: { 'If-Match': current.etag, 'Idempotency-Key': crypto.randomUUID() } });
    app.say('Saved. All instances notice within ten seconds.');
    const saved = name || host(state.document.origin);
    if (name) location.reload();
    else app.go('site', { host: saved });
  }

  async function remove() {
    if (!confirm(`Delete the settings of ${name}?`)) return;
    await ask('DELETE', target(), { headers: { 'If-Match': current.etag } });
    app.say('Deleted.');
    app.go('sites');
  }
}
