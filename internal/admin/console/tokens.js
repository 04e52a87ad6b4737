import { ask, get, post } from './api.js';
import { empty, field, h, table, tag, when } from './dom.js';

const uses = [['integration', 'An integration, such as a middleware: asks the router for pages'], ['viewer', 'A viewer: looks'], ['operator', 'An operator: renders, purges and warms'], ['admin', 'An admin: changes sites and tokens']];

export async function tokens(place, app) {
  const login = await get('/v1/login');
  const all = login.mode === 'token' ? uses : uses.slice(0, 1); // elsewhere people are known otherwise
  place.append(h('h1', { tabindex: '-1' }, 'Tokens'), h('p', { class: 'lead' }, 'For programs. An integration sends its token as X-Prerender-Token; the others log in here with theirs, or send it as Authorization: Bearer.'));
  const made = h('div', { 'aria-live': 'assertive' }), box = h('section', { class: 'card' });
  place.append(form(app, all, made, show), made, box);
  async function show() {
    const { tokens: list } = await get('/v1/tokens');
    box.replaceChildren(list.length ? table('', ['Name', 'For', 'Sites', 'Made', 'Used last', 'Expires', ''], list.map((t) => [t.name, tag(t.use), t.sites?.join(', ') ?? 'all', [when(t.createdAt), ` by ${t.createdBy}`],
      t.usedAt ? when(t.usedAt) : 'never', t.expiresAt ? when(t.expiresAt) : 'never', h('button', { class: 'bad', onclick: () => revoke(t) }, 'Revoke')]))
      : empty('No tokens yet', h('p', {}, 'Make one for each program, so that you can revoke it without disturbing the others.')));
  }
  async function revoke(t) {
    if (!confirm(`Revoke the token “${t.name}”? What uses it stops working within ten seconds.`)) return;
    if (await app.tried(ask('DELETE', `/v1/tokens/${t.id}`)) !== undefined) { app.say('Revoked.'); show(); }
  }
  await show();
}

function form(app, uses, made, changed) {
  const name = h('input', { type: 'text', required: true, maxlength: 100 }), sites = h('input', { type: 'text', placeholder: 'all' }), days = h('input', { type: 'number', min: 1, placeholder: 'never' });
  const use = h('select', {}, uses.map(([value, title]) => h('option', { value }, title)));
  return h('form', { class: 'card', onsubmit: async (event) => {
    event.preventDefault();
    const hosts = sites.value.split(/[\s,]+/).filter(Boolean);
    const token = await app.tried(post('/v1/tokens', { name: name.value, use: use.value, ...(hosts.length && { sites: hosts }), ...(days.value && { expiresAt: new Date(Date.now() + days.value * 86400e3).toISOString() }) }));
    if (!token) return;
    event.target.reset();
    made.replaceChildren(h('p', { class: 'secret' }, `The token “${token.name}”, which is shown this once: `, h('code', {}, token.token)));
    changed();
  } }, h('h2', {}, 'Make a token'), h('div', { class: 'row' }, field('What it is for', name), field('What it may do', use), field('Sites', sites, 'Hosts, with blanks between them.'), field('Expires in days', days), h('button', { class: 'main' }, 'Make')));
}
