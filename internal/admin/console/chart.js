// Draws series as SVG, with the same numbers as a table for who would rather read them.

import { h, ms, percent, svg, table } from './dom.js';

const width = 640, height = 210, left = 58, bottom = 22, top = 10;

// steps returns round numbers up to at least most.
function steps(most) {
  if (most <= 0) return [0, 1];
  const raw = most / 4, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= raw);
  return Array.from({ length: Math.ceil(most / step) + 1 }, (_, i) => i * step);
}

const short = (at, step) => (step === 'day' ? at.toLocaleDateString(undefined, { day: 'numeric', month: 'short' }) : at.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }));

// chart draws a bar or a line for each series over the points of time.
// series: [{ name, value: (point) => number }], kind: "bars" (on top of each other) or "lines".
export function chart({ title, points, step, series, kind, format }) {
  const values = points.map((point) => series.map((s) => s.value(point) ?? 0));
  const sums = values.map((list) => (kind === 'bars' ? list.reduce((a, b) => a + b, 0) : Math.max(...list)));
  const marks = steps(Math.max(0, ...sums)), most = marks.at(-1);
  const x = (i) => left + ((width - left) * i) / points.length;
  const y = (value) => top + (height - top - bottom) * (1 - value / most);
  const picture = svg('svg', { class: 'chart', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `${title}. The numbers are in the table below.` });
  for (const mark of marks) {
    picture.append(svg('line', { class: 'grid-line', x1: left, x2: width, y1: y(mark), y2: y(mark) }), svg('text', { x: left - 6, y: y(mark) + 4, 'text-anchor': 'end' }, format(mark)));
  }
  const every = Math.ceil(points.length / 8);
  points.forEach((point, i) => {
    if (i % every === 0) picture.append(svg('text', { x: x(i + 0.5), y: height - 6, 'text-anchor': 'middle' }, short(point.at, step)));
  });
  if (kind === 'bars') bars(picture, points, values, x, y, series, step, format);
  else lines(picture, values, x, y, series);
  return h('section', { class: 'card' }, h('h2', {}, title), h('div', { class: 'scroll' }, picture), legend(series), data(title, points, values, series, step, format));
}

function bars(picture, points, values, x, y, series, step, format) {
  const gap = points.length > 60 ? 0.5 : 2;
  values.forEach((list, i) => {
    let sum = 0;
    const group = svg('g', {}, svg('title', {}, `${points[i].at.toLocaleString()}: ${series.map((s, n) => `${s.name} ${format(list[n])}`).join(', ')}`));
    list.forEach((value, n) => {
      if (value > 0) group.append(svg('rect', { class: `s${series[n].colour ?? n + 1}`, x: x(i) + gap / 2, width: Math.max(0.5, x(1) - x(0) - gap), y: y(sum + value), height: Math.max(0, y(sum) - y(sum + value)) }));
      sum += value;
    });
    picture.append(group);
  });
}

function lines(picture, values, x, y, series) {
  series.forEach((s, n) => {
    let path = '', up = true;
    values.forEach((list, i) => { // a gap where nothing was asked
      path += list[n] > 0 ? `${up ? 'M' : 'L'}${x(i + 0.5).toFixed(1)} ${y(list[n]).toFixed(1)}` : '';
      up = !(list[n] > 0);
      if (list[n] > 0 && !(values[i - 1]?.[n] > 0) && !(values[i + 1]?.[n] > 0)) picture.append(svg('circle', { class: `s${s.colour ?? n + 1}`, cx: x(i + 0.5), cy: y(list[n]), r: 3 }));
    });
    picture.append(svg('path', { class: `s${s.colour ?? n + 1}`, d: path, 'stroke-linecap': 'round' }));
  });
}

function legend(series) {
  return h('ul', { class: 'legend' }, series.map((s, n) => h('li', {}, svg('svg', { viewBox: '0 0 10 10', 'aria-hidden': 'true' }, svg('rect', { class: `s${s.colour ?? n + 1}`, width: 10, height: 10, rx: 2 })), s.name)));
}

function data(title, points, values, series, step, format) {
  return h('details', { class: 'chart-data' }, h('summary', {}, 'The numbers'),
    table('', [step === 'day' ? 'Day' : 'Hour', ...series.map((s) => s.name)], points.map((point, i) => [point.at.toLocaleString(), ...values[i].map(format)]), series.map((_, n) => n + 1)));
}

// filled returns a point for every step, with nothing in those that are left out.
export function filled(stats, nothing) {
  const length = stats.step === 'day' ? 86400e3 : 3600e3;
  const known = new Map(stats.points.map((point) => [Date.parse(point.at), point]));
  const points = [];
  for (let at = Math.floor(Date.parse(stats.from) / length) * length + length; at <= Date.parse(stats.to); at += length) {
    points.push({ ...nothing, ...known.get(at), at: new Date(at) });
  }
  return points;
}

// ranked draws one bar for each of the largest counts.
export function ranked(title, counts, name = (key) => key) {
  const of = (value) => value.requests ?? value;
  const list = Object.entries(counts).sort((a, b) => of(b[1]) - of(a[1])).slice(0, 20).map(([key, value]) => [key, of(value), value]);
  const most = Math.max(1, ...list.map(([, n]) => n)), all = list.reduce((sum, [, n]) => sum + n, 0);
  const more = list[0]?.[2].requests !== undefined ? ['Stored', 'p95'] : [];
  return table(title, ['', 'Share', 'Requests', ...more], list.map(([key, n, value]) => [name(key),
    svg('svg', { viewBox: '0 0 200 12', width: 130, height: 12, role: 'img', 'aria-label': `${Math.round((100 * n) / all)} %` }, svg('rect', { class: 's1', width: Math.max(2, (200 * n) / most), height: 12, rx: 3 })), n.toLocaleString(), ...(more.length ? [percent(value.hitRatio), ms(value.latency.p95)] : [])]), [2, 3, 4]);
}

// timeline draws when each request of a page was on its way.
export function timeline(phases, requests) {
  const shown = requests.slice(0, 40), row = 17;
  const end = Math.max(1, ...shown.map((r) => r.endMs), phases.reduce((sum, p) => sum + p.ms, 0));
  const x = (at) => 250 + (380 * at) / end, tall = (shown.length + 2) * row + 24;
  const picture = svg('svg', { class: 'chart wide', viewBox: `0 0 ${width} ${tall}`, role: 'img', 'aria-label': 'When each part of the render and each request began and ended. The numbers are in the table below.' });
  let at = 0;
  phases.forEach((phase, n) => {
    picture.append(svg('rect', { class: `s${(n % 4) + 1}`, x: x(at), y: 4, width: Math.max(1, x(at + phase.ms) - x(at)), height: row - 5, rx: 3 }, svg('title', {}, `${phase.name}: ${Math.round(phase.ms)} ms`)));
    at += phase.ms;
  });
  picture.append(svg('text', { x: 0, y: 14 }, 'The render'));
  shown.forEach((r, i) => {
    const y = (i + 1.4) * row, stop = r.endMs || end;
    const name = r.url.replace(/^https?:\/\/[^/]+/, '') || r.url;
    picture.append(svg('text', { x: 0, y: y + 10 }, name.length > 40 ? `…${name.slice(-39)}` : name),
      svg('rect', { class: r.failed ? 's5' : r.kind === 'Document' ? 's1' : r.kind === 'Script' ? 's3' : 's6', x: x(r.startMs), y, width: Math.max(1.5, x(stop) - x(r.startMs)), height: row - 6, rx: 3 },
        svg('title', {}, `${r.kind} ${r.url}: ${r.failed || r.status}, ${Math.round(r.startMs)} to ${r.endMs ? Math.round(r.endMs) : '…'} ms`)));
  });
  for (const mark of steps(end)) if (mark <= end) picture.append(svg('text', { x: x(mark), y: tall - 4, 'text-anchor': 'middle' }, `${Math.round(mark)} ms`));
  return h('div', {}, h('div', { class: 'scroll' }, picture), h('details', { class: 'chart-data' }, h('summary', {}, 'The numbers'),
    table('', ['Request', 'Kind', 'From, ms', 'To, ms', 'Status', 'Bytes'], requests.map((r) => [r.url, r.kind, Math.round(r.startMs), r.endMs ? Math.round(r.endMs) : 'had not ended', r.failed || r.status, r.bytes]), [2, 3, 5])));
}
