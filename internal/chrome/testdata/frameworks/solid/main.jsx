// Solid: the route is a chunk of its own.
import { lazy } from 'solid-js';
import { render } from 'solid-js/web';
import { A, Route, Router } from '@solidjs/router';

const Item = lazy(() => import('./Item.jsx'));
const Layout = (props) => <>
  <nav data-style="nav"><A href="/" end>Home</A> <A href="/items/7" activeClass="active" data-style="active">This</A></nav>
  {props.children}
</>;

render(() => <Router root={Layout}><Route path="/" component={() => 'Home'} /><Route path="/items/:id" component={Item} /></Router>, document.getElementById('app'));
