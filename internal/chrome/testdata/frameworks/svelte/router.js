// Routes with a page that is a chunk of its own.
import { createRouter } from 'sv-router';
import Home from './Home.svelte';

export const { p, route } = createRouter({
  '/': Home,
  '/items/:id': () => import('./Item.svelte'),
});
