import { createApp } from 'vue';
import { createRouter, createWebHistory } from 'vue-router';
import App from './App.vue';
import Item from './Item.vue';

const routes = [{ path: '/', component: { render: () => 'Home' } }, { path: '/items/:id', component: Item, props: true }];
createApp(App).use(createRouter({ history: createWebHistory(), routes })).mount('#app');
