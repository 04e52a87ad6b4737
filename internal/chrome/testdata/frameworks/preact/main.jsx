// Preact: CSS modules, lazy routes of preact-iso.
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ErrorBoundary, LocationProvider, Route, Router, lazy } from 'preact-iso';
import { get, head } from '../shop.js';
import styles from './item.module.css';

function Item({ id }) {
  const [item, setItem] = useState();
  const [related, setRelated] = useState([]);
  useEffect(() => {
    (async () => {
      const item = await get('/items/' + id);
      setItem(item);
      head(item);
      setRelated(await get(`/items/${id}/related`));
    })();
  }, [id]);
  if (!item) return <p>Loading…</p>;
  return <main>
    <h1 class={styles.title} data-style="title">{item.name}</h1>
    <p class={styles.text} data-style="text" dangerouslySetInnerHTML={{ __html: item.html }} />
    {related.length > 0 && <ul class={styles.list} data-style="list" data-done>
      {related.map((r) => <li key={r.id} data-style="entry"><a href={'/items/' + r.id} data-style="link">{r.name}</a></li>)}
    </ul>}
  </main>;
}

const Home = lazy(async () => () => <p>Home</p>);
render(<LocationProvider><ErrorBoundary><Router><Route path="/" component={Home} /><Route path="/items/:id" component={Item} /></Router></ErrorBoundary></LocationProvider>, document.getElementById('app'));
