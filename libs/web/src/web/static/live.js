// Live parts: an element with an id and data-live="kind.id" is fetched again when the server says
// that something changed. Without streams it asks every 20 s; without this file the page is as good
// as when it was loaded.
(function () {
  "use strict";

  var parts = Array.prototype.slice.call(document.querySelectorAll("[data-live][id]"));
  if (!parts.length) return;

  var prefix = "/" + window.location.pathname.split("/")[1];
  var busy = false;
  var again = false;

  function edited(part) {
    return part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
  }

  function refresh() {
    if (busy) { again = true; return; }
    if (document.hidden) { again = true; return; }
    busy = true;
    fetch(window.location.href, { credentials: "same-origin", headers: { "X-Live": "1" } })
      .then(function (answer) {
        if (!answer.ok || answer.redirected) throw new Error("not now");
        return answer.text();
      })
      .then(function (text) {
        var fresh = new DOMParser().parseFromString(text, "text/html");
        parts.forEach(function (part) {
          var found = fresh.getElementById(part.id);
          if (!found || edited(part) || found.innerHTML === part.innerHTML) return;
          part.replaceChildren.apply(part, Array.prototype.slice.call(document.importNode(found, true).childNodes));
        });
      })
      .catch(function () {})
      .then(function () {
        busy = false;
        if (again && !document.hidden) { again = false; refresh(); }
      });
  }

  var polling = 0;
  function poll(on) {
    if (on && !polling) polling = window.setInterval(refresh, 20000);
    if (!on && polling) { window.clearInterval(polling); polling = 0; }
  }

  var channels = {};
  parts.forEach(function (part) { channels[part.getAttribute("data-live")] = true; });
  var sources = [];

  function listen() {
    if (!window.EventSource) { poll(true); return; }
    Object.keys(channels).forEach(function (name) {
      var source = new EventSource(prefix + "/live/" + encodeURIComponent(name));
      source.addEventListener("open", function () { poll(false); });
      source.addEventListener("changed", refresh);
      source.addEventListener("error", function () { poll(true); });
      sources.push(source);
    });
  }

  document.addEventListener("visibilitychange", function () {
    if (!document.hidden && again) { again = false; refresh(); }
  });
  window.addEventListener("pagehide", function () {
    sources.forEach(function (source) { source.close(); });
  });
  listen();
})();
