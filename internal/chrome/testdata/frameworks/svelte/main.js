// Svelte: runes, awaits in the markup, styles that are nested and scoped.
import { mount } from 'svelte';
import { Router } from 'sv-router';
import './router.js';

mount(Router, { target: document.getElementById('app') });
