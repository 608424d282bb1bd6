// Pictures without a canvas: bytes as base64, bitmaps as addresses that an <img> takes, colours for a map.

/** The base64 of bytes; in parts, for a call takes only so many arguments. */
function encoded(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8190) text += String.fromCharCode(...bytes.subarray(i, i + 8190));
  return btoa(text);
}

/** A picture { height, width, rgb } of bytes, row by row, with its bytes as base64: what a trait holds. */
export const packed = ({ height, width, rgb }) => ({ height, width, rgb: encoded(rgb) });

/** The same with its bytes as numbers. */
export const unpacked = ({ height, width, rgb }) => ({
  height,
  width,
  rgb: Uint8Array.from(atob(rgb), (letter) => letter.charCodeAt(0)),
});

/** A picture of bytes with an even grey around it, a part of a side each way; `top` and `left` are where it begins. */
export function framed({ height, width, rgb }, part, grey = 0) {
  const [top, left] = [height, width].map((side) => Math.round(part * side));
  const whole = { height: height + 2 * top, width: width + 2 * left, top, left };
  const bytes = new Uint8Array(3 * whole.height * whole.width).fill(grey);
  for (let i = 0; i < height; i += 1)
    bytes.set(rgb.subarray(3 * i * width, 3 * (i + 1) * width), 3 * ((i + top) * whole.width + left));
  return { ...whole, rgb: bytes };
}

/** The head of a Windows bitmap and room for its rows, which go from below and are filled up to four bytes. */
function bitmap(height, width, bits, colours) {
  const row = Math.ceil((width * bits) / 32) * 4;
  const start = 54 + 4 * colours.length;
  const bytes = new Uint8Array(start + row * height);
  const head = new DataView(bytes.buffer);
  head.setUint16(0, 0x424d);
  const words = { 2: bytes.length, 10: start, 14: 40, 18: width, 22: height, 34: row * height, 46: colours.length };
  for (const [at, value] of Object.entries(words)) head.setUint32(Number(at), value, true);
  head.setUint16(26, 1, true);
  head.setUint16(28, bits, true);
  colours.forEach(([red, green, blue], i) => bytes.set([blue, green, red], 54 + 4 * i));
  return { bytes, at: (i) => start + row * (height - 1 - i) };
}

const address = (bytes) => `data:image/bmp;base64,${encoded(bytes)}`;

/** The address of a picture of bytes. */
export function pictureAddress({ height, width, rgb }) {
  const { bytes, at } = bitmap(height, width, 24, []);
  for (let i = 0; i < height; i += 1) {
    for (let j = 0; j < width; j += 1) {
      const from = 3 * (i * width + j);
      bytes.set([rgb[from + 2], rgb[from + 1], rgb[from]], at(i) + 3 * j);
    }
  }
  return address(bytes);
}

/** The address of a map { height, width, data }, nought in the first of the colours and `most` in the last. */
export function mapAddress({ height, width, data }, most, colours = EVEN) {
  const { bytes, at } = bitmap(height, width, 8, colours);
  const last = colours.length - 1;
  for (let i = 0; i < height; i += 1) {
    const start = at(i);
    for (let j = 0; j < width; j += 1) {
      const part = most > 0 ? data[i * width + j] / most : 0;
      bytes[start + j] = Math.round(last * Math.min(Math.max(part, 0), 1));
    }
  }
  return address(bytes);
}

/** A colour of OKLab, in which equal steps look equal, as three bytes. */
function bytesOf(lightness, chroma, hue) {
  const [a, b] = [chroma * Math.cos(hue), chroma * Math.sin(hue)];
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const light = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  const gamma = (x) => (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055);
  return light.map((part) => Math.round(255 * Math.min(Math.max(gamma(part), 0), 1)));
}

/** From a dark blue over violet and orange to a light yellow: lightness rises in equal steps, so that greys do as well. */
export const EVEN = Array.from({ length: 256 }, (_, i) => {
  const part = i / 255;
  const hue = (((270 + 190 * part) % 360) * Math.PI) / 180;
  return bytesOf(0.17 + 0.78 * part, 0.05 + 0.1 * Math.sin(Math.PI * (0.1 + 0.8 * part)), hue);
});
