import { get } from './api.js';
import { ranked } from './chart.js';
import { empty, h, host } from './dom.js';

const purposes = {
  search: 'Search engines', 'ai-training': 'AI training', 'ai-user-fetch': 'AI assistants, for a person', 'social-preview': 'Link previews',
  'seo-tool': 'SEO tools', archive: 'Archives', monitoring: 'Monitoring',
};

export async function agents(place, app) {
  const days = Number(app.query.days ?? 7), site = app.query.site ?? '';
  const to = new Date(), from = new Date(to - days * 86400e3);
  const [stats, list] = await Promise.all([get('/v1/stats', { site, step: days > 7 ? 'day' : 'hour', from: from.toISOString(), to: to.toISOString() }), get('/v1/sites', { limit: 1000 })]);
  const choose = (more) => app.go('agents', { site, days, ...more });
  place.append(h('div', { class: 'head' },
    h('div', {}, h('h1', { tabindex: '-1' }, 'Agents'), h('p', { class: 'lead' }, 'Who came, and for what. What each kind gets is part of a site’s settings.')),
    h('div', { class: 'row' },
      h('label', {}, h('span', {}, 'Site'), h('select', { onchange: (event) => choose({ site: event.target.value }) }, h('option', { value: '' }, 'All'),
        list.sites.map((s) => host(s.origin)).map((name) => h('option', { value: name, selected: name === site }, name)))),
      h('div', { class: 'segments', role: 'group', 'aria-label': 'Time' }, [1, 7, 30].map((n) => h('button', { 'aria-pressed': String(n === days), onclick: () => choose({ days: n }) }, n === 1 ? '24 hours' : `${n} days`))))));
  if (!stats.total.requests) {
    place.append(h('div', { class: 'card' }, empty('Nobody has come yet', h('p', {}, 'Search engines come when they know your site; link previews as soon as somebody shares a page.'))));
    return;
  }
  place.append(h('div', { class: 'grid' },
    h('section', { class: 'card' }, ranked('By purpose', stats.total.purposes, (name) => purposes[name] ?? name)),
    h('section', { class: 'card' }, ranked('By agent', stats.total.agents, (name) => name || 'None of the known ones'))));
  if (Object.keys(stats.total.refusals).length) place.append(h('section', { class: 'card' }, ranked('Refused, by reason', stats.total.refusals)));
}
