// The page that every renderer of the comparison is given: a shop's item, which
// is fetched first, and its related items, which are fetched after it. The
// element "done" appears with the last of them.
import { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { BrowserRouter, Link, Route, Routes, useParams } from 'react-router-dom';
import styled from 'styled-components';

const Page = styled.main`font-family: sans-serif; max-width: 1100px; margin: 0 auto;`;
const Grid = styled.ul`display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; list-style: none; padding: 0;`;
const Card = styled.li`border: 1px solid #ddd; border-radius: 6px; padding: 13px; display: flex; flex-direction: column; gap: 4px;`;
const Price = styled.strong`color: #a40;`;

async function get(path) {
  const answer = await fetch('/api' + path);
  return answer.json();
}

function Item() {
  const { id } = useParams();
  const [item, setItem] = useState(null);
  const [related, setRelated] = useState(null);
  useEffect(() => {
    (async () => {
      const found = await get('/items/' + id);
      document.title = found.name;
      setItem(found);
      setRelated(await get('/items/' + id + '/related'));
    })();
  }, [id]);
  if (!item) return <p>Loading…</p>;
  return (
    <Page>
      <h1>{item.name}</h1>
      <img src={'/img/' + id + '.png'} width="300" height="200" alt={item.name} />
      <Price>{item.price}</Price>
      <p>{item.text}</p>
      {related && (
        <Grid id="done">
          {related.map((r) => (
            <Card key={r.id}>
              <Link to={'/items/' + r.id}>{r.name}</Link>
              <Price>{r.price}</Price>
              <span>{r.text}</span>
            </Card>
          ))}
        </Grid>
      )}
    </Page>
  );
}

createRoot(document.getElementById('root')).render(
  <BrowserRouter>
    <Routes>
      <Route path="/items/:id" element={<Item />} />
    </Routes>
  </BrowserRouter>,
);
