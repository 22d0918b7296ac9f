(() => {
  const data = JSON.parse(document.getElementById("numbers").textContent);
  const said = document.getElementById("said");
  const table = document.getElementById("rows");
  const framework = document.getElementById("pick").dataset.framework;

  const cells = (texts) => texts.map((text, at) => {
    const cell = document.createElement(at ? "td" : "th");
    if (!at) cell.scope = "row";
    cell.textContent = text;
    return cell;
  });
  const show = () => {
    const [before, after, python] = decodeURIComponent(location.hash.slice(1)).split("..");
    const known = data[python];
    const at = known ? [before, after].map((name) => known.releases.indexOf(name)) : [-1];
    table.hidden = at.includes(-1);
    if (table.hidden) {
      said.textContent = location.hash ? `Not measured: ${before} and ${after} on Python ${python}.` : "Choose two releases.";
      return;
    }
    const both = known.cells.filter((cell) => cell[1 + at[0]] >= 0 && cell[1 + at[1]] >= 0);
    const changed = both.filter((cell) => cell[1 + at[0]] !== cell[1 + at[1]]);
    const named = at.map((place) => `${known.releases[place]} (${known.dates[place] || "date unknown"}${known.yanked[place] ? ", yanked" : ""})`);
    document.querySelector("h1").textContent = `${framework} ${before} → ${after}, Python ${python}`;
    document.title = `${framework} ${before} → ${after}, Python ${python}: what each leaves`;
    said.textContent = `${named[0]} beside ${named[1]}: cells that differ: ${changed.length} of ${both.length}.`;
    document.getElementById("command").textContent = `outlive report ${framework} ${before} ${after} --python ${python}`;
    table.tBodies[0].replaceChildren(...changed.map((cell) => {
      const [scenario, connection, gc] = cell[0].split("|");
      const row = document.createElement("tr");
      row.append(...cells([scenario, `${connection}, gc ${gc}`, known.texts[cell[1 + at[0]]], known.texts[cell[1 + at[1]]]]));
      return row;
    }));
  };

  addEventListener("hashchange", show);
  show();
})();
