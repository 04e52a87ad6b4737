// Lit: a router, components in shadow roots, one in another, with slots and adopted sheets.
import { Router } from '@lit-labs/router';
import { LitElement, css, html, unsafeCSS } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { styleMap } from 'lit/directives/style-map.js';
import { until } from 'lit/directives/until.js';
import { get, head } from '../shop.js';
import './global.css';

const links = css`a { color: rgb(0, 90, 120); } a:not(:first-child) { padding-left: 7px; }`;

class ShopCard extends LitElement {
  static properties = { featured: { type: Boolean, reflect: true } };
  static styles = css`
    :host { display: block; background-color: rgb(245, 245, 255); padding-left: 10px; }
    :host([featured]) { border-top: 4px solid rgb(255, 180, 0); }
    h2 { font-size: 18px; color: rgb(70, 70, 0); }
    ::slotted(p) { padding-left: 5px; }
    p { font-size: 11px; background-color: rgb(220, 220, 220); }
    :host([featured]) .footer, .none { color: rgb(1, 2, 3); }
  `;
  render() {
    return html`<h2 data-style="card title"><slot name="title">Untitled</slot></h2><slot></slot>
      <p class="footer" data-style="card footer"><slot name="footer">Without guarantee</slot></p>`;
  }
}
customElements.define('shop-card', ShopCard);

class RelatedItem extends LitElement {
  static properties = { item: {} };
  static styles = [links, css`:host { display: inline-block; } a { font-size: 15px; } span { color: inherit; }`];
  render() {
    return html`<a href="/items/${this.item.id}" data-style="link"><span data-style="link text">${this.item.name}</span></a>`;
  }
}
customElements.define('related-item', RelatedItem);

class ShopItem extends LitElement {
  static properties = { number: {}, item: { state: true }, related: { state: true } };
  static styles = [links, css`
    :host { display: block; color: rgb(30, 30, 60); --size: 27px; }
    h1 { font-size: var(--size); border-top: ${unsafeCSS(3)}px solid; }
    h2 { color: rgb(200, 0, 0); }
    p { color: rgb(80, 0, 80); }
    ul { display: flex; padding-left: 14px; }
    @media (min-width: 900px) { li { background-color: rgb(230, 255, 230); } }
  `];
  async connectedCallback() {
    super.connectedCallback();
    this.item = await get('/items/' + this.number);
    head(this.item);
    this.related = get(`/items/${this.number}/related`);
  }
  render() {
    if (!this.item) return html`<p>Loading…</p>`;
    return html`<nav data-style="nav"><a href="/" data-style="home">Home</a> <a href="#top" data-style="top">Top</a></nav>
      <h1 data-style="title">${this.item.name}</h1>
      <shop-card featured data-style="card" style=${styleMap({ fontSize: '16px' })}>
        <span slot="title" data-style="slotted title">About</span>
        <p data-style="slotted text">${this.item.text}</p>
      </shop-card>
      <shop-card data-style="second card"><b data-style="slotted bold">Bold</b></shop-card>
      ${until(this.related?.then((list) => html`<ul data-style="list" data-done>
        ${repeat(list, (r) => r.id, (r) => html`<li data-style="entry"><related-item data-style="related" .item=${r}></related-item></li>`)}
      </ul>`), html`<p>Loading…</p>`)}`;
  }
}
customElements.define('shop-item', ShopItem);

class ShopApp extends LitElement {
  router = new Router(this, [
    { path: '/', render: () => html`<p>Home</p>` },
    { path: '/items/:id', render: ({ id }) => html`<shop-item .number=${id}></shop-item>` },
  ]);
  render() { return this.router.outlet(); }
}
customElements.define('shop-app', ShopApp);
document.getElementById('app').append(document.createElement('shop-app'));
