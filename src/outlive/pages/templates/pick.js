"use strict";
(() => {
  const form = document.getElementById("pick");
  const data = JSON.parse(document.getElementById("choices").textContent);
  const [framework, python, before, after] = ["framework", "python", "from", "to"].map((name) => form.elements[name]);
  const root = form.dataset.root;

  const fill = (select, names, chosen) => {
    select.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
  };
  const known = () => data[framework.value][python.value];
  const pythons = () => {
    const names = Object.keys(data[framework.value]);
    fill(python, names, names.reduce((a, b) => (data[framework.value][b].releases.length > data[framework.value][a].releases.length ? b : a)));
  };
  const releases = () => {
    const names = known().releases;
    fill(before, names, names[Math.min(names.length - 1, 1)]);
    fill(after, names, names[0]);
  };
  const go = () => {
    const names = known().releases;
    const at = [before, after].map((select) => names.indexOf(select.value));
    const page = known().pages.some((pair) => pair[0] === at[0] && pair[1] === at[1]);
    const own = `${before.value}-to-${after.value}-py${python.value}.html`;
    const other = `any.html#${before.value}..${after.value}..${python.value}`;
    location.href = `${root}${framework.value}/${page ? own : other}`;
  };

  fill(framework, Object.keys(data), form.dataset.framework);
  pythons();
  releases();
  const [early, late, on] = decodeURIComponent(location.hash.slice(1)).split("..");
  if (on in data[framework.value]) {
    python.value = on;
    releases();
    [before.value, after.value] = [early, late];
  }
  framework.addEventListener("change", () => { pythons(); releases(); });
  python.addEventListener("change", releases);
  form.addEventListener("submit", (event) => { event.preventDefault(); go(); });
  form.hidden = false;
})();
