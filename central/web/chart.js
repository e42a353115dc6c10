// A sensor over time: smallest and largest value of each step, gaps, late data, marks.
//
// Two ranges: where an alert lasts, the band or limit that the vehicle sent with it; everywhere, what was usual in the
// steps before, which the centre computes by itself. The vehicle sends its band with alerts alone.

import uPlot from "./vendor/uplot-1.6.32/uPlot.esm.js";
import { css } from "./dom.js";
import * as words from "./words.js";

/** From this score on a reading is marked as unusual. */
export const UNUSUAL_SCORE = 800;
const HEIGHT = 320;

// Columns for uPlot. A gap is a row of nulls, so that no line crosses it.
function columns(series) {
  const data = [[], [], [], [], [], [], []];
  const push = (...row) => row.forEach((cell, index) => data[index].push(cell));
  let gap = 0;
  for (let index = 0; index < series.first_ms.length; index += 1) {
    const at = (series.first_ms[index] + series.last_ms[index]) / 2;
    while (gap < series.gaps.length && series.gaps[gap].to_ms <= series.first_ms[index]) {
      const middle = (series.gaps[gap].from_ms + series.gaps[gap].to_ms) / 2;
      if (data[0].length) push(middle / 1000, null, null, null, null, null, null);
      gap += 1;
    }
    const unusual = series.score[index] >= UNUSUAL_SCORE ? series.max[index] : null;
    push(at / 1000, series.min[index], series.max[index], series.mean[index], series.usual_low[index], series.usual_high[index], unusual);
  }
  return data;
}

// The time of a tick, with its date where that is another one than at the tick before.
function moment(ms, before) {
  const date = new Date(ms);
  const at = words.clock(ms);
  const isNew = before === null || new Date(before).toDateString() !== date.toDateString();
  return isNew ? `${at}\n${words.day(ms)}` : at;
}

// From when to when an alert lasts.
function span(alert, series) {
  const end = alert.cleared_ms ?? series.to_ms;
  return [alert.raised_ms ?? end, end];
}

export class Chart {
  constructor(element) {
    this.element = element;
    this.resize = new ResizeObserver(() => {
      if (this.plot && this.plot.width !== element.clientWidth) this.plot.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    this.resize.observe(element);
  }

  draw(series, alerts) {
    this.series = series;
    this.alerts = alerts;
    this.plot?.destroy();
    const unit = words.unit(series.unit);
    const text = css("--text-soft");
    const grid = { stroke: css("--grid"), width: 1 };
    const line = css("--accent");
    const shown = (_, raw) => (raw === null || raw === undefined ? "–" : `${raw.toFixed(2)} ${unit}`);
    const axis = { stroke: text, grid, ticks: grid, font: "13px system-ui, sans-serif" };
    const hidden = { width: 0, points: { show: false } };
    const options = {
      width: this.element.clientWidth || 600,
      height: HEIGHT,
      scales: { x: { time: true, min: series.from_ms / 1000, max: series.to_ms / 1000 } },
      axes: [{ ...axis, values: (_, ticks) => ticks.map((tick, index) => moment(tick * 1000, index === 0 ? null : ticks[index - 1] * 1000)) }, { ...axis, size: 70, values: (_, ticks) => ticks.map((tick) => `${tick} ${unit}`) }],
      series: [
        { label: "Time", value: (_, raw) => (raw === null ? "–" : words.time(raw * 1000)) },
        { label: "lowest", stroke: line, ...hidden, value: shown },
        { label: "highest", stroke: line, ...hidden, value: shown },
        { label: "mean", stroke: line, width: 1.5, points: { show: false }, value: shown },
        { label: "usual before, from", stroke: text, ...hidden, value: shown },
        { label: "usual before, to", stroke: text, ...hidden, value: shown },
        { label: "unusual", stroke: css("--critical"), paths: () => null, points: { show: true, size: 7, fill: css("--critical"), stroke: css("--critical") }, value: shown },
      ],
      bands: [
        { series: [5, 4], fill: css("--usual") },
        { series: [2, 1], fill: css("--range") },
      ],
      cursor: { drag: { x: true, y: false } },
      hooks: { drawClear: [(plot) => this.behind(plot)], draw: [(plot) => this.before(plot)] },
    };
    this.plot = new uPlot(options, columns(series), this.element);
  }

  // Late data shaded, gaps hatched: below the lines.
  behind(plot) {
    const { ctx } = plot;
    const { left, top, width, height } = plot.bbox;
    const at = (ms) => Math.min(left + width, Math.max(left, plot.valToPos(ms / 1000, "x", true)));
    ctx.save();
    for (const { from_ms, to_ms } of this.series.late) {
      ctx.fillStyle = css("--late");
      ctx.fillRect(at(from_ms), top, Math.max(1, at(to_ms) - at(from_ms)), height);
    }
    ctx.strokeStyle = css("--gap");
    ctx.lineWidth = 1;
    for (const { from_ms, to_ms } of this.series.gaps) {
      const [from, to] = [at(from_ms), at(to_ms)];
      if (to - from < 1) continue;
      ctx.save();
      ctx.beginPath();
      ctx.rect(from, top, to - from, height);
      ctx.clip();
      ctx.beginPath();
      for (let x = from - height; x < to; x += 14) {
        ctx.moveTo(x, top + height);
        ctx.lineTo(x + height, top);
      }
      ctx.stroke();
      ctx.restore();
    }
    ctx.restore();
  }

  // Alerts as lines across; along, as far as each lasts, its band or limit.
  before(plot) {
    const { ctx } = plot;
    const { left, top, width, height } = plot.bbox;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    for (const alert of this.alerts) {
      ctx.strokeStyle = css(`--${alert.severity}`);
      ctx.setLineDash([]);
      ctx.lineWidth = 2;
      if (alert.raised_ms !== null) {
        const x = plot.valToPos(alert.raised_ms / 1000, "x", true);
        ctx.beginPath();
        ctx.moveTo(x, top);
        ctx.lineTo(x, top + height);
        ctx.stroke();
      }
      const [from, to] = span(alert, this.series).map((ms) => plot.valToPos(ms / 1000, "x", true));
      const edges = [alert.low, alert.high].map((limit) => (limit === null ? null : plot.valToPos(limit, "y", true)));
      if (edges[0] !== null && edges[1] !== null) {
        ctx.fillStyle = css("--band");
        ctx.fillRect(from, edges[1], Math.max(2, to - from), edges[0] - edges[1]);
      }
      ctx.setLineDash([8, 6]);
      ctx.lineWidth = 2;
      for (const y of edges) {
        if (y === null) continue;
        ctx.beginPath();
        ctx.moveTo(from, y);
        ctx.lineTo(Math.max(to, from + 2), y);
        ctx.stroke();
      }
    }
    ctx.restore();
  }

  paint() {
    if (this.series) this.draw(this.series, this.alerts);
  }

  remove() {
    this.resize.disconnect();
    this.plot?.destroy();
  }
}
