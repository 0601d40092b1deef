"use strict";
(() => {
  // Without this script all sections stand below one another, and the links lead to them.
  const list = document.querySelector(".tabs");
  const tabs = [...list.querySelectorAll("a")];
  const panelOf = (tab) => document.getElementById(tab.getAttribute("href").slice(1));

  const show = (tab) => {
    for (const one of tabs) {
      const chosen = one === tab;
      one.setAttribute("aria-selected", String(chosen));
      one.tabIndex = chosen ? 0 : -1;
      // The browser's own search finds what is in other tabs, where it can.
      if (chosen) panelOf(one).removeAttribute("hidden");
      else panelOf(one).setAttribute("hidden", "until-found");
    }
  };
  const choose = (tab) => {
    const top = list.parentElement;
    const stuck = top.getBoundingClientRect().top <= 0;
    show(tab);
    tab.scrollIntoView({block: "nearest", inline: "nearest"});
    try { history.pushState(null, "", tab.hash); } catch { location.hash = tab.hash; }
    if (stuck) panelOf(tab).scrollIntoView();
  };
  const follow = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const tab = target && tabs.find((one) => panelOf(one).contains(target));
    show(tab || tabs[0]);
    if (tab) target.scrollIntoView();
  };

  if (tabs.length) {
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", "Sections");
    for (const tab of tabs) {
      const panel = panelOf(tab);
      tab.id = `${panel.id}-tab`;
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", panel.id);
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", tab.id);
      panel.addEventListener("beforematch", () => show(tab));
      tab.addEventListener("click", (event) => { event.preventDefault(); choose(tab); });
    }
    list.addEventListener("keydown", (event) => {
      const at = tabs.indexOf(document.activeElement);
      const to = {ArrowRight: at + 1, ArrowLeft: at - 1 + tabs.length, Home: 0, End: tabs.length - 1, " ": at}[event.key];
      if (at < 0 || to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      const tab = tabs[to % tabs.length];
      choose(tab);
      tab.focus({preventScroll: true});
    });
    addEventListener("hashchange", follow);
    addEventListener("popstate", follow);
    follow();
  }

  // A long table can be searched by any word of a row.
  for (const box of document.querySelectorAll(".tall")) {
    const label = document.createElement("label");
    label.className = "filter";
    const input = document.createElement("input");
    input.type = "search";
    input.placeholder = "words of a row";
    const count = document.createElement("output");
    label.append("Filter", input, count);
    box.before(label);
    const words = new Map();
    input.addEventListener("input", () => {
      const rows = [...box.querySelectorAll("tbody tr")];
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        if (!words.has(row)) words.set(row, [...row.cells].map((one) => one.textContent.toLowerCase()).join(" "));
        row.hidden = !wanted.every((word) => words.get(row).includes(word));
        if (!row.hidden) shown += 1;
      }
      count.textContent = wanted.length ? `${shown} of ${rows.length} rows` : "";
    });
  }

  // What is wider than its box says so, and has a shadow where it goes on.
  const measure = (box) => {
    const wider = box.scrollWidth - box.clientWidth;
    box.classList.toggle("cut", wider - box.scrollLeft > 2);
    const said = box.previousElementSibling;
    const there = said && said.classList.contains("more");
    if (wider > 2 && !there) {
      const more = document.createElement("p");
      more.className = "more";
      more.textContent = "Wider than the page: it scrolls sideways \u2192";
      box.before(more);
    } else if (wider <= 2 && there) said.remove();
  };
  const sizes = new ResizeObserver((changes) => {
    requestAnimationFrame(() => { for (const change of changes) measure(change.target); });
  });
  for (const box of document.querySelectorAll(".box")) {
    sizes.observe(box);
    box.addEventListener("scroll", () => measure(box), {passive: true});
  }

  // Light or dark as the system has it, until somebody wants it otherwise.
  const kept = (() => {
    try { return localStorage.getItem("pvefi-theme"); } catch { return null; }
  })();
  const button = document.createElement("button");
  button.type = "button";
  button.className = "theme";
  const dark = () => (document.documentElement.dataset.theme
    || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const name = () => { button.textContent = dark() ? "Light" : "Dark"; };
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
  button.addEventListener("click", () => {
    const theme = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try { localStorage.setItem("pvefi-theme", theme); } catch { /* a page without storage forgets it */ }
    name();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();
  document.querySelector("h1").before(button);
})();
