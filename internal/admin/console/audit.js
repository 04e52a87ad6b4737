import { ask, get } from './api.js';
import { empty, field, h, host, number, when } from './dom.js';

export async function audit(place, app) {
  const list = await get('/v1/sites', { limit: 1000 });
  const site = h('select', {}, h('option', { value: '' }, 'All'), list.sites.map((s) => host(s.origin)).map((name) => h('option', { value: name, selected: name === app.query.site }, name)));
  const actor = h('input', { type: 'text', value: app.query.actor ?? '' });
  const action = h('select', {}, ['', 'site.create', 'site.update', 'site.delete', 'purge', 'warm', 'page.render', 'page.delete', 'job.cancel', 'token.create', 'token.delete'].map((a) => h('option', { value: a, selected: a === app.query.action }, a || 'All')));
  const since = h('input', { type: 'date', value: app.query.since ?? '' }), until = h('input', { type: 'date', value: app.query.until ?? '' });
  const chosen = () => ({ site: site.value, actor: actor.value.trim(), action: action.value, since: since.value, until: until.value });
  place.append(h('div', { class: 'head' }, h('div', {}, h('h1', { tabindex: '-1' }, 'Audit'), h('p', { class: 'lead' }, 'Who has done what, from where. Each event has the hash of the one before it, so that none can be changed or taken out without being noticed.')),
    h('div', { class: 'row' }, h('button', { onclick: verify }, 'Verify the chain'), h('button', { onclick: download }, 'Export'))));
  place.append(h('form', { class: 'card', onsubmit: (event) => { event.preventDefault(); app.go('audit', chosen()); } },
    h('div', { class: 'row' }, field('Site', site), field('Who', actor), field('What', action), field('Since', since), field('Until', until), h('button', { class: 'main' }, 'Filter'))));
  const verdict = h('div', { role: 'status' }), box = h('section', { class: 'card' });
  place.append(verdict, box);
  const { since: from, until: to, ...others } = chosen();
  await more({ ...others, since: from && `${from}T00:00:00Z`, until: to && `${to}T23:59:59Z`, limit: 50 }, true);

  async function more(query, first) {
    const answer = await app.tried(get('/v1/events', query));
    if (!answer) return;
    box.querySelector('button.more')?.remove();
    box.append(...answer.events.map(entry));
    if (answer.next) box.append(h('button', { class: 'more', onclick: () => more({ ...query, cursor: answer.next }) }, 'Older events'));
    else if (first && !answer.events.length) box.append(empty('No such events', h('p', {}, 'Whatever changes sites, pages or tokens will be here.')));
  }

  async function verify() {
    const answer = await app.tried(get('/v1/events/verification'));
    if (!answer) return;
    verdict.replaceChildren(h('div', { class: 'card' }, h('ul', { class: 'notes' },
      answer.good ? h('li', { class: 'good' }, `${number(answer.head.number)} events are as they were written${answer.complete ? '' : ', as far as there was time to look'}. The hash of the last one is `, h('code', {}, answer.head.hash), '.')
        : answer.faults.map((fault) => h('li', { class: 'bad' }, fault)))));
  }

  async function download() {
    let text = '', cursor = '';
    do {
      const part = await app.tried(ask('GET', `/v1/events/export${cursor && `?cursor=${cursor}`}`, { raw: true }));
      if (!part) return;
      text += part.value;
      cursor = part.headers.get('X-Next-Cursor') ?? '';
    } while (cursor);
    const url = URL.createObjectURL(new Blob([text], { type: 'application/jsonl' }));
    h('a', { href: url, download: 'stillpage-audit.jsonl' }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }
}

function entry(e) {
  return h('details', {}, h('summary', {}, h('code', {}, e.action), ' ', e.site ?? '', ' ', h('small', { class: 'soft' }, when(e.at), ` by ${e.actor}`, e.from && ` from ${e.from}`)),
    e.changes.map((c) => h('p', {}, h('code', {}, c.pointer || 'all'), ': ', c.before !== undefined && [h('code', {}, JSON.stringify(c.before)), ' → '], c.after === undefined ? 'removed' : h('code', {}, JSON.stringify(c.after)))),
    !e.changes.length && h('p', { class: 'soft' }, 'It changed nothing.'),
    h('p', { class: 'soft' }, `Event ${e.number}${e.subject ? `, of ${e.subject}` : ''}`));
}
