// Angular: zone.js, HttpClient, a router with titles, emulated encapsulation.
import 'zone.js';
import { AsyncPipe, CurrencyPipe } from '@angular/common';
import { HttpClient, provideHttpClient } from '@angular/common/http';
import { Component, inject, ViewEncapsulation } from '@angular/core';
import { bootstrapApplication } from '@angular/platform-browser';
import { ActivatedRoute, provideRouter, RouterLink, RouterLinkActive, RouterOutlet } from '@angular/router';
import { Observable, shareReplay, switchMap, tap } from 'rxjs';
import { head } from '../shop.js';

type Item = { id: number; name: string; text: string; html: string };

@Component({
  selector: 'shop-item',
  imports: [AsyncPipe, CurrencyPipe, RouterLink],
  template: `
    @if (item | async; as item) {
      <h1 data-style="title">{{ item.name }}</h1>
      <p class="text" data-style="text" [innerHTML]="item.html"></p>
      <p data-style="price" [style.paddingLeft.px]="item.id">{{ 19.5 | currency }}</p>
    } @else {
      <p>Loading…</p>
    }
    @if (related | async; as list) {
      <ul data-style="list" data-done>
        @for (r of list; track r.id) {
          <li data-style="entry" [class.odd]="$odd"><a [routerLink]="['..', r.id]" data-style="link">{{ r.name }}</a></li>
        }
      </ul>
    }
  `,
  styles: `
    :host { display: block; padding-left: 5px; }
    h1 { font-size: 34px; border-top: 2px solid; color: rgb(195, 0, 47); }
    .text { display: inline-block; }
    .text ::ng-deep em { color: red; }
    ul { padding-left: 21px; }
    .odd { background-color: rgb(250, 230, 235); }
  `,
})
class ItemPage {
  http = inject(HttpClient);
  item: Observable<Item> = inject(ActivatedRoute).paramMap.pipe(
    switchMap((params) => this.http.get<Item>('/api/items/' + params.get('id'))),
    tap((item) => head(item)),
    shareReplay(1),
  );
  related = this.item.pipe(switchMap((item) => this.http.get<Item[]>(`/api/items/${item.id}/related`)));
}

@Component({
  selector: 'shop-app',
  imports: [RouterLink, RouterLinkActive, RouterOutlet],
  encapsulation: ViewEncapsulation.None,
  template: `<nav data-style="nav"><a routerLink="/">Home</a> <a routerLink="/items/7" routerLinkActive="active" data-style="active">This</a></nav><router-outlet />`,
  styles: `body { margin: 0; color: rgb(60, 20, 30); } .active { background-color: rgb(255, 220, 0); }`,
})
class App {}

document.getElementById('app')!.append(document.createElement('shop-app'));
bootstrapApplication(App, {
  providers: [provideHttpClient(), provideRouter([{ path: 'items/:id', component: ItemPage }])],
});
