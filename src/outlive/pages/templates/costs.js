"use strict";
(() => {
  const form = document.getElementById("rates");
  const inputs = [...form.querySelectorAll("input")];
  const data = JSON.parse(document.getElementById("leaves").textContent);
  const MIB = 1048576;

  const digits = (value, most) => value.toLocaleString("en-US", { minimumFractionDigits: most, maximumFractionDigits: most });
  const about = (value) => {
    if (value === null) return "–";
    if (Math.abs(value) >= 1e9) return value.toExponential(2).replace(/e([+-])(\d)$/, "e$10$2");
    if (Math.abs(value) >= 99.95) return digits(value, 0);
    if (Math.abs(value) >= 9.995) return value.toFixed(1);
    return Math.abs(value) < 0.005 ? "0" : value.toFixed(2);
  };
  const span = (hours) => {
    if (hours === null) return "never";
    if (hours * 60 < 1) return "under 1 min";
    if (hours < 2) return `${digits(hours * 60, 0)} min`;
    if (hours < 72) return `${hours.toFixed(1)} h`;
    return hours / 24 < 3650 ? `${digits(hours / 24, 0)} days` : "over 10 years";
  };
  const round = (value) => {
    if (value < 1) return 1;
    if (value >= 1e15) return 1e15;
    const unit = 10 ** Math.max(0, Math.floor(Math.log10(value)) - 1);
    return Math.floor(value / unit) * unit;
  };

  const cost = (one, base, rates) => {
    const mixed = (error, ok) => rates.errors * error + (1 - rates.errors) * ok;
    const each = mixed(one.bytes_each, one.ok_bytes);
    const garbage = mixed(one.garbage_each, one.ok_garbage);
    const room = Math.max(0, rates.limit - rates.workers * (base || 0));
    const growth = each * rates.rate;
    return {
      mib: about(growth * 3600 / MIB),
      hours: span(growth > 0 ? room / growth / 3600 : null),
      restart: about(each > 0 ? round(data.restart_share * room / rates.workers / each) : null),
      collect: about(garbage > 0 ? round(data.garbage_share * room / rates.workers / garbage) : null),
    };
  };

  const update = () => {
    if (!inputs.every((input) => input.checkValidity())) return;
    const value = (name) => Number(inputs.find((input) => input.name === name).value);
    const rates = {
      rate: value("rate"), errors: value("errors") / 100, workers: value("workers"), limit: value("limit") * MIB,
    };
    for (const cell of document.querySelectorAll("[data-cost]")) {
      const [at, field] = cell.dataset.cost.split(" ");
      const before = cost(data.before[at], data.base_before, rates)[field];
      const after = cost(data.after[at], data.base_after, rates)[field];
      cell.textContent = before === after ? after : `${before} → ${after}`;
    }
    for (const cell of document.querySelectorAll("[data-rate]")) {
      cell.textContent = digits(value(cell.dataset.rate), 0);
    }
  };

  form.hidden = false;
  form.addEventListener("input", update);

})();
