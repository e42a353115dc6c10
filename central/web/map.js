// The map: outlines of countries, tiles where they are configured, vehicles and tracks.

import "./vendor/leaflet-1.9.4/leaflet.js";
import { css } from "./dom.js";
import * as words from "./words.js";

const L = globalThis.L;
// Coarse outlines are enough until somebody looks closely.
const FINE_ZOOM = 5;
const outlines = new Map();

// TopoJSON to GeoJSON lines: each arc once, so that a border is not drawn twice.
async function arcs(name) {
  const response = await fetch(`/web/vendor/world-atlas-2.0.2/${name}.json`);
  const topology = await response.json();
  const { scale, translate } = topology.transform;
  const lines = topology.arcs.map((arc) => {
    let x = 0;
    let y = 0;
    return arc.map(([dx, dy]) => {
      x += dx;
      y += dy;
      return [x * scale[0] + translate[0], y * scale[1] + translate[1]];
    });
  });
  return { type: "MultiLineString", coordinates: lines };
}

function outline(name) {
  if (!outlines.has(name)) outlines.set(name, arcs(name));
  return outlines.get(name);
}

export function colour(state) {
  return css(`--${state}`);
}

export class FleetMap {
  constructor(element, { tilesUrl = null, label }) {
    element.setAttribute("aria-label", label);
    this.map = L.map(element, { preferCanvas: true, zoomControl: true, attributionControl: true, worldCopyJump: true, minZoom: 2, maxZoom: 18, zoomAnimation: false, fadeAnimation: false });
    this.map.attributionControl.setPrefix(false);
    this.map.setView([50, 10], 4);
    this.canvas = L.canvas({ padding: 0.2 });
    this.lines = null;
    this.markers = new Map();
    this.track = L.layerGroup().addTo(this.map);
    if (tilesUrl) L.tileLayer(tilesUrl, { maxZoom: 18 }).addTo(this.map);
    else this.map.attributionControl.addAttribution("Natural Earth");
    this.map.on("zoomend", () => this.outline());
    this.resize = new ResizeObserver(() => this.map.invalidateSize({ animate: false }));
    this.resize.observe(element);
    this.outline();
  }

  async outline() {
    const name = this.map.getZoom() >= FINE_ZOOM ? "countries-50m" : "countries-110m";
    if (this.shown === name) return;
    this.shown = name;
    const geometry = await outline(name);
    if (this.shown !== name || !this.map) return;
    this.lines?.remove();
    this.lines = L.geoJSON(geometry, { interactive: false, style: { color: css("--outline"), weight: 1, fill: false, renderer: this.canvas } }).addTo(this.map);
    this.lines.bringToBack();
  }

  // Colours are drawn, not styled: another theme means drawing again.
  paint() {
    this.lines?.setStyle({ color: css("--outline") });
    for (const marker of this.markers.values()) marker.setStyle(style(marker.state));
  }

  place(vehicle, open) {
    const { position, device } = vehicle;
    if (!position) return;
    const state = words.state(vehicle);
    let marker = this.markers.get(device);
    if (!marker) {
      marker = L.circleMarker([position.lat_deg, position.lon_deg], { renderer: this.canvas, radius: 6, ...style(state) });
      marker.bindTooltip(device);
      if (open) marker.on("click", () => open(device));
      marker.addTo(this.map);
      marker.state = state;
      this.markers.set(device, marker);
      return;
    }
    marker.setLatLng([position.lat_deg, position.lon_deg]);
    if (marker.state !== state) {
      marker.state = state;
      marker.setStyle(style(state));
      if (words.rank(state) > 0) marker.bringToFront();
    }
  }

  fit() {
    const points = [...this.markers.values()].map((marker) => marker.getLatLng());
    if (points.length) this.map.fitBounds(L.latLngBounds(points), { maxZoom: 9, padding: [20, 20], animate: false });
  }

  show(track) {
    this.track.clearLayers();
    const breaks = new Set(track.breaks);
    const lines = [[]];
    track.utc_ms.forEach((_, index) => {
      if (breaks.has(index)) lines.push([]);
      lines.at(-1).push([track.lat_deg[index], track.lon_deg[index]]);
    });
    const options = { renderer: this.canvas, color: css("--accent"), weight: 3, opacity: 0.9, interactive: false };
    for (const line of lines) L.polyline(line, options).addTo(this.track);
    const all = lines.flat();
    if (all.length && this.fitted !== track.device) {
      this.fitted = track.device;
      this.map.fitBounds(L.latLngBounds(all), { maxZoom: 12, padding: [20, 20], animate: false });
    }
  }

  remove() {
    this.resize.disconnect();
    this.map.remove();
    this.map = null;
  }
}

function style(state) {
  return { color: css("--marker-edge"), weight: 1, fillColor: colour(state), fillOpacity: 0.95 };
}
