// Makes a form of a JSON Schema: it knows what Stillpage's schema of a site uses. Every
// setting is explained by the schema's own words; what is left empty is not written.

import { h } from './dom.js';

const escape = (name) => name.replace(/~/g, '~0').replace(/\//g, '~1');

export function form(schema, start, changed) {
  const state = { document: start };
  const element = h('div', {});
  const places = new Map(); // pointer → { input, fault }

  // resolve follows $ref; what is beside it goes before.
  const resolve = (part) => (part.$ref ? { ...resolve(part.$ref.slice(2).split('/').reduce((at, name) => at[name], schema)), ...part, $ref: undefined } : part);

  const read = (pointer) => pointer.split('/').slice(1).reduce((at, name) => at?.[name.replace(/~1/g, '/').replace(/~0/g, '~')], state.document);

  // write sets a value; objects that have become empty are left out, unless they must be there.
  function write(pointer, value) {
    const names = pointer.split('/').slice(1).map((name) => name.replace(/~1/g, '/').replace(/~0/g, '~'));
    const set = (at, [name, ...rest]) => {
      const copy = Array.isArray(at) ? [...at] : { ...at };
      const next = rest.length ? set(copy[name] ?? {}, rest) : value;
      const isEmpty = next === undefined || (rest.length && next && typeof next === 'object' && !Array.isArray(next) && !Object.keys(next).length && !Array.isArray(copy));
      if (isEmpty && !Array.isArray(copy)) delete copy[name];
      else copy[name] = next;
      return copy;
    };
    state.document = set(state.document, names);
    changed(state.document);
  }

  function draw() {
    places.clear();
    element.replaceChildren(...Object.entries(schema.properties).map(([name, part]) => control(`/${escape(name)}`, resolve(part), schema.required?.includes(name), 0)));
  }

  function control(pointer, part, required, depth, inherited) {
    if (inherited !== undefined) part = { ...part, default: inherited };
    if (part.type === 'object' && part.properties) return group(pointer, part, depth);
    if (part.type === 'array' && resolve(part.items).type === 'object') return list(pointer, part, depth);
    const fault = h('p', { class: 'fault', id: `fault-${pointer}` });
    const value = read(pointer);
    const input = inputFor(pointer, part, value, required);
    input.id = `in-${pointer}`;
    input.setAttribute('aria-describedby', `help-${pointer} fault-${pointer}`);
    places.set(pointer, { input, fault });
    const help = h('small', { id: `help-${pointer}` }, part.description, part.default !== undefined && part.type !== 'boolean' && ` Default: ${plain(part.default)}.`);
    if (part.type === 'boolean') return h('div', { class: 'field' }, h('div', { class: 'check' }, input, h('label', { for: input.id }, h('span', {}, part.title))), help, fault);
    return h('div', { class: 'field' }, h('label', { for: input.id }, h('span', {}, part.title)), input, help, fault);
  }

  const plain = (value) => (typeof value === 'object' ? Object.entries(value).map(([name, v]) => `${name} ${v}`).join(', ') : String(value));

  function inputFor(pointer, part, value, required) {
    if (part.type === 'boolean') return h('input', { type: 'checkbox', checked: value === true, onchange: (event) => write(pointer, event.target.checked || undefined) });
    if (part.enum) {
      return h('select', { onchange: (event) => write(pointer, event.target.value || undefined) }, h('option', { value: '' }, `default (${part.default})`), part.enum.map((name) => h('option', { value: name, selected: name === value }, name)));
    }
    if (part.type === 'array') {
      return h('input', { type: 'text', value: value?.join(', ') ?? '', placeholder: part.examples?.[0]?.join(', '), oninput: (event) => {
        const items = event.target.value.split(',').map((item) => item.trim()).filter(Boolean);
        write(pointer, items.length ? items : undefined);
      } });
    }
    if (part.type === 'integer' || part.type === 'number') {
      return h('input', { type: 'number', step: part.type === 'number' ? 'any' : 1, min: part.minimum, max: part.maximum, value: value ?? '', placeholder: part.default, oninput: (event) => write(pointer, event.target.value === '' ? undefined : Number(event.target.value)) });
    }
    return h('input', { type: 'text', value: value ?? '', required, placeholder: part.default ?? part.examples?.[0], oninput: (event) => write(pointer, event.target.value || undefined) });
  }

  function group(pointer, part, depth) {
    const inside = Object.entries(part.properties).map(([name, sub]) => control(`${pointer}/${escape(name)}`, resolve(sub), part.required?.includes(name), depth + 1, part.default?.[name]));
    const help = part.description && h('p', { class: 'soft' }, part.description);
    const fault = h('p', { class: 'fault' });
    places.set(pointer, { fault });
    if (depth > 0) return h('fieldset', {}, h('legend', {}, part.title), help, inside, fault);
    const isSet = read(pointer) !== undefined;
    return h('details', { open: isSet }, h('summary', {}, part.title, isSet && h('small', { class: 'soft' }, 'set')), help, inside, fault);
  }

  function list(pointer, part, depth) {
    const values = read(pointer) ?? [];
    const item = resolve(part.items);
    const items = values.map((value, i) => h('fieldset', {}, h('legend', {}, value.path || `Entry ${i + 1}`),
      Object.entries(item.properties).map(([name, sub]) => control(`${pointer}/${i}/${escape(name)}`, resolve(sub), item.required?.includes(name), name === 'path' ? depth : 0)),
      h('button', { type: 'button', class: 'bad', onclick: () => { const rest = values.filter((_, n) => n !== i); write(pointer, rest.length ? rest : undefined); draw(); } }, 'Remove')));
    const fault = h('p', { class: 'fault' });
    places.set(pointer, { fault });
    return h('details', { open: values.length > 0 }, h('summary', {}, part.title, values.length > 0 && h('small', { class: 'soft' }, `${values.length}`)), h('p', { class: 'soft' }, part.description), items, fault,
      h('button', { type: 'button', onclick: () => { write(pointer, [...values, { path: '/' }]); draw(); } }, 'Add a path'));
  }

  draw();
  return {
    element,
    set(document) { state.document = document; draw(); },

    // faults shows each where it belongs, or at the nearest part around it.
    faults(all) {
      for (const { input, fault } of places.values()) { fault.textContent = ''; input?.removeAttribute('aria-invalid'); }
      for (const { pointer, detail } of all) {
        let at = pointer;
        while (at && !places.has(at)) at = at.slice(0, at.lastIndexOf('/'));
        const known = places.get(at);
        if (!known) continue;
        known.fault.textContent = `${known.fault.textContent} ${detail}`.trim();
        known.input?.setAttribute('aria-invalid', 'true');
        known.fault.closest('details')?.setAttribute('open', '');
      }
    },
  };
}
