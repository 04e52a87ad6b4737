import { get } from './api.js';
import { chart, filled } from './chart.js';
import { dollars, empty, h, host, ms, number, percent, table } from './dom.js';
import { address } from './app.js';

const spans = [
  { name: '24 hours', step: 'hour', hours: 24 },
  { name: '7 days', step: 'hour', hours: 7 * 24 },
  { name: '30 days', step: 'day', hours: 30 * 24 },
];

const nothing = { cache: {}, outcomes: {}, latency: {}, renderTime: {}, money: {}, requests: 0, renders: 0, hitRatio: 0 };

export async function overview(place, app) {
  const site = app.query.site ?? '';
  const span = spans.find((s) => s.name === app.query.span) ?? spans[0];
  const to = new Date(), from = new Date(to - span.hours * 3600e3);
  const [stats, status, list] = await Promise.all([
    get('/v1/stats', { site, step: span.step, from: from.toISOString(), to: to.toISOString() }), get('/v1/status'), get('/v1/sites', { limit: 1000 }),
  ]);
  const choose = (more) => app.go('overview', { site, span: span.name, ...more });
  place.append(h('div', { class: 'head' },
    h('div', {}, h('h1', { tabindex: '-1' }, 'Overview'), h('p', { class: 'lead' }, `What bots asked for, and what they got, in the last ${span.name}. Version ${status.version}.`)),
    h('div', { class: 'row' },
      h('label', {}, h('span', {}, 'Site'), h('select', { onchange: (event) => choose({ site: event.target.value }) },
        h('option', { value: '' }, 'All'), list.sites.map((s) => host(s.origin)).map((name) => h('option', { value: name, selected: name === site }, name)))),
      h('div', { class: 'segments', role: 'group', 'aria-label': 'Time' }, spans.map((s) => h('button', { 'aria-pressed': String(s === span), onclick: () => choose({ span: s.name }) }, s.name))))));
  const total = stats.total;
  place.append(attention(total, status));
  if (total.requests === 0) {
    place.append(h('div', { class: 'card' }, empty('No bot has asked yet', h('p', {}, 'Ask as one yourself, and reload this page after ten seconds:'),
      h('p', {}, h('code', {}, `curl -A GPTBot ${list.sites[0]?.origin ?? 'https://www.example.com'}/`)),
      h('p', {}, 'Nothing arrives? See whether the edge sends bots here: ', h('a', { href: address('pages') }, 'ask what a bot would get'), '.'))));
    return;
  }
  place.append(tiles(total));
  const points = filled(stats, nothing), step = stats.step;
  place.append(h('div', { class: 'grid' },
    chart({ title: 'Requests', points, step, kind: 'bars', format: number, series: [
      { name: 'from the store', value: (p) => p.cache.hit }, { name: 'stale, renewed behind', value: (p) => p.cache.stale },
      { name: 'rendered', value: (p) => (p.cache.miss ?? 0) + (p.cache.coalesced ?? 0) }, { name: 'refused', value: (p) => p.cache.refused, colour: 5 }] }),
    chart({ title: 'Time to answer', points, step, kind: 'lines', format: ms, series: [
      { name: 'half of them', value: (p) => p.latency.p50 }, { name: '95 of 100', value: (p) => p.latency.p95, colour: 3 }] }),
    chart({ title: 'Renders', points, step, kind: 'bars', format: number, series: [
      { name: 'complete', value: (p) => p.outcomes.complete }, { name: 'partial', value: (p) => p.outcomes.partial, colour: 3 },
      { name: 'failed', value: (p) => p.renders - (p.outcomes.complete ?? 0) - (p.outcomes.partial ?? 0), colour: 5 }] }),
    chart({ title: 'Money, by AWS prices in us-east-1', points, step, kind: 'bars', format: (n) => (n === 0 ? '$0' : n >= 1 ? `$${n.toFixed(2)}` : `${Number((n * 100).toPrecision(2))} ¢`), series: [
      { name: 'spent', value: (p) => p.money.spent, colour: 3 }, { name: 'saved by the store', value: (p) => p.money.saved, colour: 6 }] })));
  place.append(h('div', { class: 'grid' }, worst('Slowest renders', total.slow, 'Every render was quick enough to be forgotten.', ['Page', 'Slowest'], (p) => [link(p.url), ms(p.ms)]),
    worst('Pages that fail most', total.failing, 'No render has failed.', ['Page', 'Why', 'Times'], (p) => [link(p.url), p.reason, number(p.count)])));
}

const link = (url) => h('a', { href: address('page', { url }) }, url.replace(/^https?:\/\//, ''));

function worst(title, list, none, head, row) {
  return h('section', { class: 'card' }, list.length ? table(title, head, list.map(row), [head.length - 1]) : [h('h2', {}, title), h('p', { class: 'soft' }, none)]);
}

function tiles(t) {
  const tile = (name, value, note) => h('div', { class: 'tile' }, h('dt', {}, name), h('dd', {}, value, h('small', {}, note)));
  const refused = t.cache.refused ?? 0;
  return h('dl', { class: 'tiles' },
    tile('Requests', number(t.requests), `${number(refused)} refused`),
    tile('From the store', percent(t.hitRatio), 'the rest waited for a render'),
    tile('Answered within', ms(t.latency.p95), '95 of 100 requests'),
    tile('Renders', number(t.renders), `${ms(t.renderTime.p50)} each, half of them`),
    tile('Not complete', number(t.renders - (t.outcomes.complete ?? 0)), 'partial or failed renders'),
    tile('Saved', dollars(t.money.saved), `${dollars(t.money.spent)} spent, on AWS`));
}

// attention says in words what an owner should look at, the worst first.
function attention(t, status) {
  const notes = [];
  const note = (mood, ...text) => notes.push(h('li', { class: mood }, ...text));
  for (const fault of status.faults) note('bad', `The service is not well: ${fault}.`);
  const failed = t.renders - (t.outcomes.complete ?? 0) - (t.outcomes.partial ?? 0);
  const most = (counts) => Object.entries(counts).filter(([name]) => name !== 'complete').sort((a, b) => b[1] - a[1])[0]?.[0];
  if (t.renders >= 10 && failed / t.renders > 0.05) note('bad', `${percent(failed / t.renders)} of the renders fail, most of them with “${most(t.outcomes)}”. The pages are listed below.`);
  if (t.renders >= 10 && (t.outcomes.partial ?? 0) / t.renders > 0.05) note('', `${percent(t.outcomes.partial / t.renders)} of the renders are partial: pages wait for ${most(t.partials)} that never end. Bots get what there is, and nothing is stored.`);
  const limited = Object.entries(t.refusals).filter(([name]) => /limit|busy|flood/.test(name)).reduce((sum, [, n]) => sum + n, 0);
  if (limited > 0) note('', `${number(limited)} requests were refused by a limit (${most(t.refusals)}). If they were good bots, raise the site’s limits.`);
  if (t.requests >= 100 && t.hitRatio < 0.5) note('', `Only ${percent(t.hitRatio)} of the answers come from the store. Longer lifetimes, fewer query parameters or warming by sitemap make it more.`);
  if (t.latency.p95 > 5000) note('', `5 of 100 requests wait longer than ${ms(t.latency.p95)}. Link previews give up after about 5 s.`);
  for (const [origin, run] of Object.entries(status.warming ?? {})) {
    if (run.faults?.length) note('', `The last warming of ${origin} had faults: ${run.faults[0]}`);
  }
  if (!notes.length) note('good', t.requests ? 'Nothing needs your attention.' : 'The service is well.');
  return h('section', { class: 'card' }, h('h2', {}, 'What needs attention'), h('ul', { class: 'notes' }, notes));
}
