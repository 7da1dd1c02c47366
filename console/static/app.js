// What pages do beyond links and forms. Nothing here is needed to get work done; without it everything still works.
(() => {
  "use strict";
  const token = () => document.querySelector('meta[name="csrf-token"]')?.content ?? "";
  document.addEventListener("htmx:config:request", (event) => {
    event.detail.ctx.request.headers["X-CSRFToken"] = token();
  });

  // Filters apply as they are changed; their button is for those without scripts.
  const auto = (root) => root.querySelectorAll("form[data-auto]").forEach((form) => {
    form.addEventListener("change", () => form.requestSubmit());
  });

  // One press, one submission.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    setTimeout(() => delete form.dataset.sent, 8000);
  });
  window.addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((f) => delete f.dataset.sent));

  // Navigation that is wider than the window shows where one is.
  document.querySelectorAll(".gj-nav ul, .gj-subnav ul").forEach((list) => {
    const here = list.querySelector("[aria-current]");
    if (here && list.scrollWidth > list.clientWidth) list.scrollLeft = here.offsetLeft - (list.clientWidth - here.offsetWidth) / 2;
  });

  // Menus close when one goes elsewhere.
  document.addEventListener("click", (event) => {
    document.querySelectorAll("details.gj-menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.querySelectorAll("details.gj-menu[open]").forEach((menu) => { menu.open = false; menu.querySelector("summary").focus(); });
    const busy = event.target.closest?.("input, textarea, select, [contenteditable]");
    const named = busy || event.ctrlKey || event.metaKey || event.altKey ? null : document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (named) { event.preventDefault(); named.click(); }
    if (event.key === "/" && !busy && !event.ctrlKey && !event.metaKey) { const q = document.getElementById("q"); if (q) { event.preventDefault(); q.focus(); } }
  });

  // What is typed into a form with data-draft survives until it is accepted, in this tab alone.
  const drafts = (root) => root.querySelectorAll("form[data-draft]").forEach((form) => {
    const key = `draft:${form.dataset.draft}`;
    const fields = () => [...form.elements].filter((e) => e.name && !["hidden", "password", "file", "submit"].includes(e.type));
    const kept = JSON.parse(sessionStorage.getItem(key) ?? "null");
    if (kept && !form.querySelector(".gj-errors")) fields().forEach((e, i) => {
      const was = kept[`${e.name}#${i}`];
      if (was === undefined) return;
      if (e.type === "checkbox" || e.type === "radio") e.checked = was; else if (!e.value || e.tagName === "SELECT") e.value = was;
    });
    form.addEventListener("input", () => {
      const now = {};
      fields().forEach((e, i) => { now[`${e.name}#${i}`] = e.type === "checkbox" || e.type === "radio" ? e.checked : e.value; });
      sessionStorage.setItem(key, JSON.stringify(now));
    });
  });
  document.querySelectorAll("[data-draft-done]").forEach((e) => sessionStorage.removeItem(`draft:${e.dataset.draftDone}`));

  // Files are chosen by a button in the reader's language; the browser's own speaks its own.
  const files = (root) => root.querySelectorAll('input[type="file"][data-choose]:not(.visually-hidden)').forEach((input) => {
    const line = document.createElement("div");
    const label = line.appendChild(document.createElement("label"));
    const told = line.appendChild(document.createElement("span"));
    line.className = "gj-chosen"; label.className = "btn"; label.htmlFor = input.id; label.textContent = input.dataset.choose;
    const tell = () => { told.textContent = [...input.files].map((one) => one.name).join("、") || input.dataset.none; };
    input.classList.add("visually-hidden"); input.after(line); input.addEventListener("change", tell); tell();
  });

  // A field that only some answers of a choice have a use for stands there with those alone, and as long as it holds something.
  const useful = (root) => root.querySelectorAll("[data-only-of]").forEach((field) => {
    const choice = document.getElementById(field.dataset.onlyOf);
    if (!choice) return;
    const show = () => { field.closest(".gj-field").hidden = !field.value && !field.dataset.only.split(" ").includes(choice.value); };
    choice.addEventListener("change", show); show();
  });

  // What is typed where there is much to choose from is suggested to by the page that the field stands on.
  const suggest = (root) => root.querySelectorAll("input[data-suggest]").forEach((input) => {
    const list = document.getElementById(input.getAttribute("list"));
    let waiting = 0, wanted = "";
    input.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(async () => {
        const near = wanted = input.value, at = new URL(location.href);
        if ([...list.options].some((one) => one.value === near)) return;
        at.hash = ""; at.searchParams.set("suggest", input.dataset.suggest); at.searchParams.set("near", near);
        const answer = await fetch(at, { headers: { Accept: "application/json" } }).catch(() => null);
        if (!answer?.ok || near !== wanted || !answer.headers.get("content-type")?.startsWith("application/json")) return;
        list.replaceChildren(...(await answer.json()).map((text) => Object.assign(document.createElement("option"), { value: text })));
      }, 150);
    });
  });

  // Security keys: the browser is asked for one, and what it tells goes along with the form. Older browsers know no JSON of these.
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const spelled = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const told = (made) => {
    const response = { clientDataJSON: spelled(made.response.clientDataJSON) };
    for (const name of ["attestationObject", "authenticatorData", "signature"]) if (made.response[name]) response[name] = spelled(made.response[name]);
    if (made.response.getTransports) response.transports = made.response.getTransports();
    return JSON.stringify({ id: made.id, rawId: spelled(made.rawId), type: made.type, response });
  };
  const asking = (text) => {
    const options = JSON.parse(text);
    options.challenge = bytes(options.challenge);
    if (options.user) options.user.id = bytes(options.user.id);
    for (const one of [...(options.allowCredentials ?? []), ...(options.excludeCredentials ?? [])]) one.id = bytes(one.id);
    return options;
  };
  document.querySelectorAll("[data-key-options]").forEach((place) => {
    const said = place.querySelector("p"), button = place.querySelector("button");
    if (location.origin !== place.dataset.keyOrigin) { said.textContent = place.dataset.elsewhere; return; }
    if (!window.PublicKeyCredential) { said.textContent = place.dataset.unable; return; }
    said.textContent = ""; button.hidden = false;
    button.addEventListener("click", async () => {
      button.disabled = true; said.textContent = "";
      try {
        const publicKey = asking(place.dataset.keyOptions);
        const made = await (publicKey.user ? navigator.credentials.create({ publicKey }) : navigator.credentials.get({ publicKey }));
        place.querySelector("input").value = told(made);
        place.closest("form").requestSubmit();
      } catch { said.textContent = place.dataset.failed; }
      button.disabled = false;
    });
  });

  // Charts: the same six colours everywhere, told apart by dashes and marks as well.
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const DASHES = ["solid", "dashed", "dotted", [8, 3, 2, 3], [12, 4], [2, 2]];
  const MARKS = ["circle", "rect", "triangle", "diamond", "pin", "arrow"];
  const figure = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 4 });
  const written = (value, spec) => value === null || value === undefined ? spec.missing : figure.format(value) + (spec.unit ? ` ${spec.unit}` : "");

  const tip = (spec) => (points) => {
    const list = Array.isArray(points) ? points : [points];
    const box = document.createElement("div");
    box.className = "gj-tip";
    const head = document.createElement("b");
    head.textContent = String(spec.time ? list[0]?.axisValueLabel ?? "" : list[0]?.name ?? "").replace("T", " ");
    const rows = document.createElement("dl");
    for (const one of list) {
      const dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = one.seriesName;
      dd.textContent = written(Array.isArray(one.value) ? one.value[1] : one.value, spec);
      rows.append(dt, dd);
    }
    box.append(head, rows);
    return box;
  };

  const option = (spec, narrow) => {
    const text = style("--gj-soft"), line = style("--gj-line"), strong = style("--gj-text");
    const colours = [1, 2, 3, 4, 5, 6].map((n) => style(`--gj-${n}`));
    const axisText = { color: text, fontSize: 12 };
    const category = { type: spec.time ? "time" : "category", data: spec.time ? undefined : spec.x, axisLabel: { ...axisText, hideOverlap: true, formatter: spec.time ? { year: "{yyyy}", month: "{yyyy}-{MM}", day: "{MM}-{dd}", hour: "{HH}:{mm}", minute: "{HH}:{mm}" } : undefined }, axisLine: { lineStyle: { color: line } }, axisTick: { show: false }, splitLine: { show: false }, inverse: spec.horizontal };
    const value = { type: "value", name: spec.unit, nameTextStyle: axisText, max: spec.maximum ?? undefined, axisLabel: axisText, splitLine: { lineStyle: { color: line } } };
    const marks = spec.thresholds.length ? { silent: true, symbol: "none", lineStyle: { color: style("--gj-bad"), type: "dashed", width: 1 }, label: { color: style("--gj-bad"), position: "insideEndTop", formatter: "{b}" }, data: spec.thresholds.map((t) => ({ name: `${t.name} ${written(t.value, spec)}`, [spec.horizontal ? "xAxis" : "yAxis"]: t.value })) } : undefined;
    return {
      animation: false, color: colours, textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
      aria: { enabled: false },
      grid: { left: 8, right: 16, top: spec.series.length > 1 ? 36 : 28, bottom: 4, containLabel: true },
      legend: spec.series.length > 1 ? { type: narrow ? "scroll" : "plain", top: 0, right: 0, textStyle: { color: strong }, itemWidth: 26 } : undefined,
      tooltip: { trigger: "axis", confine: true, backgroundColor: style("--gj-surface"), borderColor: line, textStyle: { color: strong }, formatter: tip(spec), axisPointer: { type: "line", lineStyle: { color: text } } },
      xAxis: spec.horizontal ? value : category, yAxis: spec.horizontal ? category : value,
      series: spec.series.map((one, i) => ({
        name: one.name, type: one.kind === "bar" ? "bar" : "line", stack: one.stack || undefined, connectNulls: false,
        data: spec.time ? one.values.map((v, k) => [spec.x[k], v]) : one.values,
        step: one.role === "capacity" ? "end" : undefined, barMaxWidth: 28,
        symbol: MARKS[i % MARKS.length], symbolSize: 5, showSymbol: one.values.length <= 31, sampling: one.kind === "bar" ? undefined : "lttb",
        lineStyle: one.role === "capacity" ? { color: strong, width: 2, type: "solid" } : { width: 1.75, type: DASHES[i % DASHES.length] },
        itemStyle: one.role === "capacity" ? { color: strong } : undefined,
        areaStyle: one.kind === "area" ? { opacity: 0.15 } : undefined,
        markLine: i === 0 ? marks : undefined,
      })),
    };
  };

  const scattered = (spec, narrow) => {
    const text = style("--gj-soft"), line = style("--gj-line"), strong = style("--gj-text");
    const colours = [1, 2, 3, 4, 5, 6].map((n) => style(`--gj-${n}`));
    const axis = (name, more) => ({ name, nameLocation: "middle", nameGap: 28, nameTextStyle: { color: text }, axisLabel: { color: text }, axisLine: { lineStyle: { color: line } }, splitLine: { lineStyle: { color: line } }, scale: true, ...more });
    return {
      animation: false, color: colours, textStyle: { fontFamily: getComputedStyle(document.body).fontFamily }, aria: { enabled: false },
      grid: { left: 24, right: narrow ? 24 : 120, top: 36, bottom: 28, containLabel: true },
      legend: { type: narrow ? "scroll" : "plain", top: 0, right: 0, textStyle: { color: strong }, data: spec.groups.map((one) => one.name) },
      tooltip: { trigger: "item", confine: true, backgroundColor: style("--gj-surface"), borderColor: line, textStyle: { color: strong }, formatter: (point) => {
        const box = document.createElement("div"), head = document.createElement("b"), say = document.createElement("span");
        box.className = "gj-tip";
        head.textContent = point.value[2] ?? "";
        say.textContent = `${spec.x_label} ${figure.format(point.value[0])} · ${spec.y_label} ${figure.format(point.value[1])}`;
        box.append(head, document.createElement("br"), say);
        return box;
      } },
      xAxis: axis(spec.x_label, { type: spec.logarithmic ? "log" : "value" }), yAxis: axis(spec.y_label, { type: "value" }),
      series: [
        ...spec.groups.map((one, i) => ({ name: one.name, type: "scatter", data: one.points, symbol: MARKS[i % MARKS.length], symbolSize: 11, label: { show: !narrow, position: "right", color: strong, fontSize: 11, formatter: (point) => point.value[2] }, labelLayout: { hideOverlap: true, moveOverlap: "shiftY" } })),
        { name: "", type: "line", data: spec.line, symbol: "none", silent: true, lineStyle: { color: text, width: 1, type: "dotted" }, tooltip: { show: false } },
      ],
    };
  };
  const picture = (spec, narrow) => spec.scatter ? scattered(spec, narrow) : option(spec, narrow);

  const drawn = [];
  const charts = (root) => root.querySelectorAll("[data-chart]").forEach((box) => {
    if (!window.echarts || box.dataset.drawn) return;
    const spec = JSON.parse(document.getElementById(box.dataset.chart).textContent);
    const chart = window.echarts.init(box, null, { renderer: "canvas", locale: document.documentElement.lang.startsWith("zh") ? "ZH" : "EN" });
    chart.setOption(picture(spec, box.clientWidth < 480));
    if (spec.links.length) chart.on("click", (point) => { const to = spec.links[point.dataIndex]; if (to) window.location.href = to; });
    box.dataset.drawn = "1";
    drawn.push({ box, chart, spec });
  });
  const redraw = () => drawn.forEach(({ box, chart, spec }) => { chart.resize(); chart.setOption(picture(spec, box.clientWidth < 480), true); });
  let waiting = 0;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(redraw, 120); });
  new MutationObserver(redraw).observe(document.documentElement, { attributes: true, attributeFilter: ["data-bs-theme"] });

  const dress = (root) => { auto(root); drafts(root); files(root); useful(root); suggest(root); charts(root); };
  dress(document);
  document.addEventListener("htmx:after:swap", () => charts(document));
  document.getElementById("errors")?.focus();
})();
