import { ask, get, post } from './api.js';
import { timeline } from './chart.js';
import { ago, empty, field, h, host, number, table, tag, when } from './dom.js';
import { address } from './app.js';

// pages lists what is stored of a site, and asks what a bot would get for any address.
export async function pages(place, app) {
  const list = await get('/v1/sites', { limit: 1000 });
  const hosts = list.sites.map((s) => host(s.origin));
  const site = app.query.site ?? hosts[0] ?? '';
  const url = h('input', { type: 'url', required: true, placeholder: `${list.sites[0]?.origin ?? 'https://www.example.com'}/page` });
  place.append(h('h1', { tabindex: '-1' }, 'Pages'), h('p', { class: 'lead' }, 'What a bot gets for an address, and what is stored.'),
    h('form', { class: 'card row', onsubmit: (event) => { event.preventDefault(); app.go('page', { url: url.value }); } }, field('What would a bot get for', url), h('button', { class: 'main' }, 'Look')));
  if (!site) {
    place.append(h('div', { class: 'card' }, empty('There is no site yet', h('p', {}, h('a', { href: address('site') }, 'Make one'), ' to have its pages rendered.'))));
    return;
  }
  const choose = h('select', {}, hosts.map((name) => h('option', { value: name, selected: name === site }, name)));
  const search = h('input', { type: 'text', value: app.query.q ?? '', placeholder: '/blog/' });
  const state = h('select', {}, ['', 'fresh', 'stale', 'purged'].map((name) => h('option', { value: name, selected: name === app.query.state }, name || 'any')));
  const box = h('section', { class: 'card' });
  place.append(h('form', { class: 'card', onsubmit: (event) => { event.preventDefault(); app.go('pages', { site: choose.value, q: search.value, state: state.value }); } },
    h('div', { class: 'row' }, field('Site', choose), field('Search', search), field('State', state), h('button', {}, 'Search'))), box);
  const rows = [];
  await more();
  async function more(cursor) {
    const answer = await get('/v1/pages', { site, q: app.query.q, state: app.query.state, cursor, limit: 100 });
    rows.push(...answer.pages.map((p) => [h('a', { href: address('page', { url: p.url, device: p.device, language: p.language }) }, p.url.replace(/^https?:\/\/[^/]+/, '') || '/'),
      [p.device, p.language].filter(Boolean).join(', '), tag(p.state), String(p.status), when(p.renderedAt), `${number(Math.ceil(p.size / 1024))} kB`]));
    box.replaceChildren(rows.length ? table('', ['Page', 'For', 'State', 'Status', 'Rendered', 'HTML'], rows, [5])
      : empty('Nothing is stored here', h('p', {}, 'Pages are stored when a bot asks for them, or ', h('a', { href: address('jobs') }, 'when you have them warmed'), '.')));
    if (answer.next) box.append(h('button', { onclick: () => app.tried(more(answer.next)) }, rows.length ? 'More' : 'Look further'));
  }
}

const known = [['GPTBot', 'GPTBot/1.2'], ['Googlebot', 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)'],
  ['Googlebot, as a phone', 'Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Mobile Safari/537.36 (compatible; Googlebot/2.1)'],
  ['Slack', 'Slackbot-LinkExpanding 1.0'], ['ClaudeBot', 'ClaudeBot/1.0'], ['A person', 'Mozilla/5.0 (X11; Linux x86_64) Chrome/130.0']];

// page is all about one address.
export async function page(place, app) {
  const { url = '', device = '', language = '' } = app.query;
  if (!/^https?:\/\//.test(url)) throw new Error('This is not the address of a page.');
  const name = { url, ...(device && { device }), ...(language && { language }) };
  const agent = h('select', {}, known.map(([title, value]) => h('option', { value }, title)));
  const answer = h('section', { class: 'card', 'aria-live': 'polite' });
  const stored = h('div', {}), compared = h('div', { 'aria-live': 'polite' });
  const act = (title, does, mood) => h('button', { class: mood, onclick: async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    await app.tried(does());
    button.disabled = false;
  } }, title);
  place.append(h('div', { class: 'head' }, h('div', {}, h('h1', { tabindex: '-1' }, url.replace(/^https?:\/\//, '')), h('p', { class: 'lead' }, h('a', { href: url, rel: 'noreferrer' }, 'Open the page itself'))),
    app.may('operator') && h('div', { class: 'row' }, act('Compare with a new render', compare, 'main'), act('Render now', render), act('Purge', purge), act('Delete', remove, 'bad'))),
  answer, compared, stored);
  agent.addEventListener('change', () => app.tried(explain()));
  let isStored = false;
  await look();

  async function look() {
    await explain();
    await frame();
  }

  async function explain() {
    const e = await get('/v1/pages/explanation', { url, agent: agent.value, language });
    isStored = Boolean(e.stored);
    answer.replaceChildren(h('div', { class: 'row' }, h('h2', {}, 'What would it get now?'), field('Agent', agent)),
      h('p', {}, tag(e.would === 'hit' ? 'hit' : e.would), ' ', e.because.join(' ')),
      e.stored && table('', ['Stored for', 'State', 'Status', 'Rendered', 'HTML', 'Text', 'Links'], [[[e.device, e.language].filter(Boolean).join(', '), tag(e.stored.state), String(e.stored.status), `${ago(e.stored.ageSeconds)} ago`,
        `${number(e.stored.size)} bytes`, e.stored.content ? `${number(e.stored.content.text)} characters` : '', e.stored.content ? number(e.stored.content.links) : '']]),
      e.stored && h('details', {}, h('summary', {}, 'Headers and key'), h('p', {}, h('code', {}, e.key)), table('', ['Header', 'Value'], Object.entries(e.stored.header))));
  }

  async function frame() {
    if (!isStored) {
      stored.replaceChildren();
      return;
    }
    let made;
    try {
      made = await ask('POST', '/v1/frames', { body: name });
    } catch (error) {
      stored.replaceChildren(h('section', { class: 'card' }, h('p', { class: 'soft' }, error.message))); // another device's page is stored
      return;
    }
    stored.replaceChildren(h('section', { class: 'card' }, h('h2', {}, 'The stored page, as a bot reads it'),
      h('iframe', { sandbox: '', src: made.address, title: 'The stored page, without scripts', referrerpolicy: 'no-referrer' }),
      h('p', {}, h('button', { onclick: () => app.tried(source()) }, 'Show its HTML'))));
  }

  async function source() {
    const text = await get('/v1/pages/html', { url, device, language });
    stored.querySelector('section').append(h('pre', { class: 'card', tabindex: '0' }, text));
  }

  async function render() {
    const job = await post('/v1/renders', { url });
    app.say(job.state === 'done' ? 'Rendered and stored.' : `It could not be rendered: ${job.progress.faults?.join(' ')}`, job.state !== 'done');
    await look();
  }

  async function purge() {
    const at = new URL(url);
    await post('/v1/purges', { site: at.origin, path: at.pathname });
    app.say('Purged, with all its queries: it is rendered again when it is asked for next.');
    await explain();
  }

  async function remove() {
    if (!confirm(`Delete what is stored of ${url}?`)) return;
    await ask('DELETE', `/v1/pages?${new URLSearchParams({ url })}`);
    app.say('Deleted.');
    await look();
  }

  async function compare() {
    compared.replaceChildren(h('div', { class: 'card' }, h('p', {}, 'A browser is looking at the page as a person does, and at what a bot gets. That takes some seconds.'), h('progress', { 'aria-label': 'Rendering' })));
    try {
      compared.replaceChildren(...comparison(await ask('POST', '/v1/comparisons', { body: name })));
    } catch (error) {
      compared.replaceChildren(h('div', { class: 'card' }, h('p', { class: 'fault' }, error.message)));
    }
  }
}

function comparison(c) {
  const shot = (title, view) => h('figure', {}, h('figcaption', {}, title), h('div', { class: 'shot', tabindex: '0', role: 'group', 'aria-label': title },
    view.picture ? h('img', { src: `data:image/jpeg;base64,${view.picture}`, alt: `${title}: the page in a browser` }) : h('p', { class: 'empty' }, 'There is no picture.')));
  return [
    h('section', { class: 'card' }, h('h2', {}, 'What stands out'), h('ul', { class: 'notes' }, c.findings.length ? c.findings.map((text) => h('li', {}, text)) : h('li', { class: 'good' }, 'Nothing: the bot gets what a person sees.'))),
    h('section', { class: 'card' }, h('div', { class: 'pair' }, shot('A person sees', c.person), shot('The bot gets', c.bot))),
    diff('The text, person and bot', c.text, 'only a person sees it', 'only the bot gets it'),
    c.same ? h('section', { class: 'card' }, h('p', {}, 'The new render has the same bytes as the stored page.')) : c.stored.length > 0 && diff('The HTML, stored and new', c.stored, 'only in the stored page', 'only in the new render'),
    h('section', { class: 'card' }, h('h2', {}, 'The render'), h('p', { class: 'soft' }, `Status ${c.status}, ${number(c.htmlBytes)} bytes of HTML, ${c.requests.length} requests. The page was taken because ${c.ended}.`), timeline(c.phases, c.requests)),
    h('div', { class: 'grid' }, h('section', { class: 'card' }, table('Meta', ['Name', 'A person', 'The bot'], both(c.person.meta, c.bot.meta))), h('section', { class: 'card' }, table('Links of the head', ['Rel', 'A person', 'The bot'], both(c.person.links, c.bot.links)),
      h('h3', {}, 'Structured data that the bot gets'), c.person.structured.length !== c.bot.structured.length && h('p', { class: 'fault' }, `A person’s page has ${c.person.structured.length} blocks of it.`), c.bot.structured.length ? c.bot.structured.map((text) => h('pre', {}, pretty(text))) : h('p', { class: 'soft' }, 'None.'))),
    c.console.length > 0 && h('section', { class: 'card' }, h('h2', {}, 'Errors in the page’s console'), c.console.map((text) => h('p', {}, h('code', {}, text)))),
  ].filter(Boolean);
}

// both puts what a person and the bot have under one name beside each other.
function both(person, bot) {
  const names = [...new Set([...person, ...bot].map(([name]) => name))];
  const of = (list, name) => list.filter(([n]) => n === name).map(([, value]) => value).join(', ');
  return names.map((name) => (of(person, name) === of(bot, name) ? [name, 'the same', of(bot, name)] : [name, of(person, name) || '—', h('strong', {}, of(bot, name) || '—')]));
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

function diff(title, list, minus, plus) {
  const differs = list.some((line) => line.mark !== ' ');
  return h('section', { class: 'card' }, h('h2', {}, title), differs ? [h('ul', { class: 'legend' }, h('li', {}, `− ${minus}`), h('li', {}, `+ ${plus}`)),
    h('ul', { class: 'diff', tabindex: '0', 'aria-label': title }, list.map((line) => h('li', { class: { '-': 'minus', '+': 'plus' }[line.mark] }, `${line.mark.replace('-', '−')} ${line.text}`)))]
    : h('p', { class: 'soft' }, 'They are the same.'));
}

