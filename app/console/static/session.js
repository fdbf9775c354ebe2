// A session's page: the parts that changed are brought into the page node by node, so that focus, opened folds, what was
// typed and the place on the page stay; the time line only grows.
"use strict";
(() => {
  const timeline = document.getElementById("timeline");
  const told = document.getElementById("told");
  let last = timeline.dataset.line;

  function nodesOf(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content;
  }

  const keyOf = (node) => node.dataset?.key;

  // Makes `node` like `fresh`, and keeps what a person opened.
  function become(node, fresh) {
    for (const { name } of [...node.attributes]) {
      if (name !== "open" && !fresh.hasAttribute(name)) node.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (node.getAttribute(name) !== value) node.setAttribute(name, value);
    }
    becomeWithin(node, fresh);
  }

  function becomeWithin(node, fresh) {
    const keys = new Set([...fresh.childNodes].map(keyOf));
    for (const child of [...node.childNodes]) if (keyOf(child) && !keys.has(keyOf(child))) child.remove();
    let at = node.firstChild;
    for (const next of [...fresh.childNodes]) {
      const key = keyOf(next);
      const same = key ? [...node.children].find((child) => keyOf(child) === key) : at;
      if (same && same.nodeName === next.nodeName && keyOf(same) === key) {
        if (same !== at) node.insertBefore(same, at);
        if (same.nodeType === Node.ELEMENT_NODE) become(same, next);
        else if (same.nodeValue !== next.nodeValue) same.nodeValue = next.nodeValue;
        at = same.nextSibling;
      } else {
        node.insertBefore(next, at);
      }
    }
    while (at) { const after = at.nextSibling; at.remove(); at = after; }
  }

  function apply(update, id) {
    last = id || last;
    const focused = document.activeElement;
    for (const [name, html] of Object.entries(update.parts)) {
      becomeWithin(document.querySelector(`[data-part="${name}"]`), nodesOf(html));
    }
    if (!focused.isConnected) document.getElementById("main").focus({ preventScroll: true });
    timeline.tBodies[0].append(nodesOf(update.lines));
    if (update.told) told.textContent = update.told;
  }

  follow(() => `/console/sessions/${encodeURIComponent(timeline.dataset.session)}/stream?after=${last}`, apply);
})();
