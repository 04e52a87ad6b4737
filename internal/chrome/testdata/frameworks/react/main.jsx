// React: its own head elements, styled-components, a layout route.
import { StrictMode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { BrowserRouter, Link, NavLink, Outlet, Route, Routes, useParams } from 'react-router-dom';
import styled, { createGlobalStyle, css, keyframes } from 'styled-components';
import { get } from '../shop.js';

const Global = createGlobalStyle`body { margin: 0; color: rgb(20, 20, 30); } a { color: rgb(0, 60, 160); }`;
const appear = keyframes`from { padding-left: 21px; } to { padding-left: 21px; }`;
const Title = styled.h1`
  font-size: ${(props) => props.$size}px; padding-left: 12px; border-top: 3px solid;
  @media (min-width: 900px) { color: rgb(90, 0, 90); }
`;
const List = styled.ul`display: flex; padding-left: 8px; list-style: none; & > li + li { background-color: rgb(250, 240, 200); }`;
const RelatedLink = styled(Link)`font-size: 13px; ${(props) => props.$first && css`border-top: 1px dashed red;`} &::before { content: "→ "; }`;
const Note = styled.p`animation: ${appear} 1s infinite; text-transform: uppercase;`;

function Layout() {
  return <>
    <Global />
    <nav data-style="nav"><NavLink to="/">Home</NavLink> <NavLink to="/items/7" data-style="active" style={({ isActive }) => ({ backgroundColor: isActive ? 'yellow' : '' })}>This</NavLink></nav>
    <Outlet />
  </>;
}

function Item() {
  const { id } = useParams();
  const [item, setItem] = useState();
  const [related, setRelated] = useState();
  useEffect(() => { get('/items/' + id).then(setItem); }, [id]);
  useEffect(() => { if (item) get(`/items/${item.id}/related`).then(setRelated); }, [item]);
  if (!item) return <p>Loading…</p>;
  return <main>
    <title>{item.name + ' | Shop'}</title>
    <meta name="description" content={item.text} />
    <meta property="og:title" content={item.name} />
    <link rel="canonical" href={'/items/' + item.id} />
    <Title $size={31} data-style="title">{item.name}</Title>
    <Note data-style="note">{item.text}</Note>
    {related && <List data-style="list" data-done>
      {related.map((r, i) => <li key={r.id} data-style="entry"><RelatedLink $first={i === 0} data-style="link" to={'../items/' + r.id}>{r.name}</RelatedLink></li>)}
    </List>}
  </main>;
}

createRoot(document.getElementById('app')).render(<StrictMode><BrowserRouter><Routes>
  <Route element={<Layout />}>
    <Route path="/" element={<p>Home</p>} />
    <Route path="/items/:id" element={<Item />} />
  </Route>
</Routes></BrowserRouter></StrictMode>);
