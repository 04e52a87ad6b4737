// Speaks to the API, and knows who asks. What says who it is lives as long as the tab: in
// sessionStorage, and in no cookie, so no other site's page can send it.

const slot = 'stillpage-token';

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? `The answer was ${status}.`);
    this.status = status;
    this.faults = body.faults ?? [];
  }
}

export const token = {
  get: () => sessionStorage.getItem(slot),
  set: (text) => (text ? sessionStorage.setItem(slot, text) : sessionStorage.removeItem(slot)),
};

// ask sends a request and returns its answer; of one that is no JSON, the text.
export async function ask(method, path, { body, headers = {}, raw = false } = {}) {
  const options = { method, headers: { ...headers } };
  if (token.get()) options.headers.Authorization = `Bearer ${token.get()}`;
  if (body !== undefined) {
    options.headers['Content-Type'] = 'application/json';
    options.body = typeof body === 'string' ? body : JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Problem(0, { detail: 'Stillpage does not answer. Is it running, and are you online?' });
  }
  const text = await answer.text();
  const isJSON = /json$/.test((answer.headers.get('Content-Type') ?? '').split(';')[0]);
  if (!answer.ok) {
    let problem = {};
    try { problem = JSON.parse(text); } catch { problem.detail = text.slice(0, 300); }
    if (!problem.detail && problem.message) problem.detail = problem.message; // API Gateway's own
    throw new Problem(answer.status, problem);
  }
  const value = isJSON && text ? JSON.parse(text) : text;
  return raw ? { value, headers: answer.headers, status: answer.status } : value;
}

export const get = (path, query) => ask('GET', withQuery(path, query));

export function withQuery(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '' && value !== null);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

// post sends an order once, however often the button was pressed in its time.
export const post = (path, body) => ask('POST', path, { body, headers: { 'Idempotency-Key': crypto.randomUUID() } });
