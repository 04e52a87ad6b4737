import { ask, get, post } from './api.js';
import { empty, field, h, number, tag, when } from './dom.js';
import { address } from './app.js';

const kinds = { purge: 'Purge', warm: 'Warm', render: 'Render', delete: 'Delete' };
const warmth = { queued: 'to be rendered', fresh: 'fresh already', idle: 'left alone: nobody asks for them', foreign: 'not the site’s', made: 'rendered', deleted: 'deleted' };

export async function jobs(place, app) {
  const [list, status] = await Promise.all([get('/v1/sites', { limit: 1000 }), get('/v1/status')]);
  place.append(h('div', { class: 'head' }, h('div', {}, h('h1', { tabindex: '-1' }, 'Jobs'), h('p', { class: 'lead' }, 'What was ordered, and how far it is. Jobs are remembered for 30 days.'))));
  if (app.may('operator')) place.append(h('div', { class: 'grid' }, purgeForm(app, list.sites, show), warmForm(app, list.sites, show)));
  const runs = Object.entries(status.warming ?? {});
  if (runs.length) {
    place.append(h('section', { class: 'card' }, h('h2', {}, 'Sitemaps, on their schedule'), runs.map(([origin, run]) => h('p', {}, h('strong', {}, origin), ' ',
      run.began?.startsWith('0001') ? 'has not begun yet' : [run.ended ? 'last done ' : 'going on since ', when(run.ended ?? run.began), `: ${counts(run.pages)}`]))));
  }
  const box = h('section', { class: 'card', 'aria-label': 'Jobs' });
  place.append(box);

  let timer;
  app.left.addEventListener('abort', () => clearTimeout(timer));
  async function show() {
    clearTimeout(timer);
    const answer = await app.tried(get('/v1/jobs', { limit: 100 }));
    if (!answer || app.left.aborted) return;
    const focused = box.contains(document.activeElement) && document.activeElement.closest('details')?.dataset.job;
    const opened = new Set([...box.querySelectorAll('details[open]')].map((d) => d.dataset.job));
    box.replaceChildren(answer.jobs.length ? h('div', {}, answer.jobs.map((job) => entry(app, job, show)))
      : empty('No jobs yet', h('p', {}, 'Purge pages after a release that changes them; warm those that bots should find rendered.')));
    for (const d of box.querySelectorAll('details')) {
      if (opened.has(d.dataset.job)) d.open = true;
      if (d.dataset.job === focused) d.querySelector('summary').focus();
    }
    if (answer.jobs.some((job) => job.state === 'queued' || job.state === 'running')) timer = setTimeout(show, 2000);
  }
  await show();
}

const counts = (pages) => Object.entries(pages ?? {}).map(([name, n]) => `${number(n)} ${warmth[name] ?? name}`).join(', ') || 'no pages yet';

function entry(app, job, changed) {
  const order = job.purge ? [job.purge.path || 'all pages', job.purge.tag && `tag ${job.purge.tag}`, job.purge.hard && 'at once', job.purge.again && 'rendered again'].filter(Boolean).join(', ')
    : job.warm ? (job.warm.urls ? `${job.warm.urls.length + (job.warm.more ?? 0)} page${job.warm.urls.length === 1 ? '' : 's'}` : job.warm.sitemaps?.join(', ') ?? 'the site’s sitemaps') : job.page.url;
  const open = job.state === 'queued' || job.state === 'running';
  return h('details', { open, 'data-job': job.id },
    h('summary', {}, `${kinds[job.kind]} `, h('code', {}, job.site), ' ', order, ' ', tag(job.state), h('small', { class: 'soft' }, when(job.createdAt), ` by ${job.actor}`, job.progress && `: ${counts(job.progress.pages)}`)),
    open && h('progress', { 'aria-label': `${kinds[job.kind]} is ${job.state}` }),
    job.progress?.entries > 0 && h('p', {}, `${number(job.progress.entries)} looked at.`),
    job.progress?.faults?.map((fault) => h('p', { class: 'fault' }, fault)),
    job.page && h('p', {}, h('a', { href: address('page', { url: job.page.url }) }, 'See the page')),
    open && app.may('operator') && h('button', { class: 'bad', onclick: async () => { await app.tried(ask('DELETE', `/v1/jobs/${job.id}`)); changed(); } }, 'Cancel'));
}

const chooser = (sites) => h('select', { name: 'site' }, sites.map((s) => h('option', { value: s.origin }, s.origin)));

function purgeForm(app, sites, changed) {
  const site = chooser(sites), path = h('input', { type: 'text', placeholder: '/blog/*' }), tagged = h('input', { type: 'text' });
  const hard = h('input', { type: 'checkbox' }), again = h('input', { type: 'checkbox' });
  const order = (more) => ({ site: site.value, path: path.value.trim(), tag: tagged.value.trim(), hard: hard.checked, again: again.checked, ...more });
  const count = async () => {
    const answer = await app.tried(post('/v1/purges', order({ dryRun: true })));
    if (answer) app.say(`${number(answer.pages)}${answer.complete ? '' : ' or more'} stored pages would be purged.`);
  };
  return h('form', { class: 'card', onsubmit: async (event) => {
    event.preventDefault();
    if (!path.value.trim() && !tagged.value.trim() && !confirm(`Purge all pages of ${site.value}?`)) return;
    if (await app.tried(post('/v1/purges', order()))) { app.say('Purged. All instances notice within ten seconds.'); changed(); }
  } }, h('h2', {}, 'Purge pages'), field('Of the site', site), field('Path', path, 'A * stands for any characters. Empty: all pages.'), field('Tag', tagged, 'As in the pages’ Cache-Tag or Surrogate-Key header. Empty: any.'),
  h('label', { class: 'field check' }, hard, h('span', {}, 'At once: do not answer the old pages while new ones are made')),
  h('label', { class: 'field check' }, again, h('span', {}, 'Render them again now, and not when they are asked for')),
  h('div', { class: 'row' }, h('button', { class: 'main' }, 'Purge'), h('button', { type: 'button', onclick: count }, 'Count them first')));
}

function warmForm(app, sites, changed) {
  const site = chooser(sites), list = h('input', { type: 'text', placeholder: 'https://www.example.com/sitemap.xml' });
  return h('form', { class: 'card', onsubmit: async (event) => {
    event.preventDefault();
    const addresses = list.value.split(/[\s,]+/).filter(Boolean);
    const sitemaps = addresses.filter((a) => /\.(xml|txt)(\.gz)?$/.test(a)), urls = addresses.filter((a) => !sitemaps.includes(a));
    if (sitemaps.length && urls.length) { app.say('Name pages or sitemaps, and not both.', true); return; }
    if (await app.tried(post('/v1/warmings', { site: site.value, ...(sitemaps.length && { sitemaps }), ...(urls.length && { urls }) }))) { app.say('Ordered.'); changed(); }
  } }, h('h2', {}, 'Render pages unasked'), field('Of the site', site), field('Pages, or sitemaps', list, 'Addresses with blanks between them. Empty: the sitemaps in the site’s settings. Pages that are fresh are left as they are.'),
  h('button', { class: 'main' }, 'Warm'));
}
