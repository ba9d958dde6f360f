"use strict";
// The page of one scan and its heatmaps. Volumes come as gzipped NIfTI inside the page; nothing is fetched.
(async function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const NONE = -1;
  const VIEWS = { "multiplanar + 3D": 3, axial: 0, coronal: 1, sagittal: 2, "3D render": 4 };
  // Maps of even lightness, which colour-blind readers can tell apart.
  const COLOURS = ["inferno", "viridis", "plasma", "cividis"];

  function giveUp(reason) {
    at("no-webgl").hidden = false;
    at("panels").open = true;
    document.body.dataset.state = "static";
    document.body.dataset.reason = reason;
  }

  if (!document.createElement("canvas").getContext("webgl2")) {
    giveUp("no WebGL 2");
    return;
  }
  at("viewer").hidden = false;

  const nv = new niivue.Niivue({
    backColor: [0, 0, 0, 1], show3Dcrosshair: true, dragAndDropEnabled: false, isColorbar: true,
    multiplanarShowRender: 1, logLevel: "error", crosshairWidth: 0.7, isOrientCube: false,
    crosshairColor: [0.3, 0.8, 1, 0.8], colorbarHeight: 0.03,
  });
  let scan = null;
  let overlays = [];
  let regions = null;
  let shown = data.heatmaps.length ? 0 : NONE;

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

  // Only what is seen is on the GPU: the scan, one heatmap, the outlines.
  function refresh() {
    const share = at("threshold").value / 100;
    const layers = [scan];
    at("threshold-text").textContent = "";
    if (shown !== NONE && overlays[shown]) {
      const { top, signed } = data.heatmaps[shown];
      const colormap = at("colours").value;
      at("threshold-text").textContent = format(share * top);
      Object.assign(overlays[shown], {
        opacity: at("opacity").value / 100, colormap, colorbarVisible: true, cal_min: share * top, cal_max: top,
        colormapNegative: signed ? "winter" : "", cal_minNeg: -share * top, cal_maxNeg: -top,
      });
      layers.push(overlays[shown]);
    }
    if (regions && at("outlines").checked) layers.push(regions);
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
    add("scan", format(value(scan)));
    overlays.forEach((image, i) => add(data.heatmaps[i].name, format(value(image)), i));
  }

  function controls() {
    const choose = (index, name) => {
      const label = element("label");
      const input = element("input");
      Object.assign(input, { type: "radio", name: "method", value: index, checked: index === shown });
      input.addEventListener("change", () => { shown = index; refresh(); });
      label.append(input, " ", name);
      at("methods").append(label);
    };
    data.heatmaps.forEach((heat, i) => choose(i, heat.name));
    choose(NONE, "scan only");
    for (const name of COLOURS.filter((c) => nv.colormaps().includes(c))) at("colours").append(element("option", name));
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
    const heatmap = (heat) => volume(heat, { colormap: COLOURS[0], cal_min: 0, cal_max: heat.top });
    [scan, overlays] = await Promise.all([
      volume(data.scan, { colormap: "gray", opacity: 1, cal_min: 0, cal_max: data.scan.top }),
      Promise.all(first.map(heatmap)),
    ]);
    if (data.regions) {
      regions = await volume(data.regions, { opacity: 1 });
      regions.setColormapLabel(data.regions.colours);
      nv.opts.atlasOutline = 0.6;
    }
    nv.addVolume(scan);
    nv.setSliceType(VIEWS["multiplanar + 3D"]);
    nv.scene.crosshairPos = nv.mm2frac(data.at);
    nv.onLocationChange = readout;
    refresh();
    readout();
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
