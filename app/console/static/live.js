// Live: patches rows by id and version from one stream. Rows are cloned from the page's own template, values are text.
"use strict";
(() => {
  const table = document.getElementById("sessions");
  const body = table.tBodies[0];
  const blank = document.getElementById("blank-row").content.firstElementChild;
  const none = document.getElementById("none");
  const rows = new Map();
  let now = Number(table.dataset.now);

  const set = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  const part = (row, name) => row.querySelector(`[data-f="${name}"]`);

  function duration(ms) {
    let seconds = Math.max(0, Math.floor(ms / 1000));
    const parts = [];
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
      const count = Math.floor(seconds / size);
      seconds -= count * size;
      if (count && parts.length < 2) parts.push(`${count} ${unit}`);
      else if (parts.length) break;
    }
    return parts.join(" ") || "0 s";
  }

  function count(row) {
    const limit = row.dataset.limitAt, news = row.dataset.newsAt;
    set(part(row, "limit"), limit ? (Number(limit) > now ? duration(Number(limit) - now) : "now") : "–");
    set(part(row, "news_age"), news ? `${duration(now - Number(news))} ago` : "–");
  }

  // Times pass each second in rows that can be seen: in a thousand rows the browser would lay out nothing else.
  const near = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) { near.add(target); count(target); } else near.delete(target);
    }
  }, { rootMargin: "50%" });

  function fill(row, values) {
    for (const name of ["status", "point", "place", "reference", "used", "authorized", "energy", "power", "news", "attention"]) {
      for (const node of row.querySelectorAll(`[data-f="${name}"]`)) set(node, values[name]);
    }
    part(row, "reference").href = `/console/sessions/${encodeURIComponent(values.id)}`;
    const bar = part(row, "bar");
    bar.max = values.authorized_minor;
    bar.value = values.used_minor;
    bar.setAttribute("aria-label", `${values.used} of ${values.authorized} used`);
    part(row, "status").className = `badge ${values.tone}`;
    row.className = values.tone === "warn" ? "warn-row" : values.tone === "done" ? "done-row" : "";
    row.dataset.version = values.version;
    row.dataset.limitAt = values.limit_at ?? "";
    row.dataset.newsAt = values.news_at ?? "";
  }

  function place(row, order) {
    if (row.isConnected && Number(row.dataset.order) === order) return;
    row.dataset.order = order;
    row.remove();
    let low = 0, high = body.rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (Number(body.rows[middle].dataset.order) <= order) low = middle + 1; else high = middle;
    }
    body.insertBefore(row, body.rows[low] ?? null);
  }

  function forget(id) {
    const row = rows.get(id);
    if (!row) return;
    observer.unobserve(row);
    near.delete(row);
    row.remove();
    rows.delete(id);
  }

  function apply(update) {
    now = update.now;
    for (const [name, text] of Object.entries(update.tiles)) {
      const tile = document.querySelector(`[data-tile="${name}"]`);
      if (!tile) continue;
      set(tile, text);
      if (["attention", "overdue", "unconfirmed", "out"].includes(name)) tile.classList.toggle("bad", text !== "0");
    }
    const shown = new Set();
    for (const values of update.rows) {
      shown.add(values.id);
      let row = rows.get(values.id);
      if (!row) { row = blank.cloneNode(true); row.dataset.id = values.id; rows.set(values.id, row); observer.observe(row); }
      if (Number(row.dataset.version) !== values.version || !row.isConnected) fill(row, values);
      place(row, values.order);
    }
    const gone = update.all ? [...rows.keys()].filter((id) => !shown.has(id)) : update.gone;
    for (const id of gone) forget(id);
    for (const row of near) count(row);
    none.hidden = rows.size > 0;
  }

  for (const row of body.rows) { rows.set(row.dataset.id, row); observer.observe(row); }
  follow(() => "/console/live/stream", apply);
})();
