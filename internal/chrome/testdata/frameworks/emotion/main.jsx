// React with emotion: the css property, styled, a theme, global rules; data by
// a data router, and by use() in Suspense.
import { Suspense, use, useMemo } from 'react';
import { createRoot } from 'react-dom/client';
import { createBrowserRouter, Link, RouterProvider, useLoaderData } from 'react-router-dom';
import { css, Global, ThemeProvider, useTheme } from '@emotion/react';
import styled from '@emotion/styled';
import { get } from '../shop.js';

const Title = styled.h1`color: ${(props) => props.theme.accent}; font-size: 28px; border-top: 2px solid;`;
const List = styled('ul')({ display: 'grid', paddingLeft: 17, li: { fontSize: 15 }, '@media (min-width: 900px)': { backgroundColor: 'rgb(230, 240, 250)' } });

function Related({ promise }) {
  const theme = useTheme();
  return <List data-style="list" data-done>
    {use(promise).map((r) => <li key={r.id} data-style="entry">
      <Link to={`/items/${r.id}?from=7`} data-style="link" css={css`color: ${theme.accent}; padding-left: ${r.id}px; &:first-of-type { border-top: 4px double; }`}>{r.name}</Link>
    </li>)}
  </List>;
}

function Item() {
  const { item } = useLoaderData();
  const related = useMemo(() => get(`/items/${item.id}/related`), [item.id]);
  return <main>
    <title>{item.name + ' | Shop'}</title>
    <meta name="description" content={item.text} />
    <link rel="canonical" href={'/items/' + item.id} />
    <Global styles={{ body: { margin: 0, color: 'rgb(50, 40, 30)' } }} />
    <Title data-style="title">{item.name}</Title>
    <p data-style="text" css={{ display: 'inline-block', paddingLeft: 9 }}>{item.text}</p>
    <Suspense fallback={<p>Loading…</p>}><Related promise={related} /></Suspense>
  </main>;
}

const router = createBrowserRouter([{
  path: '/items/:id',
  element: <Item />,
  hydrateFallbackElement: <p>Loading…</p>,
  loader: async ({ params }) => ({ item: await get('/items/' + params.id) }),
}]);
createRoot(document.getElementById('app')).render(<ThemeProvider theme={{ accent: 'rgb(160, 30, 70)' }}><RouterProvider router={router} /></ThemeProvider>);
