// What pages do beyond loading; each of them works without this file too.
//
//   data-shortcut="p"        presses or focuses the element; "?" lists all of the page
//   data-open="id"           opens that <dialog> instead of following the link
//   data-search="id"         a form whose answer is fetched as one types, into data-results; when
//                            none comes these are emptied and its data-away says so
//   data-stepper             more and less around a number; data-submits sends its form
//   data-guard               a form that asks before what was typed is left behind
//   data-tick="present"      ticks all boxes of that name in its form; pressed again, data-undo
//   data-count="present"     a progress that follows the boxes of that name
//   data-camera="f-code"     reads a code with the camera into that field and sends its form
//   data-sound="done"        heard once, where sounds are wanted
//   data-toast, data-menu    go by themselves; close when one turns away
//   data-print               a button that prints the page
//   data-no-cookies          shown where the browser keeps none
(function () {
  "use strict";

  var root = document.documentElement;

  // Nothing that somebody put into every object is read from these.
  function bare(given) { return Object.assign(Object.create(null), given); }

  function all(selector, within) {
    return Array.prototype.slice.call((within || document).querySelectorAll(selector));
  }

  function typing(element) {
    return element && (element.isContentEditable || element.matches("textarea, select, input:not([type=checkbox]):not([type=radio]):not([type=button]):not([type=submit])"));
  }

  if (!navigator.cookieEnabled) all("[data-no-cookies]").forEach(function (told) { told.hidden = false; });

  // ---- a form is sent once; a second press while it is on its way does nothing, for ten seconds:
  // after a download or a lost answer the page stays, and its nonce keeps a repetition harmless

  function rested(form) {
    form.removeAttribute("data-busy");
    all("[aria-busy]", form).forEach(function (button) { button.removeAttribute("aria-busy"); });
  }

  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (event.defaultPrevented || form.method === "dialog") return;
    if (form.hasAttribute("data-busy")) { event.preventDefault(); return; }
    form.setAttribute("data-busy", "");
    form.removeAttribute("data-dirty");
    if (event.submitter) event.submitter.setAttribute("aria-busy", "true");
    window.setTimeout(rested, 10000, form);
  });
  window.addEventListener("pageshow", function () { all("form[data-busy]").forEach(rested); });

  // ---- what was typed is not left behind unasked

  document.addEventListener("input", function (event) {
    var form = event.target.form;
    if (form && form.hasAttribute("data-guard")) form.setAttribute("data-dirty", "");
  });
  window.addEventListener("beforeunload", function (event) {
    if (document.querySelector("form[data-dirty]")) event.preventDefault();
  });

  document.addEventListener("click", function (event) {
    if (event.target.closest("[data-print]")) window.print();
  });

  // ---- menus and dialogs

  document.addEventListener("click", function (event) {
    all("details[data-menu][open]").forEach(function (menu) {
      if (!menu.contains(event.target)) menu.open = false;
    });
    var opener = event.target.closest("[data-open]");
    var dialog = opener && document.getElementById(opener.getAttribute("data-open"));
    if (dialog && dialog.showModal) { event.preventDefault(); dialog.showModal(); return; }
    if (event.target.matches("dialog")) event.target.close();
    var close = event.target.closest("[data-close]");
    if (close) close.closest("[data-toast]").remove();
  });

  // ---- keys

  function named(event) {
    var key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    var name = key;
    if (event.shiftKey && (key.length > 1 || /[a-z]/.test(key))) name = "shift+" + name;
    if (event.altKey) name = "alt+" + name;
    if (event.ctrlKey || event.metaKey) name = "ctrl+" + name;
    return name;
  }

  function usable(element) {
    return !element.disabled && element.getClientRects().length > 0;
  }

  document.addEventListener("keydown", function (event) {
    if (event.defaultPrevented || event.isComposing) return;
    if (event.key === "Escape") {
      all("details[data-menu][open]").forEach(function (menu) {
        menu.open = false;
        menu.querySelector("summary").focus();
      });
      return;
    }
    var name = named(event);
    var plain = !event.ctrlKey && !event.altKey && !event.metaKey && event.key.length === 1;
    if (plain && typing(document.activeElement)) return;
    if (document.querySelector("dialog[open]")) return;
    if (name === "?") { event.preventDefault(); help(); return; }
    var found = all("[data-shortcut]").filter(function (element) {
      return element.getAttribute("data-shortcut").toLowerCase() === name.toLowerCase() && usable(element);
    })[0];
    if (!found) return;
    event.preventDefault();
    if (typing(found)) { found.focus(); if (found.select) found.select(); } else found.click();
  });

  function words(element) {
    var label = element.getAttribute("data-shortcut-label") || element.getAttribute("aria-label");
    if (!label && element.labels && element.labels[0]) label = element.labels[0].textContent;
    return (label || element.textContent || "").trim().replace(/\s+/g, " ");
  }

  function help() {
    var dialog = document.getElementById("keys");
    if (!dialog || !dialog.showModal) return;
    var list = dialog.querySelector("dl");
    list.replaceChildren();
    all("[data-shortcut]").filter(usable).forEach(function (element) {
      var row = document.createElement("div");
      var key = row.appendChild(document.createElement("dt")).appendChild(document.createElement("kbd"));
      key.textContent = element.getAttribute("data-shortcut");
      row.appendChild(document.createElement("dd")).textContent = words(element);
      list.appendChild(row);
    });
    dialog.showModal();
  }

  if (document.querySelector("[data-shortcut]")) all("[data-keys]").forEach(function (button) {
    button.hidden = false;
    button.addEventListener("click", help);
  });

  // ---- all at once, and back; and how many they are

  function boxes(name, within) {
    return all("input[name=" + name + "]", within.form || within.closest("form"));
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-tick]");
    if (!button) return;
    var before = button.ticksBefore;
    var ticked = boxes(button.getAttribute("data-tick"), button);
    button.ticksBefore = before ? null : ticked.map(function (box) { return box.checked; });
    ticked.forEach(function (box, at) {
      box.checked = before ? before[at] : true;
      box.dispatchEvent(new Event("input", bare({ bubbles: true })));
    });
    var words = button.querySelector("span");
    var other = words.textContent;
    words.textContent = button.getAttribute("data-undo");
    button.setAttribute("data-undo", other);
  });

  document.addEventListener("input", function (event) {
    var shown = document.querySelector("[data-count='" + event.target.name + "']");
    if (!shown) return;
    var ticked = boxes(event.target.name, shown);
    var done = ticked.filter(function (box) { return box.checked; }).length;
    var bar = shown.querySelector("progress");
    var words = shown.querySelector(".number");
    bar.value = done;
    bar.max = ticked.length;
    words.textContent = words.textContent.replace(/\d+(\D+)\d+/, done + "$1" + ticked.length);
  });

  // ---- more, less

  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-step]");
    var stepper = button && button.closest("[data-stepper]");
    if (!stepper) return;
    var input = stepper.querySelector("input");
    var wanted = (parseInt(input.value, 10) || 0) + parseInt(button.getAttribute("data-step"), 10);
    if (input.min !== "") wanted = Math.max(wanted, parseInt(input.min, 10));
    if (input.max !== "") wanted = Math.min(wanted, parseInt(input.max, 10));
    if (String(wanted) === input.value) return;
    input.value = wanted;
    input.dispatchEvent(new Event("input", bare({ bubbles: true })));
    if (stepper.hasAttribute("data-submits")) {
      window.clearTimeout(stepper.waiting);
      stepper.waiting = window.setTimeout(function () { input.form.requestSubmit(); }, 450);
    }
  });

  // ---- search as one types

  all("form[data-search]").forEach(function (form) {
    var place = form.getAttribute("data-search");
    var away = form.querySelector("[data-away]");
    var waiting = 0;
    var asking = null;
    var last = null;

    // Nothing of another word stays under the one that is typed, when there is no answer to it.
    function show(target, found) {
      target.replaceChildren.apply(target, found ? Array.prototype.slice.call(document.importNode(found, true).childNodes) : []);
      target.removeAttribute("aria-busy");
      if (away) away.hidden = !!found;
    }

    function ask() {
      var target = document.getElementById(place);
      var data = new URLSearchParams(new FormData(form));
      var said = data.toString().replace(/_nonce=[^&]*/, "");
      if (!target || said === last) return;
      last = said;
      if (asking) asking.abort();
      asking = window.AbortController ? new AbortController() : null;
      var post = form.method === "post";
      target.setAttribute("aria-busy", "true");
      fetch(post ? form.action : form.action.split("?")[0] + "?" + data, bare({
        method: post ? "POST" : "GET",
        body: post ? data : undefined,
        credentials: "same-origin",
        headers: bare({ "X-Live": "1" }),
        signal: asking ? asking.signal : undefined
      })).then(function (answer) {
        // 422 is the page itself, that says what is wrong with the word.
        if (!answer.ok && answer.status !== 422) throw new Error("not now");
        return answer.text();
      }).then(function (text) {
        var found = new DOMParser().parseFromString(text, "text/html").getElementById(place);
        if (!found) throw new Error("not now");
        show(target, found);
      }).catch(function (error) {
        if (error.name === "AbortError") return;
        last = null;
        show(target, null);
      });
    }

    form.addEventListener("input", function () {
      window.clearTimeout(waiting);
      waiting = window.setTimeout(ask, 220);
    });
    form.addEventListener("submit", function () {
      window.clearTimeout(waiting);
      if (asking) asking.abort();
    });
  });

  // ---- a camera instead of a scanner, where the browser itself reads codes: the sheets show its
  // button then, also in a part of the page that comes later

  if ("BarcodeDetector" in window && navigator.mediaDevices) root.setAttribute("data-reads-codes", "");

  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-camera]");
    if (button) read(document.getElementById(button.getAttribute("data-camera")));
  });

  function read(field) {
    var dialog = document.getElementById("camera");
    var video = dialog.querySelector("video");
    var away = dialog.querySelector("[data-away]");
    var stream = null;
    var over = false;

    function missing(gone) { video.hidden = gone; away.hidden = !gone; }

    function end() {
      over = true;
      if (stream) stream.getTracks().forEach(function (track) { track.stop(); });
    }

    function failed() {
      if (!over) missing(true);
      end();
    }

    function look(detector) {
      if (!over) detector.detect(video).then(function (codes) {
        if (over) return;
        if (!codes.length) { window.setTimeout(look, 150, detector); return; }
        field.value = codes[0].rawValue;
        dialog.close();
        field.form.requestSubmit();
      }).catch(failed);
    }

    missing(false);
    video.srcObject = null;
    dialog.addEventListener("close", end, bare({ once: true }));
    dialog.showModal();
    navigator.mediaDevices.getUserMedia(bare({ video: bare({ facingMode: "environment" }) })).then(function (given) {
      stream = given;
      if (over) { end(); return; }
      video.srcObject = given;
      return video.play().then(function () { look(new window.BarcodeDetector()); });
    }).catch(failed);
  }

  // ---- toasts

  all("[data-toast]").forEach(function (toast) {
    var rest = 0;
    function begin() { rest = window.setTimeout(function () { toast.remove(); }, 10000); }
    function wait() { window.clearTimeout(rest); }
    ["mouseenter", "focusin"].forEach(function (name) { toast.addEventListener(name, wait); });
    ["mouseleave", "focusout"].forEach(function (name) { toast.addEventListener(name, begin); });
    begin();
  });

  // ---- sounds: two rising tones for yes, one low one for no

  var TONES = bare({ done: [[660, 0], [880, 0.09]], told: [[660, 0]], warned: [[440, 0], [440, 0.14]], refused: [[196, 0], [165, 0.16]] });

  function play(kind) {
    var Audio = window.AudioContext || window.webkitAudioContext;
    if (!Audio || !TONES[kind] || !root.hasAttribute("data-sounds")) return;
    try {
      var context = new Audio();
      TONES[kind].forEach(function (tone) {
        var wave = context.createOscillator();
        var loud = context.createGain();
        var at = context.currentTime + tone[1];
        wave.frequency.value = tone[0];
        wave.type = kind === "refused" ? "triangle" : "sine";
        loud.gain.setValueAtTime(0.0001, at);
        loud.gain.exponentialRampToValueAtTime(0.25, at + 0.012);
        loud.gain.exponentialRampToValueAtTime(0.0001, at + 0.16);
        wave.connect(loud).connect(context.destination);
        wave.start(at);
        wave.stop(at + 0.18);
      });
      window.setTimeout(function () { context.close(); }, 800);
    } catch (error) {
      // A machine without sound says it by word and colour alone.
    }
  }

  var heard = document.querySelector("[data-sound]");
  if (heard) play(heard.getAttribute("data-sound"));
  new MutationObserver(function (changes) {
    changes.forEach(function (change) {
      Array.prototype.forEach.call(change.addedNodes, function (node) {
        if (node.nodeType !== 1) return;
        var loud = node.matches("[data-sound]") ? node : node.querySelector("[data-sound]");
        if (loud) play(loud.getAttribute("data-sound"));
      });
    });
  }).observe(document.body, bare({ childList: true, subtree: true }));
})();
