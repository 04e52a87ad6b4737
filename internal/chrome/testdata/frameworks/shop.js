// What the apps have in common: every one shows /items/7 from two requests, the
// second after the first, and marks with data-done what comes last.

export async function get(path) {
  const response = await fetch('/api' + path);
  return response.json();
}

// For the frameworks that leave the head to the app.
export function head(item) {
  document.title = item.name + ' | Shop';
  add('meta', { name: 'description', content: item.text });
  add('link', { rel: 'canonical', href: '/items/' + item.id });
}

function add(name, properties) {
  document.head.append(Object.assign(document.createElement(name), properties));
}
