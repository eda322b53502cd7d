// Live parts: an element with an id and data-live="kind.id" is fetched again when the server says
// that something changed, and once when the stream opens: what changed before that was not heard.
// Without streams it asks every 20 s, and so does a part of a public page, which names none
// (data-live=""); without this file the page is as good as when it was loaded.
// Only a page that is looked at listens: over http:// a browser opens six connections to a house, so
// six pages behind others would leave none for the next one.
(function () {
  "use strict";

  var parts = Array.prototype.slice.call(document.querySelectorAll("[data-live][id]"));
  if (!parts.length) return;

  // Nothing that somebody put into every object is read from these, nor written there.
  function bare(given) { return Object.assign(Object.create(null), given); }

  var here = window.location.href.split("#")[0];
  var prefix = "/" + window.location.pathname.split("/")[1];
  var busy = false;
  var again = false;

  function used(part) {
    var typing = part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
    return typing || part.querySelector("dialog[open]");
  }

  // What the server says of a part, without the one-time values of its forms. While that is the same
  // the part stays, with the focus and the button that is being pressed; what a script or a finger
  // did to it since is no other word of the server's.
  function said(part) {
    return part.innerHTML.replace(/(name="_(?:nonce|csrf)" value=")[^"]*/g, "$1");
  }
  parts.forEach(function (part) { part.shown = said(part); });

  function refresh() {
    if (busy) { again = true; return; }
    busy = true;
    fetch(here, bare({ credentials: "same-origin", headers: bare({ "X-Live": "1" }) }))
      .then(function (answer) {
        // By way of identity, that renews the sign-in, is fine; to the sign-in page is not.
        if (!answer.ok || answer.url.split("#")[0] !== here) throw new Error("not now");
        return answer.text();
      })
      .then(function (text) {
        var fresh = new DOMParser().parseFromString(text, "text/html");
        parts.forEach(function (part) {
          var found = fresh.getElementById(part.id);
          if (!found || used(part) || said(found) === part.shown) return;
          part.shown = said(found);
          part.replaceChildren.apply(part, Array.prototype.slice.call(document.importNode(found, true).childNodes));
        });
      })
      .catch(function () {})
      .then(function () {
        busy = false;
        if (again) { again = false; refresh(); }
      });
  }

  var sources = bare();
  parts.forEach(function (part) { sources[part.getAttribute("data-live")] = null; });

  function each(fn) { Object.keys(sources).forEach(fn); }

  // A stream that was refused does not come back by itself.
  function listen() {
    if (document.hidden) return;
    if (window.EventSource) each(function (name) {
      if (!name || sources[name] && sources[name].readyState !== EventSource.CLOSED) return;
      var source = new EventSource(prefix + "/live/" + encodeURIComponent(name));
      source.addEventListener("open", function (event) {
        poll();
        // The server's own word, said when it has begun to listen.
        if (event instanceof MessageEvent) refresh();
      });
      source.addEventListener("changed", refresh);
      source.addEventListener("error", poll);
      sources[name] = source;
    });
    poll();
  }

  var polling = 0;
  function poll() {
    var on = false;
    each(function (name) { on = on || !sources[name] || sources[name].readyState !== 1; });
    if (on && !polling) polling = window.setInterval(ask, 20000);
    if (!on) rest();
  }

  function rest() { window.clearInterval(polling); polling = 0; }

  function ask() { refresh(); listen(); }

  function leave() {
    each(function (name) { if (sources[name]) sources[name].close(); });
    rest();
  }

  document.addEventListener("visibilitychange", function () {
    if (document.hidden) leave(); else ask();
  });
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", function (event) {
    if (event.persisted) ask();
  });
  listen();
})();
