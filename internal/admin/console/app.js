// The console: which view is shown, and what all views share.

import { enter, leave } from './login.js';
import { h } from './dom.js';
import { overview } from './overview.js';
import { sites, site } from './sites.js';
import { pages, page } from './pages.js';
import { jobs } from './jobs.js';
import { agents } from './agents.js';
import { audit } from './audit.js';
import { tokens } from './tokens.js';

const views = [
  { name: 'overview', title: 'Overview', show: overview },
  { name: 'sites', title: 'Sites', show: sites },
  { name: 'site', show: site, within: 'sites' },
  { name: 'pages', title: 'Pages', show: pages },
  { name: 'page', show: page, within: 'pages' },
  { name: 'jobs', title: 'Jobs', show: jobs },
  { name: 'agents', title: 'Agents', show: agents },
  { name: 'audit', title: 'Audit', show: audit },
  { name: 'tokens', title: 'Tokens', show: tokens, role: 'admin' },
];

const main = document.getElementById('main');
const status = document.getElementById('status');
const ranks = ['nobody', 'viewer', 'operator', 'admin'];

const app = {
  me: undefined,
  may: (role) => ranks.indexOf(app.me.role) >= ranks.indexOf(role),

  // say tells what has come of something.
  say(text, isBad = false) {
    status.textContent = text;
    status.classList.toggle('bad', isBad);
    clearTimeout(app.quiet);
    app.quiet = setTimeout(() => { status.textContent = ''; }, isBad ? 12000 : 6000);
  },

  // tried does something and tells what was wrong with it.
  async tried(promise) {
    try {
      return await promise;
    } catch (error) {
      if (error.status === 401) leave();
      app.say(error.message, true);
      return undefined;
    }
  },

  go(view, query = {}) {
    location.hash = address(view, query);
  },
};

export function address(view, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value);
  return `#/${view}${given.length ? `?${new URLSearchParams(given)}` : ''}`;
}

let stop; // what a view has going on
let isFirst = true; // and nobody has come from elsewhere

async function route() {
  const [name, text] = location.hash.slice(2).split(/\?(.*)/s);
  const view = views.find((v) => v.name === name) ?? views[0];
  stop?.();
  const left = new AbortController();
  stop = () => left.abort();
  for (const link of document.querySelectorAll('#nav a')) {
    if (link.dataset.view === (view.within ?? view.name)) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const place = h('div', {});
  main.replaceChildren(place);
  document.title = `${view.title ?? view.name} · Stillpage`;
  try {
    await view.show(place, { ...app, query: Object.fromEntries(new URLSearchParams(text ?? '')), left: left.signal });
  } catch (error) {
    if (error.status === 401) return leave();
    place.append(h('div', { class: 'card', role: 'alert' }, h('h1', { tabindex: '-1' }, 'This cannot be shown'), h('p', {}, error.message)));
  }
  main.setAttribute('data-ready', view.name);
  if (!isFirst) main.querySelector('h1')?.focus();
  isFirst = false;
  return undefined;
}

async function start() {
  app.me = await enter(main);
  if (!app.me) return;
  document.body.classList.remove('out');
  document.getElementById('bar').hidden = false;
  document.getElementById('nav').replaceChildren(...views.filter((v) => v.title && (!v.role || app.may(v.role))).map((v) => h('li', {}, h('a', { href: address(v.name), 'data-view': v.name }, v.title))));
  document.getElementById('who').replaceChildren(app.me.name, h('br', {}), h('small', {}, app.me.role), ' ', h('button', { onclick: leave }, 'Log out'));
  addEventListener('hashchange', () => { main.removeAttribute('data-ready'); route(); });
  route();
}

start().catch((error) => main.replaceChildren(h('div', { class: 'card', role: 'alert' }, h('h1', {}, 'Stillpage does not answer'), h('p', {}, error.message))));
