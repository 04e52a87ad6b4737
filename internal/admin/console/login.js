// Finds out who asks: by a token, or by the OpenID Connect issuer with PKCE (RFC 7636).

import { ask, token } from './api.js';
import { h, field } from './dom.js';

const flow = 'stillpage-login'; // what a login that is on its way needs afterwards

const encode = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
const random = () => encode(crypto.getRandomValues(new Uint8Array(32)));
const home = () => `${location.origin}/`;

async function endpoints(login) {
  const answer = await fetch(`${login.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
  if (!answer.ok) throw new Error(`The issuer ${login.issuer} answers ${answer.status}.`);
  return answer.json();
}

async function begin(login) {
  const { authorization_endpoint: address } = await endpoints(login);
  const verifier = random(), state = random(), nonce = random();
  sessionStorage.setItem(flow, JSON.stringify({ verifier, state, nonce, view: location.hash }));
  const challenge = encode(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier)));
  location.assign(`${address}?${new URLSearchParams({
    response_type: 'code', client_id: login.clientId, redirect_uri: home(), scope: 'openid email', state, nonce,
    code_challenge: challenge, code_challenge_method: 'S256',
  })}`);
}

// finish takes the code that the issuer has sent back, if it has.
async function finish(login) {
  const query = new URLSearchParams(location.search);
  const stored = sessionStorage.getItem(flow);
  if (!query.has('state') || !stored) return;
  const { verifier, state, nonce, view } = JSON.parse(stored);
  sessionStorage.removeItem(flow);
  history.replaceState(null, '', `/${view}`);
  if (query.get('state') !== state) throw new Error('The answer of the issuer belongs to another login. Log in again.');
  if (!query.has('code')) throw new Error(`The issuer says: ${query.get('error_description') ?? query.get('error')}`);
  const { token_endpoint: address } = await endpoints(login);
  const answer = await fetch(address, { method: 'POST', body: new URLSearchParams({
    grant_type: 'authorization_code', code: query.get('code'), redirect_uri: home(), client_id: login.clientId, code_verifier: verifier,
  }) });
  const tokens = await answer.json();
  if (!answer.ok || !tokens.id_token) throw new Error(`The issuer says: ${tokens.error_description ?? tokens.error ?? answer.status}`);
  const claims = JSON.parse(atob(tokens.id_token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')));
  if (claims.nonce !== nonce) throw new Error('The token of the issuer belongs to another login. Log in again.');
  token.set(tokens.id_token);
}

// enter returns who asks, or undefined and shows how to log in.
export async function enter(main) {
  const login = await ask('GET', '/v1/login');
  const shared = new URLSearchParams(location.hash.slice(1)).get('token'); // of `stillpage serve`
  if (shared) {
    history.replaceState(null, '', '/');
    if (login.mode === 'token' && !token.get()) token.set(shared); // nobody else is put in somebody's place
  }
  let fault = '';
  try {
    if (login.mode === 'oidc') await finish(login);
    if (token.get()) return await ask('GET', '/v1/me');
  } catch (error) {
    token.set('');
    fault = error.message;
  }
  document.body.classList.add('out');
  main.replaceChildren(h('div', { class: 'login' },
    h('p', { class: 'brand' }, h('img', { src: '/console/icon.svg', alt: '', width: 34, height: 34 }), 'Stillpage'),
    h('div', { class: 'card' }, h('h1', {}, 'Log in'), form(login, fault))));
  main.querySelector('input, button')?.focus();
  return undefined;
}

function form(login, fault) {
  const wrong = fault && h('p', { class: 'fault', role: 'alert' }, fault);
  if (login.mode === 'oidc') {
    const button = h('button', { class: 'main', onclick: () => begin(login).catch((error) => button.after(h('p', { class: 'fault', role: 'alert' }, error.message))) }, `Log in with ${new URL(login.issuer).host}`);
    return [wrong, h('p', { class: 'soft' }, 'Your organisation says who you are, and what you may do here.'), button];
  }
  if (login.mode === 'iam') {
    return [h('p', {}, 'This installation takes requests that are signed with AWS credentials, which a browser does not have.'),
      h('p', {}, 'Use the command, such as ', h('code', {}, `stillpage stats --api ${location.origin}`), ', or deploy with CreateUserPool or JwtIssuer to log in here.')];
  }
  const input = h('input', { type: 'password', autocomplete: 'off', name: 'token', required: true });
  return h('form', { onsubmit: (event) => { event.preventDefault(); token.set(input.value.trim()); location.reload(); } },
    wrong, field('Token', input, 'It is in the file admin-token of the data directory of stillpage serve, which shows it at its start if it has no such directory, and at its first start on a terminal.'),
    h('button', { class: 'main' }, 'Log in'));
}

export function leave() {
  token.set('');
  location.assign('/');
}
