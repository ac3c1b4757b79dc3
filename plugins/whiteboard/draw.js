// @ts-check
// Strokes on a canvas and as SVG.

import { COLORS } from "./scene.js";

/** @typedef {import("./scene.js").Stroke} Stroke */

/** @param {number} color @param {string} ink */
export const colorOf = (color, ink) => (COLORS[color] === "ink" ? ink : COLORS[color]);

/** Height of letters for a width. @param {number} width */
export const letters = (width) => 10 + 4 * width;

/** @param {CanvasRenderingContext2D} to @param {Stroke} stroke @param {string} ink @param {string} paper */
export function draw(to, { kind, color, width, points, text }, ink, paper) {
  const [x, y] = points;
  const [u, v] = points.slice(-2);
  to.strokeStyle = to.fillStyle = kind === "eraser" ? paper : colorOf(color, ink);
  to.lineWidth = kind === "eraser" ? width * 5 : width;
  to.lineCap = to.lineJoin = "round";
  to.beginPath();
  if (kind === "text") {
    to.font = `${letters(width)}px system-ui, sans-serif`;
    to.textBaseline = "top";
    to.fillText(text, x, y);
    return;
  }
  if (kind === "box") to.rect(x, y, u - x, v - y);
  else if (kind === "round") to.ellipse((x + u) / 2, (y + v) / 2, Math.abs(u - x) / 2, Math.abs(v - y) / 2, 0, 0, 2 * Math.PI);
  else {
    to.moveTo(x, y);
    if (points.length === 2) to.lineTo(x + 0.01, y);
    const step = kind === "line" ? Math.max(2, points.length - 2) : 2;
    for (let i = step; i < points.length; i += 2) to.lineTo(points[i], points[i + 1]);
  }
  to.stroke();
}

/** The smallest frame around all strokes. @param {Stroke[]} strokes */
export function bounds(strokes) {
  const frame = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (const { kind, points, width, text } of strokes) {
    const margin = kind === "text" ? 0 : width * (kind === "eraser" ? 0 : 1);
    for (let i = 0; i < points.length && kind !== "eraser"; i += 2) {
      const right = points[i] + (kind === "text" ? text.length * letters(width) * 0.65 : margin);
      const bottom = points[i + 1] + (kind === "text" ? letters(width) * 1.3 : margin);
      frame.left = Math.min(frame.left, points[i] - margin);
      frame.top = Math.min(frame.top, points[i + 1] - margin);
      frame.right = Math.max(frame.right, right);
      frame.bottom = Math.max(frame.bottom, bottom);
    }
  }
  return frame.left > frame.right ? { left: 0, top: 0, right: 100, bottom: 100 } : frame;
}

/** @param {string} text */
const escaped = (text) => text.replace(/[&<>"'\p{C}]/gu, (c) => (/\p{C}/u.test(c) ? "" : `&#${c.charCodeAt(0)};`));

/** The board as SVG. @param {Stroke[]} strokes @param {string} ink @param {string} paper */
export function svg(strokes, ink, paper) {
  const { left, top, right, bottom } = bounds(strokes);
  const frame = [left - 20, top - 20, right - left + 40, bottom - top + 40].map((n) => n.toFixed(1));
  const parts = strokes.map(({ kind, color, width, points, text }) => {
    const [x, y] = points;
    const [u, v] = points.slice(-2);
    const paint = kind === "eraser" ? paper : colorOf(color, ink);
    const line = `fill="none" stroke="${paint}" stroke-width="${kind === "eraser" ? width * 5 : width}" stroke-linecap="round" stroke-linejoin="round"`;
    switch (kind) {
      case "text": return `<text x="${x}" y="${y + letters(width)}" font-family="system-ui, sans-serif" font-size="${letters(width)}" fill="${paint}">${escaped(text)}</text>`;
      case "box": return `<rect x="${Math.min(x, u)}" y="${Math.min(y, v)}" width="${Math.abs(u - x)}" height="${Math.abs(v - y)}" ${line}/>`;
      case "round": return `<ellipse cx="${(x + u) / 2}" cy="${(y + v) / 2}" rx="${Math.abs(u - x) / 2}" ry="${Math.abs(v - y) / 2}" ${line}/>`;
      case "line": return `<path d="M${x} ${y}L${u} ${v}" ${line}/>`;
      default: return `<polyline points="${points.length === 2 ? [x, y, x, y] : points}" ${line}/>`;
    }
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${frame.join(" ")}"><rect x="${frame[0]}" y="${frame[1]}" width="${frame[2]}" height="${frame[3]}" fill="${paper}"/>${parts.join("")}</svg>\n`;
}
