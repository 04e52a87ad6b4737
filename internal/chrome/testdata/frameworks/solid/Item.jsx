import { createEffect, createResource, For, Show, Suspense } from 'solid-js';
import { A, useParams } from '@solidjs/router';
import { get, head } from '../shop.js';

const sheet = new CSSStyleSheet();
sheet.replaceSync(`
  body { margin: 0; color: rgb(10, 40, 80); }
  .active { background-color: rgb(255, 255, 180); }
  h1 { font-size: 30px; border-top: 1px solid; }
  .related { display: inline-flex; padding-left: 13px; & li { font-size: 12px; } }
`);
document.adoptedStyleSheets.push(sheet);

export default function Item() {
  const params = useParams();
  const [item] = createResource(() => params.id, (id) => get('/items/' + id));
  const [related] = createResource(item, (item) => get(`/items/${item.id}/related`));
  createEffect(() => item() && head(item()));
  return <Suspense fallback={<p>Loading…</p>}><main>
    <h1 data-style="title">{item()?.name}</h1>
    <p data-style="text" style={{ 'padding-left': '4px', color: 'rgb(90, 90, 90)' }}>{item()?.text}</p>
    <Show when={related()}>{(list) => <ul class="related" data-style="list" data-done>
      <For each={list()}>{(r) => <li data-style="entry"><A href={'/items/' + r.id} data-style="link">{r.name}</A></li>}</For>
    </ul>}</Show>
  </main></Suspense>;
}
