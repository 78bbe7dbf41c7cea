/* Draws the charts of the dashboard from its tables, so that both say the same. */
"use strict";

(() => {
  if (typeof Chart === "undefined") return; // the tables are there
  const language = document.documentElement.lang || undefined;
  const root = getComputedStyle(document.documentElement);
  const colour = (name) => root.getPropertyValue(name).trim();
  const number = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });
  const charts = [];

  Chart.defaults.animation = false; // nobody needs it, and some cannot bear it
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;

  const duration = (seconds) => {
    const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    const [length, unit] = units.find(([least]) => seconds >= least) || [0.001, "ms"];
    if (seconds === 0) return "0";
    return `${number.format(seconds / length)} ${unit}`;
  };

  /* Round times, where numbers that are round in seconds would be odd in minutes. */
  const round = [0.001, 1, 60, 3600, 86400].flatMap((unit, at) => {
    const most = [1000, 60, 60, 24, 1000][at];
    return [1, 2, 5, 10, 20, 30, 50, 100, 200, 500].filter((one) => one < most).map((one) => one * unit);
  });
  const MOST_TICKS = 6;
  const roundTicks = (scale) => {
    const { min, max, type } = scale;
    let values;
    if (type === "logarithmic") {
      const within = round.filter((one) => one >= min && one <= max);
      const each = Math.ceil(within.length / MOST_TICKS);
      values = within.filter((_, at) => at % each === 0);
    } else {
      const step = round.find((one) => one >= max / MOST_TICKS) || max;
      values = Array.from({ length: Math.floor(max / step) + 1 }, (_, at) => at * step);
    }
    if (values.length > 1) scale.ticks = values.map((value) => ({ value }));
  };

  const read = (table) => {
    const rows = [...table.tBodies[0].rows];
    const keys = [...table.tHead.querySelectorAll(".gw-key")];
    return {
      labels: rows.map((row) => row.cells[0].dataset.label),
      times: rows.map((row) => row.cells[0].textContent),
      series: keys.map((key, column) => ({
        swatch: key,
        label: key.textContent,
        data: rows.map((row) => {
          const { value } = row.cells[column + 1].dataset;
          return value === "" ? null : Number(value);
        }),
      })),
    };
  };

  /* What a theme decides. */
  const paint = (chart) => {
    for (const dataset of chart.data.datasets) {
      const tone = getComputedStyle(dataset.swatch).getPropertyValue("--gw-tone").trim();
      dataset.backgroundColor = tone;
      dataset.borderColor = chart.config.type === "line" ? tone : colour("--body-bg");
    }
    const { scales, plugins } = chart.options;
    for (const scale of [scales.x, scales.y]) {
      scale.ticks.color = colour("--body-quiet-color");
      scale.border.color = colour("--border-color");
    }
    scales.y.grid.color = colour("--hairline-color");
    plugins.legend.labels.color = colour("--body-fg");
    chart.update();
  };

  const draw = (table) => {
    const section = table.closest("section");
    const box = section.querySelector(".gw-chart");
    const { labels, times, series } = read(table);
    const isLine = table.dataset.chart === "lines";
    const written = table.dataset.unit === "s" ? duration : (value) => value.toLocaleString(language);
    const known = series.flatMap(({ data }) => data).filter((value) => value > 0);
    const isWide = isLine && Math.max(...known) > 20 * Math.min(...known);
    box.hidden = false; // before drawing, as it has no size otherwise
    const chart = new Chart(box.querySelector("canvas"), {
      type: isLine ? "line" : "bar",
      data: {
        labels,
        datasets: series.map((one, at) => ({
          ...one,
          borderWidth: isLine ? 2 : { top: 1 },
          borderDash: isLine ? [[], [6, 3], [2, 2]][at % 3] : undefined,
          pointRadius: isLine ? 2 : 0,
          pointHitRadius: 8,
          maxBarThickness: 48,
        })),
      },
      options: {
        maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        scales: {
          x: {
            stacked: !isLine,
            grid: { display: false },
            border: {},
            ticks: { maxRotation: 0, autoSkipPadding: 12 },
          },
          y: {
            type: isWide ? "logarithmic" : "linear",
            stacked: !isLine,
            beginAtZero: !isWide,
            grid: {},
            border: {},
            ticks: { precision: 0, maxTicksLimit: 7, callback: (value) => written(value) },
            afterBuildTicks: isLine ? roundTicks : () => {},
          },
        },
        plugins: {
          legend: { position: "bottom", labels: { boxWidth: 14, boxHeight: 10 } },
          tooltip: {
            callbacks: {
              title: ([first]) => times[first.dataIndex],
              label: ({ dataset, parsed }) => `${dataset.label}: ${written(parsed.y)}`,
            },
          },
        },
      },
    });
    charts.push(chart);
    paint(chart);
    section.querySelector("details").open = false;
  };

  document.querySelectorAll("table[data-chart]").forEach(draw);

  // The admin's own button changes the theme, and so does the system.
  const repaint = () => charts.forEach(paint);
  new MutationObserver(repaint).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
})();
