"use strict";
// The page of one scan and its heatmaps. It embeds its volumes as gzipped NIfTI and fetches nothing.
(async function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const NONE = -1;
  const VIEWS = { "multiplanar + 3D": 3, axial: 0, coronal: 1, sagittal: 2, "3D render": 4 };
  const BELOW_THRESHOLD_CLEAR = 2; // NiiVue's colormapType: colours start at 0 even if weak values are hidden
  const { sequential, diverging } = data.colours;
  const names = { sequential, diverging: Object.keys(diverging) };
  const chosen = { sequential: names.sequential[0], diverging: names.diverging[0] };

  function giveUp(reason) {
    at("no-webgl").hidden = false;
    at("panels").open = true;
    document.body.dataset.state = "static";
    document.body.dataset.reason = reason;
  }

  // Before the check for WebGL 2: tables can be downloaded without the viewer, too.
  for (const button of document.querySelectorAll("button.download")) {
    const { table, table_file } = data.heatmaps[button.dataset.heatmap].report;
    button.disabled = false;
    button.addEventListener("click", () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([table], { type: "text/tab-separated-values;charset=utf-8" }));
      link.download = table_file;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });
  }

  // Browsers may deny local files the clipboard, so the text is also selected for copying by hand.
  for (const button of document.querySelectorAll("button.copy")) {
    button.disabled = false;
    button.addEventListener("click", async () => {
      const text = at(button.dataset.copy);
      getSelection().selectAllChildren(text);
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = document.execCommand("copy") ? "Copied" : "Selected: press Ctrl+C";
      }
    });
  }

  if (!document.createElement("canvas").getContext("webgl2")) {
    giveUp("no WebGL 2");
    return;
  }
  at("viewer").hidden = false;

  const nv = new niivue.Niivue({
    backColor: [0, 0, 0, 1], show3Dcrosshair: true, dragAndDropEnabled: false, isColorbar: false,
    multiplanarShowRender: 1, logLevel: "error", crosshairWidth: 0.7, isOrientCube: false,
    crosshairColor: [0.3, 1, 0.5, 0.8],
  });
  let scan = null;
  let overlays = [];
  let regions = null;
  let shown = data.heatmaps.length ? 0 : NONE;
  let marked = null; // the highlighted region: its button, name and volume
  let marks = 0;

  function element(name, text, kind) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  function format(value) {
    if (value === 0) return "0";
    return Math.abs(value) >= 0.001 && Math.abs(value) < 1e5 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
  }

  async function volume(entry, options) {
    return niivue.NVImage.loadFromBase64({
      base64: entry.nifti, name: entry.file, trustCalMinMax: false, colorbarVisible: false, ...options,
    });
  }

  // NiiVue uses absolute tolerances, so heatmaps are rescaled to shares of their largest colour value.
  async function heatmap(heat) {
    const image = await volume(heat, { colormap: names.sequential[0], cal_min: 0, cal_max: heat.top });
    image.hdr.scl_slope /= heat.top;
    return image;
  }

  // Offer the colour maps that suit the heatmap, and return NiiVue's names of both sides.
  function sides(heat) {
    const kind = heat.signed ? "diverging" : "sequential";
    const select = at("colours");
    if (select.dataset.kind === kind) {
      chosen[kind] = select.value;
      document.body.dataset.signs = chosen.diverging; // colours the bars of regions alike
    } else {
      select.dataset.kind = kind;
      select.replaceChildren(...names[kind].map((name) => element("option", name)));
      select.value = chosen[kind];
    }
    return heat.signed ? [`${chosen[kind]} negative`, `${chosen[kind]} positive`] : ["", chosen[kind]];
  }

  // Draw the colour bar. The hidden range stays blank, and both ends are labelled with their meaning.
  function drawScale(heat, negative, positive, share) {
    const bar = at("bar"), steps = 256;
    bar.width = heat.signed ? 2 * steps - 1 : steps;
    const pen = bar.getContext("2d");
    const paint = (name, place) => {
      const colours = nv.colormap(name);
      for (let i = Math.max(1, Math.ceil(share * (steps - 1))); i < steps; i++) {
        pen.fillStyle = `rgb(${colours[4 * i]}, ${colours[4 * i + 1]}, ${colours[4 * i + 2]})`;
        pen.fillRect(place(i), 0, 1, 1);
      }
    };
    const zero = heat.signed ? steps - 1 : 0;
    paint(positive, (i) => zero + i);
    if (heat.signed) paint(negative, (i) => zero - i);
    const top = format(heat.top);
    at("low").textContent = heat.signed ? `-${top}  ${heat.low}` : "0";
    at("middle").textContent = heat.signed ? "0" : "";
    at("high").textContent = heat.signed ? `${heat.high}  ${top}` : top;
  }

  // Only visible volumes are on the GPU: the scan, one heatmap, and the outlines.
  function refresh() {
    const share = at("threshold").value / 100;
    const layers = [scan];
    const heat = data.heatmaps[shown], seen = shown !== NONE && overlays[shown];
    at("scale").hidden = !seen;
    at("threshold-text").textContent = "";
    at("remark").textContent = seen ? heat.remark : "";
    if (seen) {
      const [negative, positive] = sides(heat);
      at("threshold-text").textContent = (heat.signed ? "\u00b1" : "") + format(share * heat.top);
      Object.assign(overlays[shown], {
        opacity: at("opacity").value / 100, colormap: positive, colormapNegative: negative,
        colormapType: BELOW_THRESHOLD_CLEAR, cal_min: share, cal_max: 1, cal_minNeg: -1, cal_maxNeg: -share,
      });
      layers.push(overlays[shown]);
      drawScale(heat, negative, positive, share);
    }
    if (regions && at("outlines").checked) layers.push(regions);
    if (marked) layers.push(marked.image);
    nv.volumes = layers;
    nv.back = scan;
    nv.overlays = layers.slice(1);
    nv.updateGLVolume();
    for (const row of at("readout").rows) row.classList.toggle("shown", row.dataset.method === String(shown));
  }

  function readout() {
    const mm = nv.frac2mm(nv.scene.crosshairPos);
    const voxel = scan.mm2vox(mm);
    const value = (image) => image.getValue(...image.mm2vox(mm));
    const table = at("readout");
    table.replaceChildren();
    const add = (name, text, method) => {
      const row = table.insertRow();
      row.append(element("th", name), element("td", text, "number"));
      if (method !== undefined) row.dataset.method = String(method);
      row.classList.toggle("shown", method === shown);
    };
    add("position, mm", Array.from(mm).slice(0, 3).map((x) => x.toFixed(1)).join(", "));
    add("voxel (RAS)", Array.from(voxel).map(Math.round).join(", "));
    if (regions) add("region", data.regions.names[Math.round(value(regions))] || "-");
    if (marked) add("highlighted", marked.name);
    add(data.scan.words, format(value(scan)));
    overlays.forEach((image, i) => {
      const heat = data.heatmaps[i];
      if (!heat.listed || i === shown) add(heat.name, format(value(image) * heat.top), i);
    });
  }

  function choose(index) {
    shown = index;
    for (const input of document.querySelectorAll("input[name=method]")) input.checked = input.value === String(index);
    at("subjects").value = index !== NONE && data.heatmaps[index].listed ? String(index) : "";
  }

  // A volume of one region, of which NiiVue draws the border. Decoding it again each time is fast enough.
  async function outline(report, region) {
    const image = await volume(report, { opacity: 1 });
    image.img = image.img.map((number) => (number === region + 1 ? 1 : 0));
    image.setColormapLabel({ R: [0, 80], G: [0, 255], B: [0, 130], A: [0, 0], I: [0, 1], labels: ["", ""] });
    return image;
  }

  // Show a region: its heatmap, the crosshair at its centre, its border. A second click hides the border.
  async function mark(button) {
    const index = Number(button.dataset.heatmap), region = Number(button.dataset.region);
    const { report } = data.heatmaps[index];
    const asked = ++marks, again = marked && marked.button === button;
    const image = again ? null : await outline(report, region);
    if (asked !== marks) return; // another region was chosen in the meantime
    if (marked) marked.button.setAttribute("aria-pressed", "false");
    marked = again ? null : { button, image, name: report.names[region] };
    if (marked) {
      button.setAttribute("aria-pressed", "true");
      choose(index);
      nv.scene.crosshairPos = nv.mm2frac(report.at[region]);
      at("viewer").scrollIntoView({ block: "nearest" });
    }
    refresh();
    readout();
  }

  function barButtons() {
    for (const button of document.querySelectorAll("button.region")) {
      const { report } = data.heatmaps[button.dataset.heatmap];
      if (!report.at[button.dataset.region]) {
        button.title = "The page does not know where this region is.";
        continue;
      }
      button.disabled = false;
      button.closest("tr").addEventListener("click", () => mark(button));
    }
  }

  function controls() {
    const offer = (index, name, remark) => {
      const label = element("label");
      const input = element("input");
      Object.assign(input, { type: "radio", name: "method", value: index, checked: index === shown });
      input.addEventListener("change", () => { choose(index); refresh(); readout(); });
      label.append(input, " ", name);
      if (remark) label.append(element("small", remark));
      at("methods").append(label);
    };
    const subjects = at("subjects");
    subjects.append(new Option("-", ""));
    data.heatmaps.forEach((heat, i) => {
      if (heat.listed) subjects.append(new Option(heat.name, i));
      else offer(i, heat.name, heat.remark);
    });
    offer(NONE, `${data.scan.words} only`);
    at("subjects-label").hidden = !data.heatmaps.some((heat) => heat.listed);
    subjects.addEventListener("input", () => {
      choose(subjects.value === "" ? 0 : Number(subjects.value));
      refresh();
      readout();
    });
    for (const [name, { negative, positive }] of Object.entries(diverging)) {
      nv.addColormap(`${name} negative`, negative);
      nv.addColormap(`${name} positive`, positive);
    }
    for (const name of Object.keys(VIEWS)) at("view").append(element("option", name));
    for (const id of ["opacity", "threshold", "colours", "outlines"]) at(id).addEventListener("input", refresh);
    at("view").addEventListener("input", () => nv.setSliceType(VIEWS[at("view").value]));
    at("outline-label").hidden = !data.regions;
    at("controls").addEventListener("submit", (event) => event.preventDefault());
  }

  try {
    await nv.attachToCanvas(at("canvas"));
    controls();
    const first = data.heatmaps.slice(0, 1), others = data.heatmaps.slice(1);
    [scan, overlays] = await Promise.all([
      volume(data.scan, { colormap: "gray", opacity: 1, cal_min: 0, cal_max: data.scan.top }),
      Promise.all(first.map(heatmap)),
    ]);
    if (data.regions) {
      regions = await volume(data.regions, { opacity: 1 });
      regions.setColormapLabel(data.regions.colours);
    }
    nv.opts.atlasOutline = 0.6; // for label volumes: the region outlines and the highlighted region
    nv.addVolume(scan);
    nv.setSliceType(VIEWS["multiplanar + 3D"]);
    nv.scene.crosshairPos = nv.mm2frac(data.at);
    nv.onLocationChange = readout;
    refresh();
    readout();
    barButtons();
    window.pyadx = { nv };
    document.body.dataset.state = "ready";
    for (const heat of others) overlays.push(await heatmap(heat));
    refresh();
    readout();
    document.body.dataset.state = "complete";
  } catch (error) {
    at("viewer").hidden = true;
    giveUp(String(error));
    console.error(error);
  }
})();
