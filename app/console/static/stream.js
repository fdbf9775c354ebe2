// One stream of a page: says how it is, begins again after a failure, rests while paused or while nobody sees the page
// (a browser opens only six connections to a server).
"use strict";
globalThis.follow = (addressOf, onUpdate) => {
  const RETRY_MS = 10000, MOST_RETRIES = 360;
  const state = document.getElementById("stream-state");
  const pause = document.getElementById("pause");
  let stream = null, paused = false, done = false, retries = 0, timer = 0;

  const say = (text) => { if (state.textContent !== text) state.textContent = text; };

  function close() {
    clearTimeout(timer);
    stream?.close();
    stream = null;
  }

  function end(why) {
    done = true;
    close();
    pause.hidden = true;
    say(why);
  }

  function failed() {
    if (stream.readyState !== EventSource.CLOSED) { say("The connection is lost; trying again."); return; }
    close();
    say("No updates: the service is away, or too many pages are open. Trying again.");
    if (retries++ < MOST_RETRIES) timer = setTimeout(open, RETRY_MS);
  }

  function open() {
    if (stream || paused || done || document.hidden) return;
    stream = new EventSource(addressOf());
    stream.addEventListener("update", (event) => { retries = 0; onUpdate(JSON.parse(event.data), event.lastEventId); say("Live"); });
    stream.addEventListener("away", () => say("The database does not answer; trying again."));
    stream.addEventListener("over", () => say("The stream has ended; connecting again."));
    stream.addEventListener("done", () => end("Over: this page no longer changes."));
    stream.addEventListener("out", () => end("You are signed out: reload the page to sign in."));
    stream.onerror = failed;
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    if (paused) { close(); say("Paused"); } else { open(); }
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Go on" : "Pause";
  });
  document.addEventListener("visibilitychange", () => { if (document.hidden) close(); else open(); });
  open();
};
