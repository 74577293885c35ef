"use strict";
// elements, the look of charts, their drawing, and the switch between light and dark; `page` is for later scripts
const page = (() => {
  const root = document.documentElement;
  const ERROR = 1;  // of Vega's levels: charts may have layers without rows, of which it warns
  const loaded = new Promise((done) => document.addEventListener("DOMContentLoaded", done));
  const narrow = matchMedia("(max-width: 40rem)");  // then names stand below each other
  const drawn = new Map();  // element -> { spec, view }

  // an element with attributes, listeners (onclick: ...) and children; text is text, whatever is in it
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value != null) element.setAttribute(name, value);
    }
    element.append(...children.flat(Infinity).filter((child) => child != null));
    return element;
  }

  function color(token) {
    const probe = document.body.appendChild(document.createElement("span"));
    probe.style.color = `var(${token})`;
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  function palette() {
    return Array.from({ length: 8 }, (_, number) => color(`--series-${number + 1}`));
  }

  function config() {
    const [ink, soft, line] = ["--ink", "--ink-soft", "--line"].map(color);
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: "transparent", font, padding: 4,
      view: { stroke: null },
      axis: {
        aria: false,  // the drawing is described as a whole, its figures stand in a table
        labelColor: soft, titleColor: soft, gridColor: line, domainColor: line, tickColor: line, labelFontSize: 12,
        titleFontSize: 12, titleFontWeight: "normal", labelOverlap: true, titlePadding: 8,
      },
      legend: { aria: false, labelColor: ink, titleColor: soft, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelLimit: narrow.matches ? 240 : 600, columns: narrow.matches ? 1 : 2, layout: { bottom: { direction: "vertical", anchor: "start", margin: 8 } } },
      header: { labelColor: ink, titleColor: soft, labelFontSize: 13, labelFontWeight: 600 },
      title: { color: ink, subtitleColor: soft, anchor: "start", fontSize: 14 },
      text: { color: ink, fontSize: 12 }, rule: { color: soft },
      range: { category: palette() }, mark: { color: palette()[0], aria: false },
      style: { soft: { color: soft }, ink: { color: ink } },
    };
  }

  // a Vega-Lite specification into an element, again whenever the theme changes; resolves when it is there
  async function draw(element, spec) {
    const number = (drawn.get(element)?.number || 0) + 1;
    drawn.get(element)?.result?.finalize();
    drawn.set(element, { spec, number });
    await loaded;  // then the runtime is there, wherever it stands
    const plain = JSON.parse(JSON.stringify(spec).replace(/[\u2028\u2029]/g, " "));  // Vega's parser knows no such strings
    const result = await vegaEmbed(element, plain, {
      actions: false, renderer: "svg", ast: true, logLevel: ERROR, config: config(), tooltip: { theme: "custom", disableDefaultStyle: true },
    });
    if (drawn.get(element).number !== number) return result.finalize();  // another was asked for meanwhile
    drawn.set(element, { spec, number, result });
  }

  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  function themed() {
    document.getElementById("theme").setAttribute("aria-pressed", String(isDark()));
    for (const [element, { spec }] of drawn) draw(element, spec);
  }

  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* kept nowhere */ }
    themed();
  });
  for (const query of [matchMedia("(prefers-color-scheme: dark)"), narrow]) query.addEventListener("change", themed);
  document.addEventListener("DOMContentLoaded", () => {
    themed();
    for (const element of document.querySelectorAll("figure.chart[data-spec]"))
      draw(element.querySelector(".drawing"), JSON.parse(document.getElementById(element.dataset.spec).textContent));
  });
  return { draw, make, palette };
})();
