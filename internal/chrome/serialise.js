// Writes the document as HTML that needs no script, and reads what the page
// says of itself. Evaluated in an isolated world, where the page's changes to
// JSON, Array and the DOM's prototypes do not exist. Elements can still shadow
// properties by name (<input name="attributes"> in a form), so every property of
// a node is read through its prototype's getter.
//
// A function of { declarative }: whether shadow roots are written as such. It
// returns
//   { html, title, status, headers: [[name, value], …] }
// where status is the page's wish or 0.
(({ declarative }) => {
  const getter = (proto, name) => {
    const get = Object.getOwnPropertyDescriptor(proto, name).get;
    return (node) => get.call(node);
  };
  const nodeType = getter(Node.prototype, 'nodeType');
  const firstChild = getter(Node.prototype, 'firstChild');
  const nextSibling = getter(Node.prototype, 'nextSibling');
  const textContent = getter(Node.prototype, 'textContent');
  const data = getter(CharacterData.prototype, 'data');
  const localName = getter(Element.prototype, 'localName');
  const tagName = getter(Element.prototype, 'tagName');
  const namespaceURI = getter(Element.prototype, 'namespaceURI');
  const attributes = getter(Element.prototype, 'attributes');
  const getAttribute = (e, name) => Element.prototype.getAttribute.call(e, name);
  const shadowRoot = getter(Element.prototype, 'shadowRoot');
  const getRootNode = (node) => Node.prototype.getRootNode.call(node);
  const inShadow = (node) => getRootNode(node) instanceof ShadowRoot;
  const assignedNodes = (slot) => HTMLSlotElement.prototype.assignedNodes.call(slot);
  const queryAll = (selector) => Document.prototype.querySelectorAll.call(document, selector);

  const HTML = 'http://www.w3.org/1999/xhtml';
  const VOID = new Set(['area', 'base', 'basefont', 'bgsound', 'br', 'col', 'embed', 'frame', 'hr', 'img', 'input',
    'keygen', 'link', 'meta', 'param', 'source', 'track', 'wbr']);
  // Their text is written as it is (HTML, "serializing HTML fragments").
  const RAW = new Set(['style', 'script', 'xmp', 'iframe', 'noembed', 'noframes', 'plaintext']);
  const URL_ATTRIBUTES = new Set(['href', 'src', 'action', 'formaction', 'xlink:href', 'data']);

  const escapeText = (s) => s.replace(/[&<>\u00a0]/g, (c) =>
    c === '&' ? '&amp;' : c === '<' ? '&lt;' : c === '>' ? '&gt;' : '&nbsp;');
  const escapeAttribute = (s) => escapeText(s).replace(/"/g, '&quot;');

  const out = [];

  // Nodes to be written next, the last first. A string is written as it is.
  // There is no recursion: scripts build trees deeper than a stack.
  const todo = [document];
  while (todo.length > 0) {
    const next = todo.pop();
    if (typeof next === 'string') {
      out.push(next);
      continue;
    }
    switch (nodeType(next)) {
      case Node.ELEMENT_NODE: element(next); break;
      case Node.TEXT_NODE: out.push(escapeText(data(next))); break;
      case Node.CDATA_SECTION_NODE: out.push('<![CDATA[', data(next), ']]>'); break;
      case Node.COMMENT_NODE: out.push(comment(data(next))); break;
      case Node.DOCUMENT_TYPE_NODE: out.push(doctype(next)); break;
      case Node.PROCESSING_INSTRUCTION_NODE: break;
      default: children(next);
    }
  }

  function children(node) {
    const list = [];
    for (let c = firstChild(node); c; c = nextSibling(c)) list.push(c);
    for (let i = list.length - 1; i >= 0; i--) todo.push(list[i]);
  }

  function element(e) {
    const isHTML = namespaceURI(e) === HTML;
    const name = isHTML ? localName(e) : tagName(e);
    if (isHTML && !shown(e, name) || name === 'script' && !isHTML) return;
    if (isHTML && name === 'slot' && !declarative && inShadow(e)) { // what it shows stands in its place
      const assigned = assignedNodes(e);
      if (assigned.length > 0) for (let i = assigned.length - 1; i >= 0; i--) todo.push(assigned[i]);
      else children(e);
      return;
    }
    out.push('<', name);
    for (const a of attributes(e)) out.push(attribute(e, name, a));
    out.push('>');
    if (isHTML && VOID.has(name)) return;

    todo.push('</' + name + '>');
    if (isHTML && name === 'head') todo.push(adopted(document, false));
    const root = shadowRoot(e);
    if (root && declarative) {
      children(e);
      todo.push('</template>');
      todo.push(adopted(root, false));
      children(root);
      out.push('<template shadowrootmode="open">');
      return;
    }
    if (root) {
      todo.push(adopted(root, true));
      children(root);
      return;
    }
    if (isHTML && name === 'style') todo.push(inShadow(e) && !declarative ? scoped(style(e)) : style(e));
    else if (isHTML && RAW.has(name)) todo.push(raw(name, textContent(e)));
    else if (isHTML && name === 'template') children(e.content);
    else children(e);

    // The parser drops a line feed right after these tags.
    const first = firstChild(e);
    if (isHTML && (name === 'pre' || name === 'textarea' || name === 'listing') &&
        first && nodeType(first) === Node.TEXT_NODE && data(first).startsWith('\n')) {
      out.push('\n');
    }
  }

  // Scripts have done their work. <noscript> is what no person with a browser
  // sees, mostly a request to switch JavaScript on.
  function shown(e, name) {
    switch (name) {
      case 'script':
        return /^application\/ld\+json\s*(;|$)/i.test((getAttribute(e, 'type') || '').trim());
      case 'noscript':
        return false;
      case 'link': {
        const rel = (getAttribute(e, 'rel') || '').toLowerCase().split(/\s+/);
        const as = (getAttribute(e, 'as') || '').toLowerCase();
        return !rel.includes('modulepreload') &&
          !((rel.includes('preload') || rel.includes('prefetch')) && as === 'script');
      }
      default:
        return true;
    }
  }

  function attribute(e, element, a) {
    let value = a.value;
    const name = a.name;
    if (/^on/i.test(name) || name === 'srcdoc') return ''; // a whole document, scripts and all
    if (URL_ATTRIBUTES.has(name) && /^[\0-\x20]*j[\t\n\r]*a[\t\n\r]*v[\t\n\r]*a[\t\n\r]*s[\t\n\r]*c[\t\n\r]*r[\t\n\r]*i[\t\n\r]*p[\t\n\r]*t[\t\n\r]*:/i.test(value)) return '';
    // What is written here is UTF-8, whatever the origin sent.
    if (element === 'meta' && name === 'charset') value = 'utf-8';
    if (element === 'meta' && name === 'content' && /^content-type$/i.test(getAttribute(e, 'http-equiv') || '')) {
      value = 'text/html; charset=utf-8';
    }
    return ' ' + name + '="' + escapeAttribute(value) + '"';
  }

  // The text of these elements has no escapes, so a script can give them what
  // would end them early: a product name with "</script>" in it, in JSON-LD.
  function raw(name, source) {
    if (name === 'script') return source.replace(/<(?=\/script|script|!--)/gi, '\\u003c'); // JSON's own escape
    return source.replace(new RegExp('</(?=' + name + ')', 'gi'), name === 'style' ? '<\\/' : '&lt;/');
  }

  // Likewise comments, whose text the parser cannot hold in some forms.
  function comment(source) {
    return /^-?>|--!?>|--!$|<!-$/.test(source) ? '' : '<!--' + source + '-->';
  }

  function doctype(d) {
    let s = '<!DOCTYPE ' + d.name;
    if (d.publicId) s += ' PUBLIC "' + d.publicId + '"';
    else if (d.systemId) s += ' SYSTEM';
    if (d.systemId) s += ' "' + d.systemId + '"';
    return s + '>\n';
  }

  // A style element's rules are its text, unless a script has put rules in by
  // insertRule, as styled-components and emotion do in production.
  function style(e) {
    const source = raw('style', textContent(e));
    let rules;
    try {
      rules = e.sheet ? e.sheet.cssRules : null;
    } catch (_) {
      return source;
    }
    if (!rules || rules.length === written(source)) return source;
    return cssText(rules);
  }

  function written(source) {
    if (source.trim() === '') return 0;
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(source.replace(/@import[^;]*;/gi, '@layer;'));
    return sheet.cssRules.length;
  }

  function cssText(rules) {
    const lines = [];
    for (const rule of rules) lines.push(rule.cssText);
    return raw('style', lines.join('\n'));
  }

  // Sheets that belong to no element get one, after all others as in the cascade.
  function adopted(root, isShadow) {
    let s = '';
    for (const sheet of root.adoptedStyleSheets) {
      const media = sheet.media.mediaText;
      const text = cssText(sheet.cssRules);
      s += '<style' + (media ? ' media="' + escapeAttribute(media) + '"' : '') + '>' + (isShadow ? scoped(text) : text) + '</style>';
    }
    return s;
  }

  // A shadow tree is written as the children of its host, because a bot that runs
  // no script may not know shadow roots. Its rules must not reach further than
  // the host, for which CSS has @scope: without a selector, it is about the
  // parent of the style element.
  function scoped(text) {
    return '@scope {\n' + text
      .replace(/:host-context\(([^()]*)\)/g, '$1 :scope')
      .replace(/:host\(([^()]*)\)/g, ':scope$1')
      .replace(/:host\b/g, ':scope')
      .replace(/::slotted\(([^()]*)\)/g, '$1') + '\n}';
  }

  // What the page says of its status and headers. The last status wins; a
  // header may be repeated.
  function wishes() {
    let status = 0;
    const headers = [];
    for (const meta of queryAll('meta[name][content]')) {
      const name = getAttribute(meta, 'name').toLowerCase();
      const content = getAttribute(meta, 'content');
      if (name === 'prerender-status-code' || name === 'render:status_code') {
        const n = Number(content);
        if (Number.isInteger(n) && n >= 200 && n <= 599) status = n;
      }
      const header = /^\s*([^\s:]+)\s*:\s*(.*?)\s*$/.exec(content);
      if ((name === 'prerender-header' || name === 'render:header') && header) headers.push([header[1], header[2]]);
    }
    return { status, headers };
  }

  const title = queryAll('title')[0];
  return { html: out.join(''), title: title ? textContent(title).trim() : '', ...wishes() };
})
